"""HopSkipJump, black-box with hard labels, Chen, Jordan and Wainwright 2020, https://arxiv.org/abs/1904.02144."""

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from f2at.attacks.black_box.hard_label import HardLabel
from f2at.attacks.survivors import Survivors
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_attack, check_counts, norms, project, steepest, unit

_TINY = 1e-12
_RESERVE = 20  # queries of each sample kept from the estimate, for the step and the way back to the boundary


class _State(NamedTuple):
    """Of each standing sample: images (n, 3, H, W) and numbers (n,)."""

    current: Any  # misclassified, near the boundary
    clean: Any
    best: Any  # the nearest misclassified point so far
    best_distance: Any
    reach: Any  # distance of the last point before it was moved back to the boundary


def hopskipjump(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    queries: int = 5000,
    initial_evaluations: int = 100,
    max_evaluations: int = 10_000,
    gamma: float = 1.0,
    start_trials: int = 100,
    grid: float = 1 / 255,
) -> Any:
    """Along the decision boundary: estimate its normal from answers at random points, step, bisect back to it.

    Reads only the predicted class. A sample leaves once a misclassified point lies within eps; one that
    runs out of queries returns the nearest found, projected.

    queries: forward evaluations per sample, all included.
    initial_evaluations: answers for the first estimate; the t-th takes sqrt(t) as many, at most `max_evaluations`.
    gamma: bisection ends at gamma / d^(3/2) of the way for l2 and gamma / d^2 for linf (d pixels times channels).
    start_trials: images of uniform noise to try as a start; where none is misclassified, another image of the
        batch that the model takes for another class. A sample without a start returns noise, projected.
    grid: the step that the target rounds inputs to. Below it the model's answers do not change, so that random
        points are at least half of it away, root mean square, and bisection ends there. 0: as published.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be linf or l2; got {norm!r}")
    check_counts(
        queries=queries,
        initial_evaluations=initial_evaluations,
        max_evaluations=max_evaluations,
        start_trials=start_trials,
    )
    if gamma <= 0:
        raise ValueError(f"gamma must be > 0; got {gamma}")
    if grid < 0:
        raise ValueError(f"grid must be >= 0; got {grid}")
    xp = array_namespace(inputs)
    size = math.prod(inputs.shape[1:])
    theta = gamma / (size**2 if norm == "linf" else size**1.5)
    survivors = Survivors(inputs)
    ask = HardLabel(target, labels, survivors, queries=queries)

    def to_boundary(clean: Any, far: Any, along: str) -> Any:
        return _bisect(ask, clean, far, norm=along, share=theta, distance=grid / 2)

    start, clean, found = _start(ask, inputs, rng, start_trials)
    clean, start = survivors.drop(~found, project(start, clean, eps=eps, norm=norm), clean, start)[1:]
    current = to_boundary(clean, start, "l2")
    if norm == "linf":
        current = to_boundary(clean, current, "linf")
    distance = norms(current - clean, norm)
    state = _State(current=current, clean=clean, best=current, best_distance=distance, reach=distance)
    for iteration in range(1, queries):
        state = _leave(survivors, state, ask.left <= _RESERVE, eps, norm)
        if len(survivors) == 0:
            break
        current, clean = state.current, state.clean
        radius = xp.full_like(state.reach, 0.1) if iteration == 1 else gamma / size * state.reach
        radius = xp.clip(radius, min=math.sqrt(size) * grid / 2)
        evaluations = min(int(initial_evaluations * math.sqrt(iteration)), max_evaluations)
        normal = _normal(ask, current, radius, evaluations, norm, rng)
        first = norms(current - clean, norm) / math.sqrt(iteration)
        stepped = _step(ask, current, steepest(normal, norm), first)
        current = to_boundary(clean, stepped, norm)
        distance = norms(current - clean, norm)
        nearer = distance < state.best_distance
        state = _State(
            current=current,
            clean=clean,
            best=xp.where(nearer[:, None, None, None], current, state.best),
            best_distance=xp.where(nearer, distance, state.best_distance),
            reach=norms(stepped - clean, norm),
        )
    return survivors.images


def _start(ask: HardLabel, inputs: Any, rng: np.random.Generator, trials: int) -> tuple[Any, Any, Any]:
    """For each sample classified as labelled: a misclassified image, the clean one, and whether there is one (n,)."""
    xp = array_namespace(inputs)
    (clean,) = ask.survivors.drop(ask(inputs, ask.left > 0), inputs)
    start, found = clean, ask.left < 0
    for _ in range(trials):
        if bool(xp.all(found)):
            break
        noise = as_draws(rng.random(clean.shape), clean)
        start = xp.where(found[:, None, None, None], start, noise)
        found = found | ask(noise, ~found)
    # Whoever stands is classified as labelled: an image of one class is misclassified as one of another.
    labels = ask.labels[ask.survivors.index]
    for row, missing in enumerate(~found):
        others = clean[labels != labels[row]]
        if bool(missing) and others.shape[0] > 0:
            start[row], found[row] = others[0], True
    return start, clean, found


def _leave(survivors: Survivors, state: _State, spent: Any, eps: float, norm: str) -> _State:
    """Record the samples that need no more queries, or have no more; the state of the others."""
    xp = array_namespace(state.best)
    inside = state.best_distance <= eps
    projected = project(state.best, state.clean, eps=eps, norm=norm)
    found = xp.where(inside[:, None, None, None], state.best, projected)
    _, *rest = survivors.drop(inside | spent, found, *state)
    return _State(*rest)


def _between(clean: Any, far: Any, share: Any, norm: str) -> Any:
    """The point on the way from `clean` to `far`: on the line for l2, moved into a smaller cube for linf."""
    xp = array_namespace(clean)
    if norm == "linf":
        radius = (share * norms(far - clean, norm))[:, None, None, None]
        return xp.clip(far, min=clean - radius, max=clean + radius)
    return clean + share[:, None, None, None] * (far - clean)


def _bisect(ask: HardLabel, clean: Any, far: Any, *, norm: str, share: float, distance: float) -> Any:
    """A misclassified point within `share` of the way, or `distance`, of the boundary; `far` is misclassified."""
    xp = array_namespace(clean)
    length = norms(far - clean, norm)
    low, high = xp.zeros_like(length), xp.ones_like(length)
    tolerance = xp.clip(distance / xp.clip(length, min=_TINY), min=share)
    while bool(xp.any(asked := (high - low > tolerance) & (ask.left > 0))):
        middle = (low + high) / 2
        hit = ask(_between(clean, far, middle, norm), asked)
        high = xp.where(hit, middle, high)
        low = xp.where(asked & ~hit, middle, low)
    return xp.where((high < 1)[:, None, None, None], _between(clean, far, high, norm), far)


def _normal(ask: HardLabel, current: Any, radius: Any, evaluations: int, norm: str, rng: np.random.Generator) -> Any:
    """The estimated direction, of l2 norm 1, in which the model errs (Eq. 16): random points weighted by answers.

    radius (n,): the l2 distance of the random points.
    """
    xp = array_namespace(current)
    radius = radius[:, None, None, None]
    answers, count = xp.zeros_like(radius), xp.zeros_like(radius)
    total, weighted = xp.zeros_like(current), xp.zeros_like(current)
    for _ in range(evaluations):
        asked = ask.left > _RESERVE
        draws = rng.standard_normal(current.shape) if norm == "l2" else rng.uniform(-1, 1, current.shape)
        points = xp.clip(current + radius * unit(as_draws(draws, current), "l2"), min=0.0, max=1.0)
        hit = ask(points, asked)[:, None, None, None]
        taken = xp.astype(asked, current.dtype)[:, None, None, None]
        answer = taken * xp.where(hit, 1.0, -1.0)
        offset = points - current
        answers, count = answers + answer, count + taken
        total, weighted = total + taken * offset, weighted + answer * offset
    mean = answers / xp.clip(count, min=1.0)
    one_sided = xp.abs(answers) == count  # no answer differs: the mean of the points is all there is to go by
    return unit(xp.where(one_sided, mean * total, weighted - mean * total), "l2")


def _step(ask: HardLabel, current: Any, direction: Any, length: Any) -> Any:
    """Move by `length` (n,), halved until the point is misclassified; no queries left, no move."""
    xp = array_namespace(current)
    stepped, searching = current, ask.left > 0
    while bool(xp.any(searching)):
        moved = xp.clip(current + length[:, None, None, None] * direction, min=0.0, max=1.0)
        hit = ask(moved, searching)
        stepped = xp.where(hit[:, None, None, None], moved, stepped)
        length = length / 2
        searching = searching & ~hit & (ask.left > 0)
    return stepped
