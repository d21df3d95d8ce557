"""Auto-PGD for l1 and its targeted form, Croce and Hein 2021, https://arxiv.org/abs/2103.01208."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks import l1
from f2at.attacks.objectives import objective_weights
from f2at.attacks.rounding import held
from f2at.attacks.survivors import Survivors, misclassified, wrong_classes
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_attack, check_counts, norms

_FIRST_SHARE = 0.2  # of the values that the first steps move
_THINNING = 1.5  # how many values are moved less than the best image so far moves
_SPARSER = 0.95  # what counts as progress: so many times the values moved at the last review, or fewer
_SHRINK, _SHORTEST = 1.5, 0.1  # of the step size, which starts at eps
_PERIOD = 0.04  # of a ball's steps between two reviews
_ROUNDING = 1e-5  # by which the sum of thousands of float32 values may exceed eps
_LARGER = ((3.0, 0.3), (2.0, 0.3))  # radius in units of eps, share of the steps; the rest is spent in the ball itself


class _Settings(NamedTuple):
    """What both attacks share; see `apgd_l1`."""

    objective: str
    eps: float
    steps: int
    larger_first: bool


class _State(NamedTuple):
    """What the search remembers of each sample: images (n, 3, H, W) and numbers (n,)."""

    rows: Any  # place in the batch
    current: Any
    gradient: Any
    best: Any
    best_gradient: Any
    best_loss: Any
    clean: Any
    step_size: Any
    count: Any  # how many values the next step moves
    moved: Any  # how many values the best image moved at the last review


Evaluate = Callable[[Any, Any, Any], tuple[Any, Any, Any]]
"""(rows (n,) of the batch, their images (n, 3, H, W), which of them lie within eps: bool (n,)) -> the loss to raise
(n,), its gradient (n, 3, H, W), and which of them go on: bool (n,)."""


def apgd_l1(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "l1",
    rng: np.random.Generator,
    objective: str = "cross_entropy",
    steps: int = 100,
    restarts: int = 5,
    larger_first: bool = True,
) -> Any:
    """Sparse projected ascent: steps along the largest entries of the gradient, onto the ball inside the box.

    A step moves equally as many values as the best image so far moves, divided by 1.5; 20 % of all at first. At each
    review, every 25th part of the steps, a sample whose best image became sparser goes on from there with steps of
    length eps; otherwise its steps get shorter, down to a tenth of eps.
    larger_first: spend three tenths of the steps in a ball of 3 eps, and three in one of 2 eps, before that of eps.
    A sample leaves at its first misclassified iterate that rounding to 8 bits leaves one; a sample never broken
    returns its point of largest loss. At most restarts * (steps + 3) gradient evaluations per sample, and a forward
    evaluation for each error that rounding may take back.
    """
    _check(inputs, labels, eps, norm, steps=steps, restarts=restarts)
    survivors = Survivors(inputs)
    for _ in range(restarts):
        _run(target, survivors, inputs, labels, labels, _Settings(objective, eps, steps, larger_first), rng)
    return survivors.images


def apgd_l1_targeted(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "l1",
    rng: np.random.Generator,
    objective: str = "targeted_dlr",
    target_classes: int = 5,
    steps: int = 100,
    restarts: int = 1,
    larger_first: bool = True,
) -> Any:
    """`apgd_l1` towards each of the `target_classes` wrong classes with the largest clean logits, in that order.

    With fewer wrong classes than that, towards each of them. Costs one forward evaluation per sample (samples
    misclassified already leave there), then as `apgd_l1` for each target class.
    """
    _check(inputs, labels, eps, norm, steps=steps, restarts=restarts, target_classes=target_classes)
    survivors = Survivors(inputs)
    logits = target.logits(inputs)
    survivors.drop(misclassified(logits, labels), inputs)
    ranking = wrong_classes(logits, labels)
    for rank in range(min(target_classes, ranking.shape[1])):
        settings = _Settings(objective, eps, steps, larger_first)
        for _ in range(restarts):
            _run(target, survivors, inputs, labels, ranking[:, rank], settings, rng)
    return survivors.images


def balls(eps: float, steps: int, *, larger_first: bool) -> tuple[tuple[float, int], ...]:
    """The radii that a run goes through and the steps that it takes in each; the last radius is eps."""
    larger = [(times * eps, math.ceil(share * steps)) for times, share in _LARGER] if larger_first else []
    left = steps - sum(count for _, count in larger)
    return (*((radius, count) for radius, count in larger), (eps, left)) if left > 0 else ((eps, steps),)


def _run(
    target: Target,
    survivors: Survivors,
    inputs: Any,
    labels: Any,
    targets: Any,
    settings: _Settings,
    rng: np.random.Generator,
) -> None:
    """One run from a random start through all balls, on the samples that still stand."""
    if len(survivors) == 0:
        return
    xp = array_namespace(inputs)
    clean, labels, targets = (rows[survivors.index] for rows in (inputs, labels, targets))

    def evaluate(rows: Any, images: Any, inside: Any) -> tuple[Any, Any, Any]:
        weights = objective_weights(xp, settings.objective, images.shape[0], device=device(images))
        logits, objectives, gradient = target.gradient(images, labels[rows], targets[rows], weights)
        broken = inside & misclassified(logits, labels[rows])
        broken = held(target, images, clean[rows], labels[rows], broken, eps=settings.eps, norm="l1")
        survivors.drop(broken, images)
        return xp.sum(weights * objectives, axis=1), gradient, ~broken

    start = clean + as_draws(rng.standard_normal(clean.shape), clean)
    best = sparse_ascent(
        evaluate, start, clean, eps=settings.eps, steps=settings.steps, larger_first=settings.larger_first
    )
    survivors.keep(best)


def sparse_ascent(evaluate: Evaluate, start: Any, clean: Any, *, eps: float, steps: int, larger_first: bool) -> Any:
    """Raise a loss by sparse steps from the images `start`, all (N, 3, H, W), through the balls of `balls`.

    Returns the images of largest loss in the ball of eps of the samples that went on to the end, in their order.
    """
    xp = array_namespace(clean)
    size = math.prod(clean.shape[1:])
    rows = xp.arange(clean.shape[0], device=device(clean))
    current = start
    for place, (radius, count) in enumerate(balls(eps, steps, larger_first=larger_first)):
        current = l1.project(current, clean, eps=radius)
        moved = xp.full_like(clean[:, 0, 0, 0], size)
        if place:
            moved = _moved(current, clean)
        state = _State(
            rows=rows,
            current=current,
            gradient=current,
            best=current,
            best_gradient=current,
            best_loss=xp.full_like(moved, -xp.inf),
            clean=clean,
            step_size=xp.full_like(moved, radius),
            count=moved / _THINNING if place else _FIRST_SHARE * moved,
            moved=moved,
        )
        state = _ascend(evaluate, state, eps, radius, count)
        rows, current, clean = state.rows, state.best, state.clean
    return current


def _ascend(evaluate: Evaluate, state: _State, eps: float, radius: float, steps: int) -> _State:
    """So many steps in one ball."""
    xp = array_namespace(state.clean)
    state = _observe(xp, evaluate, state, eps)
    period = max(int(_PERIOD * steps), 1)
    for step in range(1, steps + 1):
        if state.rows.shape[0] == 0:
            break
        stepped = state.current + state.step_size[:, None, None, None] * l1.spread(state.gradient, state.count)
        state = state._replace(current=l1.project(stepped, state.clean, eps=radius))
        state = _observe(xp, evaluate, state, eps)
        if step % period == 0:
            state = _review(xp, state, radius)
    return state


def _observe(xp: Any, evaluate: Evaluate, state: _State, eps: float) -> _State:
    """Evaluate the current images, remember the best, and go on with the samples that do."""
    if state.rows.shape[0] == 0:
        return state
    inside = norms(state.current - state.clean, "l1") <= eps * (1 + _ROUNDING)
    loss, gradient, going = evaluate(state.rows, state.current, inside)
    better = loss > state.best_loss
    image_better = better[:, None, None, None]
    state = state._replace(
        gradient=gradient,
        best=xp.where(image_better, state.current, state.best),
        best_gradient=xp.where(image_better, gradient, state.best_gradient),
        best_loss=xp.where(better, loss, state.best_loss),
    )
    return state if bool(xp.all(going)) else _State(*(values[going] for values in state))


def _review(xp: Any, state: _State, radius: float) -> _State:
    """Set sparsity and step size by what the best image moves; where that is fewer values, go on from there."""
    moved = _moved(state.best, state.clean)
    sparser = moved < _SPARSER * state.moved
    image_sparser = sparser[:, None, None, None]
    shorter = xp.clip(state.step_size / _SHRINK, min=_SHORTEST * radius)
    return state._replace(
        current=xp.where(image_sparser, state.best, state.current),
        gradient=xp.where(image_sparser, state.best_gradient, state.gradient),
        step_size=xp.where(sparser, xp.full_like(shorter, radius), shorter),
        count=moved / _THINNING,
        moved=moved,
    )


def _moved(images: Any, clean: Any) -> Any:
    """How many values differ from the clean ones: (n,), as floats."""
    xp = array_namespace(images)
    return xp.sum(xp.astype(images != clean, images.dtype), axis=(1, 2, 3))


def _check(inputs: Any, labels: Any, eps: float, norm: str, **counts: int) -> None:
    if norm != "l1":
        raise ValueError(f"norm must be l1; got {norm!r}")
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(**counts)
