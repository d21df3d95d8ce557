"""The targeted Fast Adaptive Boundary attack (FAB-T), Croce and Hein 2020, https://arxiv.org/abs/1907.02044."""

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import OBJECTIVES, objective_weights
from f2at.attacks.survivors import misclassified, wrong_classes
from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, check_counts, norms, sphere_start
from f2at.attacks.white_box.hyperplane import step_to_hyperplane
from f2at.attacks.white_box.nearest import Nearest

_DIFFERENCE = "logit_difference"
_TINY = 1e-8


class _Settings(NamedTuple):
    """See `fab_targeted`."""

    norm: str
    steps: int
    alpha_max: float
    eta: float
    beta: float


def fab_targeted(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    target_classes: int = 9,
    steps: int = 100,
    restarts: int = 1,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    stop_at_success: bool = True,
) -> Any:
    """Search for the nearest error towards each of the `target_classes` wrong classes with the largest clean logits.

    With fewer wrong classes than that, towards each of them. A step linearises the boundary between label and
    target class where it stands and projects onto it (`step_to_hyperplane`), overshooting by the factor eta, with
    a bias of at most alpha_max towards the projection of the input; an error pulls back to beta of its distance.
    The first of the restarts begins at the input, the others at random at half of eps.
    stop_at_success: leave a sample at its first error within eps and spend no more on it. Where False, every sample
        takes every step: with a large eps, this is the minimum-norm attack.
    Returns the nearest error found, moved into the ball if it lies beyond eps; the input if there is none. Costs one
    forward evaluation, then at most target_classes * restarts * steps gradient and as many forward evaluations.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(target_classes=target_classes, steps=steps, restarts=restarts)
    settings = _checked(_Settings(norm, steps, alpha_max, eta, beta))
    nearest = Nearest(inputs, norm=norm, enough=eps if stop_at_success else 0.0)
    logits = target.logits(inputs)
    nearest.record(nearest.index, inputs, misclassified(logits, labels))
    ranking = wrong_classes(logits, labels)
    for rank in range(min(target_classes, ranking.shape[1])):
        for restart in range(restarts):
            index = nearest.index
            if len(index) == 0:
                break
            clean = inputs[index]
            start = sphere_start(clean, rng, eps=eps / 2, norm=norm) if restart else clean
            _search(target, nearest, index, start, labels[index], ranking[index, rank], settings)
    return nearest.within(eps)


def _search(
    target: Target, nearest: Nearest, index: Any, current: Any, labels: Any, targets: Any, settings: _Settings
) -> None:
    """One run from the images `current` of the samples `index` (n,), towards one class each."""
    xp = array_namespace(current)
    clean = nearest.inputs[index]
    for _ in range(settings.steps):
        weights = objective_weights(xp, _DIFFERENCE, len(index), device=device(current))
        _, objectives, gradient = target.gradient(current, labels, targets, weights)
        values = objectives[:, OBJECTIVES.index(_DIFFERENCE)]
        current = _move(current, clean, values, gradient, settings)
        adversarial = misclassified(target.logits(current), labels)
        unfinished = nearest.record(index, current, adversarial)
        current = xp.where(adversarial[:, None, None, None], clean + settings.beta * (current - clean), current)
        if not bool(xp.all(unfinished)):
            rows = (index, current, clean, labels, targets)
            index, current, clean, labels, targets = (values[unfinished] for values in rows)
            if len(index) == 0:
                return


def _move(current: Any, clean: Any, values: Any, gradient: Any, settings: _Settings) -> Any:
    """The biased gradient step (Eq. 9 and 10) to the boundary where the function of these values is linear."""
    xp = array_namespace(current)
    clean_values = values + xp.sum(gradient * (clean - current), axis=(1, 2, 3))
    step = step_to_hyperplane(current, gradient, values, norm=settings.norm)
    clean_step = step_to_hyperplane(clean, gradient, clean_values, norm=settings.norm)
    size, clean_size = (xp.clip(norms(d, settings.norm), min=_TINY) for d in (step, clean_step))
    bias = xp.clip(size / (size + clean_size), max=settings.alpha_max)[:, None, None, None]
    moved = (1 - bias) * (current + settings.eta * step) + bias * (clean + settings.eta * clean_step)
    return xp.clip(moved, min=0.0, max=1.0)


def _checked(settings: _Settings) -> _Settings:
    for name in ("alpha_max", "beta"):
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must lie in [0, 1]; got {getattr(settings, name)}")
    if settings.eta < 1:
        raise ValueError(f"eta must be at least 1; got {settings.eta}")
    return settings
