"""Whether a request, the images and the models fit together: said before the audit begins."""

from collections.abc import Sequence

from f2at.attacks.target import Target, has_gradients, has_scores
from f2at.audit.request import AuditRequest
from f2at.audit.suites import CUSTOM, QUICK, SUITES
from f2at.audit.threats.base import Shape, Tier
from f2at.audit.threats.stages import threat_stages
from f2at.images.labelled import check_names, check_range
from f2at.images.sets.base import LabelledSet


def check_data(data: LabelledSet, request: AuditRequest, classes: Sequence[str], target: Target) -> None:
    """Raise ValueError unless the images have labels of the model's classes, and are enough."""
    check_names(classes)
    if len(classes) != target.classes:
        raise ValueError(f"classes must be {target.classes} names, one for each output; got {len(classes)}")
    check_range(data.labels, len(classes))
    if request.samples is not None and request.samples > len(data):
        raise ValueError(f"samples must be at most {len(data)}, all there are; got {request.samples}")


def check_models(request: AuditRequest, target: Target, surrogate: Target | None) -> None:
    """Raise ValueError unless the suite's attacks can be run on these models."""
    suite = request.chosen_suite
    if suite.needs_gradients and not has_gradients(target):
        accepted = [name for name, other in SUITES.items() if not other.needs_gradients]
        raise ValueError(
            f"suite must be one without white-box attacks ({', '.join(accepted)}) for a model without gradients"
            f"{_obstacle(target)}; got {request.suite!r}"
        )
    if suite.needs_scores and not has_scores(target):
        accepted = [name for name, other in SUITES.items() if not other.needs_scores]
        raise ValueError(
            f"suite must be one that needs no scores ({', '.join(accepted)}) for a model that answers labels alone; "
            f"{', '.join(suite.needs_scores)} of {request.suite!r} would need them"
        )
    if suite.needs_surrogate and surrogate is None:
        raise ValueError(f"surrogate must be given for suite {request.suite!r}: its attacks follow another model")
    if surrogate is not None and not has_gradients(surrogate):
        raise ValueError(f"surrogate must be a model with gradients; got one without{_obstacle(surrogate)}")
    if surrogate is not None and surrogate.classes != target.classes:
        raise ValueError(f"surrogate must have {target.classes} classes, as the model; got {surrogate.classes}")


def tier_of(request: AuditRequest, *, gradients: bool = True, scores: bool = True) -> Tier:
    """How an audit goes about its threats, of a model that has gradients and scores or not."""
    suite = request.chosen_suite
    return Tier(
        quick=request.suite == QUICK,
        gradients=gradients and (suite.needs_gradients or request.suite == CUSTOM),
        scores=scores and bool(suite.needs_scores),
    )


def check_threats(request: AuditRequest, shape: Shape, samples: int) -> None:
    """Raise ValueError unless every threat leaves something to so many images, (H, W, 3), of a model with gradients."""
    threat_stages(request.chosen_threats, tier_of(request), shape, samples=samples, curve=request.curve)


def _obstacle(target: Target) -> str:
    """Why it has no gradients, where the target says."""
    reason = getattr(target, "obstacle", "")
    return f" ({reason})" if reason else ""
