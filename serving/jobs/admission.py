"""Which requests for audits a server admits."""

from typing import Any

from f2at.arguments import ArgumentError
from f2at.audit.cost import most_evaluations
from f2at.audit.request import AuditRequest
from f2at.serving.problems import Problem


def read_request(
    values: dict[str, Any], *, max_samples: int, max_evaluations: int | None, surrogate: bool
) -> AuditRequest:
    """The request in `values`, with the number of samples spelt out.

    Args:
        values: JSON.
        max_samples: images that may be drawn; also how many are, if the request does not say.
        max_evaluations: of the model, that the attacks may need; None: any number.
        surrogate: whether there is a second model for transfer attacks to follow.

    Raises:
        Problem: 422, naming the argument, what is accepted and what came.
    """
    try:
        request = AuditRequest(**values)
    except ArgumentError as error:
        raise Problem(422, "invalid-argument", str(error), **vars(error)) from error
    if request.chosen_suite.needs_surrogate and not surrogate:
        raise Problem(
            422,
            "no-surrogate",
            f"The attacks of suite {request.suite!r} follow a second model, and this server has none: "
            "F2AT_SURROGATE must name the folder of its bundle.",
            argument="suite",
            accepted="a suite that follows no second model",
            received=request.suite,
        )
    samples = max_samples if request.samples is None else request.samples
    if samples > max_samples:
        raise Problem(
            422,
            "invalid-argument",
            f"samples must be at most {max_samples} on this server; got {samples}",
            argument="samples",
            accepted=f"1 to {max_samples}",
            received=samples,
        )
    cost = most_evaluations(request, samples)
    if max_evaluations is not None and cost > max_evaluations:
        raise Problem(
            422,
            "audit-too-large",
            f"These attacks on {samples} images may take {cost} evaluations of the model; this server allows "
            f"{max_evaluations} an audit (F2AT_MAX_EVALUATIONS). Ask for fewer samples, or shorter attacks.",
            argument="samples" if request.attacks is None else "attacks",
            accepted=f"at most {max_evaluations} evaluations",
            received=cost,
        )
    return request.model_copy(update={"samples": samples})
