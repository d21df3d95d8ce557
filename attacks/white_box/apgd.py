"""Auto-PGD and its targeted form, Croce and Hein 2020, https://arxiv.org/abs/2003.01690."""

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import objective_weights
from f2at.attacks.survivors import Survivors, misclassified, wrong_classes
from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, check_counts, project, sphere_start, steepest


class _Settings(NamedTuple):
    """What both attacks share; see `apgd`."""

    objective: str
    eps: float
    norm: str
    steps: int
    momentum: float
    rho: float


class _State(NamedTuple):
    """What Auto-PGD remembers of each standing sample: images (n, 3, H, W) and numbers (n,)."""

    current: Any
    previous: Any
    gradient: Any
    loss: Any
    best: Any
    best_gradient: Any
    best_loss: Any
    clean: Any
    labels: Any
    targets: Any
    step_size: Any
    rises: Any  # steps since the last checkpoint that increased the loss
    halved: Any  # bool: the last checkpoint halved the step size
    checkpoint_loss: Any  # best_loss at the last checkpoint


def apgd(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    objective: str = "cross_entropy",
    steps: int = 100,
    restarts: int = 1,
    momentum: float = 0.75,
    rho: float = 0.75,
) -> Any:
    """Projected ascent with momentum, whose step size, 2 eps at first, halves whenever progress stalls.

    At each checkpoint (see `checkpoints`) a sample's step size halves, and it restarts from its best point, if
    the loss rose in at most `rho` of the steps since the last one, or if neither step size nor best loss changed.
    (The authors' code compares the loss after the first step with zero, not with that of the start; nothing else
    differs from it.)
    A sample leaves at its first misclassified iterate; one never broken returns its point of largest loss.
    At most restarts * (steps + 1) gradient evaluations per sample.
    """
    _check_norm(norm)
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(steps=steps, restarts=restarts)
    settings = _checked(_Settings(objective, eps, norm, steps, momentum, rho))
    survivors = Survivors(inputs)
    for _ in range(restarts):
        _ascend(target, survivors, inputs, labels, labels, settings, rng)
    return survivors.images


def apgd_targeted(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    objective: str = "targeted_dlr",
    target_classes: int = 9,
    steps: int = 100,
    restarts: int = 1,
    momentum: float = 0.75,
    rho: float = 0.75,
) -> Any:
    """Auto-PGD towards each of the `target_classes` wrong classes with the largest clean logits, in that order.

    With fewer wrong classes than that, towards each of them. Costs one forward evaluation per sample (samples
    misclassified already leave there), then as `apgd` for each target class.
    """
    _check_norm(norm)
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(steps=steps, restarts=restarts, target_classes=target_classes)
    settings = _checked(_Settings(objective, eps, norm, steps, momentum, rho))
    survivors = Survivors(inputs)
    logits = target.logits(inputs)
    survivors.drop(misclassified(logits, labels), inputs)
    ranking = wrong_classes(logits, labels)
    for rank in range(min(target_classes, ranking.shape[1])):
        for _ in range(restarts):
            _ascend(target, survivors, inputs, labels, ranking[:, rank], settings, rng)
    return survivors.images


def checkpoints(steps: int) -> tuple[int, ...]:
    """The steps after which step sizes are reviewed: after periods of 22, 19, 16, ... down to 6 percent of them.

    The authors' code rounds each period down, to at least one step; Section 3 of the paper rounds their sums up.
    For 100 steps they agree; elsewhere this follows the code, which is what published results used.
    """
    period, shrink, shortest = (max(percent * steps // 100, 1) for percent in (22, 3, 6))
    found = [period]
    while found[-1] < steps:
        period = max(period - shrink, shortest)
        found.append(found[-1] + period)
    return tuple(step for step in found if step <= steps)


def _ascend(
    target: Target,
    survivors: Survivors,
    inputs: Any,
    labels: Any,
    targets: Any,
    settings: _Settings,
    rng: np.random.Generator,
) -> None:
    """One run of Auto-PGD from a random start, on the samples that still stand."""

    def evaluate(current: Any, labels: Any, targets: Any) -> tuple[Any, Any, Any]:
        weights = objective_weights(xp, settings.objective, current.shape[0], device=device(inputs))
        logits, objectives, gradient = target.gradient(current, labels, targets, weights)
        return xp.sum(weights * objectives, axis=1), gradient, misclassified(logits, labels)

    if len(survivors) == 0:
        return
    xp = array_namespace(inputs)
    clean, labels, targets = (rows[survivors.index] for rows in (inputs, labels, targets))
    start = sphere_start(clean, rng, eps=settings.eps, norm=settings.norm)
    loss, gradient, broken = evaluate(start, labels, targets)
    state = _State(
        current=start,
        previous=start,
        gradient=gradient,
        loss=loss,
        best=start,
        best_gradient=gradient,
        best_loss=loss,
        clean=clean,
        labels=labels,
        targets=targets,
        step_size=xp.full_like(loss, 2 * settings.eps),
        rises=xp.zeros_like(loss),
        halved=xp.ones_like(broken),  # no verdict on the first window's progress by the second condition
        checkpoint_loss=loss,
    )
    state = _State(*survivors.drop(broken, *state))
    reviews, last_review = checkpoints(settings.steps), 0
    for step in range(1, settings.steps + 1):
        if len(survivors) == 0:
            return
        moved = _move(state, settings, settings.momentum if step > 1 else 1.0)
        loss, gradient, broken = evaluate(moved, state.labels, state.targets)
        state = _State(*survivors.drop(broken, *_observe(xp, state, moved, loss, gradient)))
        if step in reviews:
            state = _review(xp, state, settings.rho * (step - last_review))
            last_review = step
    survivors.keep(state.best)


def _move(state: _State, settings: _Settings, momentum: float) -> Any:
    """The next iterate (Eq. 4 and 5): a projected step, damped, plus inertia; projected again."""
    eps, norm = settings.eps, settings.norm
    step = state.step_size[:, None, None, None] * steepest(state.gradient, norm)
    stepped = project(state.current + step, state.clean, eps=eps, norm=norm)
    inertia = state.current - state.previous
    blended = state.current + momentum * (stepped - state.current) + (1 - momentum) * inertia
    return project(blended, state.clean, eps=eps, norm=norm)


def _observe(xp: Any, state: _State, moved: Any, loss: Any, gradient: Any) -> _State:
    """Take the step, and remember the point if it is the best so far."""
    better = loss > state.best_loss
    image_better = better[:, None, None, None]
    return state._replace(
        previous=state.current,
        current=moved,
        gradient=gradient,
        loss=loss,
        best=xp.where(image_better, moved, state.best),
        best_gradient=xp.where(image_better, gradient, state.best_gradient),
        best_loss=xp.where(better, loss, state.best_loss),
        rises=state.rises + xp.astype(loss > state.loss, loss.dtype),
    )


def _review(xp: Any, state: _State, enough_rises: float) -> _State:
    """Halve the step size and go back to the best point where one of the two conditions of Section 3 holds."""
    stuck = ~state.halved & (state.checkpoint_loss >= state.best_loss)
    halve = (state.rises <= enough_rises) | stuck
    image_halve = halve[:, None, None, None]
    return state._replace(
        current=xp.where(image_halve, state.best, state.current),
        gradient=xp.where(image_halve, state.best_gradient, state.gradient),
        step_size=xp.where(halve, state.step_size / 2, state.step_size),
        rises=xp.zeros_like(state.rises),
        halved=halve,
        checkpoint_loss=state.best_loss,
    )


def _checked(settings: _Settings) -> _Settings:
    for name in ("momentum", "rho"):
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must lie in [0, 1]; got {getattr(settings, name)}")
    return settings


def _check_norm(norm: str) -> None:
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be linf or l2; got {norm!r}")
