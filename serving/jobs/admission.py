"""Decides which audit requests a server accepts, and what may be said of them."""

from typing import Any

from f2at.arguments import ArgumentError
from f2at.audit.checks import check_threats
from f2at.audit.cost import most_evaluations
from f2at.audit.provenance.context import Context
from f2at.audit.request import AuditRequest
from f2at.serving.problems import Problem


def read_context(values: Any) -> dict[str, Any] | None:
    """What the owner of the model says of an audit, from JSON; None if nothing is said.

    Raises:
        Problem: 422, with the field, what is accepted and what was received.
    """
    if values is None:
        return None
    try:
        context = Context(**values)
    except ArgumentError as error:
        said = vars(error) | {"argument": f"context.{error.argument}"}
        raise Problem(422, "invalid-argument", f"context: {error}", **said) from error
    except TypeError as error:
        detail = "context must be an object."
        raise Problem(
            422, "invalid-argument", detail, argument="context", accepted="an object", received=values
        ) from error
    return None if context == Context() else context.model_dump()


def read_request(
    values: dict[str, Any],
    *,
    max_samples: int,
    max_evaluations: int | None,
    surrogate: bool,
    size: tuple[int, int],
    all_known: bool = True,
) -> AuditRequest:
    """The request in `values`, with the number of samples filled in.

    Args:
        values: the request, from JSON.
        max_samples: the most images that may be drawn, and how many are if the request does not say.
        max_evaluations: the most model evaluations that the attacks may need; None: any number.
        surrogate: whether the server has a surrogate model for transfer attacks.
        size: (H, W) of the model's images.
        all_known: whether `max_samples` is no more than there are; if not, the request must say how many to draw.

    Raises:
        Problem: 422, with the argument, what is accepted and what was received.
    """
    try:
        request = AuditRequest(**values)
    except ArgumentError as error:
        raise Problem(422, "invalid-argument", str(error), **vars(error)) from error
    if request.chosen_suite.needs_surrogate and not surrogate:
        raise Problem(
            422,
            "no-surrogate",
            f"The attacks of suite {request.suite!r} need a surrogate model, and this server has none: "
            "F2AT_SURROGATE must name the folder of its bundle.",
            argument="suite",
            accepted="a suite that needs no surrogate",
            received=request.suite,
        )
    if request.samples is None and not all_known:
        raise Problem(
            422,
            "invalid-argument",
            "samples must be given with data: how many of its images are drawn.",
            argument="samples",
            accepted=f"1 to {max_samples}",
            received="null",
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
    try:
        check_threats(request, (*size, 3), samples)
    except ValueError as error:
        raise Problem(
            422,
            "invalid-argument",
            f"{error}.",
            argument="threats",
            accepted="threats that fit the suite, the number of samples and the size of the model's images",
            received=list(request.threats),
        ) from error
    cost = most_evaluations(request, samples)
    if max_evaluations is not None and cost > max_evaluations:
        raise Problem(
            422,
            "audit-too-large",
            f"These attacks on {samples} images may take {cost} evaluations of the model; this server allows "
            f"{max_evaluations} per audit (F2AT_MAX_EVALUATIONS). Ask for fewer samples or shorter attacks.",
            argument="samples" if request.attacks is None else "attacks",
            accepted=f"at most {max_evaluations} evaluations",
            received=cost,
        )
    return request.model_copy(update={"samples": samples})
