"""Gradient ascent on a patch: the colours of one square, and its place.

Ascent on the colours is projected gradient descent, Madry et al. 2018, https://arxiv.org/abs/1706.06083; that the place
matters as much, and is found by trial, is Rao et al. 2020, https://arxiv.org/abs/2005.02313.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import OBJECTIVES, margins, objective_weights
from f2at.attacks.sparse.arguments import check_patch
from f2at.attacks.sparse.squares import fitted, inside, sums
from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_counts

_MARGIN = OBJECTIVES.index("margin")
_LEAST = 0.02  # the last steps are no shorter
_REACH = 2  # pixels that a shift may go, down or across


class _Run(NamedTuple):
    """What is known of each standing sample: images (n, 3, H, W), places (n, 2), numbers (n,)."""

    clean: Any
    labels: Any
    colours: Any  # of the whole image; those inside the square are shown
    places: Any
    gradient: Any
    margin: Any
    best: Any
    best_margin: Any
    starts: Any  # (n, places, 2): where the runs start
    corners: Any  # (n, 3, H, W): the colours that the clean image's gradient points to
    drawn: Any  # (n, 3, H, W): random colours
    by_gradient: Any  # bool (n, places): whether a run starts from the former


def patch_ascent(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    side: int,
    rng: np.random.Generator,
    steps: int = 20,
    places: int = 8,
    trials: int = 64,
    objective: str = "margin",
    step_size: float = 0.5,
    shift_every: int = 2,
) -> Any:
    """Find promising places for a square of `side` pixels, and ascend its colours at the best of them, shifting it.

    Places are tried by one forward evaluation each. Half of the `trials` are those where the clean image's gradient
    promises most, a square no more than half covered by another, in the colours that it points to (each value 0 or 1);
    the others form a grid over the image, and are tried in random colours, in case gradients at the clean image
    mislead. The `places` trials of the largest margin each start a run.

    A run takes `steps` steps along the gradient's sign, whose size falls from `step_size` along a cosine. Every
    `shift_every` steps it tries the square up to two pixels away: by turns where the gradient promises most, and at
    random. Pixels that it uncovers there take the colours that the gradient points to, and it stays where the margin
    is larger.

    A sample leaves at its first misclassified image, the clean one included; one never broken returns its image of the
    largest margin. See `most_of_patch_ascent` for the evaluations that this takes.
    """
    check_patch(inputs, labels, side=side)
    check_counts(steps=steps, places=places, trials=trials, shift_every=shift_every)
    if not 0 < step_size <= 1:
        raise ValueError(f"step_size must lie in (0, 1]; got {step_size}")
    xp = array_namespace(inputs)
    survivors = Survivors(inputs)
    if len(survivors) == 0:
        return survivors.images

    def evaluate(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        weights = objective_weights(xp, objective, images.shape[0], device=device(images))
        logits, values, gradient = target.gradient(images, labels, labels, weights)
        return values[:, _MARGIN], gradient, misclassified(logits, labels)

    def try_out(images: Any, labels: Any) -> tuple[Any, Any]:
        logits = target.logits(images)
        return margins(logits, labels), misclassified(logits, labels)

    margin, gradient, broken = evaluate(inputs, labels)
    _, clean, labels, gradient, margin = survivors.drop(broken, inputs, inputs, labels, gradient, margin)
    if len(survivors) == 0:
        return survivors.images
    corners = _corners(gradient, clean)
    drawn = as_draws(rng.integers(0, 2, clean.shape).astype(np.float64), clean)
    candidates, pointed = _candidates(gradient, clean, side, trials)
    scores = []
    best, best_margin, by_trial = clean, margin, candidates
    for trial in range(candidates.shape[1]):
        if len(survivors) == 0:
            return survivors.images
        colours = corners if trial < pointed else drawn
        images = xp.where(inside(by_trial[:, trial, :], clean, side), colours, clean)
        margin, broken = try_out(images, labels)
        best, best_margin = _better(best, best_margin, images, margin)
        scores.append(margin)
        _, clean, labels, corners, drawn, by_trial, best, best_margin, *scores = survivors.drop(
            broken, images, clean, labels, corners, drawn, by_trial, best, best_margin, *scores
        )
    ranking = xp.argsort(xp.stack(scores, axis=1), axis=1, descending=True)[:, :places]
    starts = by_trial[xp.arange(len(survivors), device=device(clean))[:, None], ranking]
    run = _Run(
        clean, labels, corners, starts[:, 0, :], clean, best_margin, best, best_margin, starts, corners, drawn,
        ranking < pointed,
    )  # fmt: skip
    for number in range(starts.shape[1]):
        colours = xp.where(run.by_gradient[:, number][:, None, None, None], run.corners, run.drawn)
        run = run._replace(colours=colours, places=run.starts[:, number, :])
        for step in range(steps + 1):
            if len(survivors) == 0:
                return survivors.images
            images = xp.where(inside(run.places, run.clean, side), run.colours, run.clean)
            margin, gradient, broken = evaluate(images, run.labels)
            best, best_margin = _better(run.best, run.best_margin, images, margin)
            run = run._replace(gradient=gradient, margin=margin, best=best, best_margin=best_margin)
            run = _Run(*survivors.drop(broken, images, *run)[1:])
            if step == steps or len(survivors) == 0:
                continue
            if step % shift_every == shift_every - 1:
                shifted = _shifted(run, side, rng, at_random=step // shift_every % 2 == 1)
                images = xp.where(inside(shifted.places, run.clean, side), shifted.colours, run.clean)
                margin, broken = try_out(images, run.labels)
                better = margin > run.margin
                best, best_margin = _better(run.best, run.best_margin, images, margin)
                run = run._replace(
                    colours=xp.where(better[:, None, None, None], shifted.colours, run.colours),
                    places=xp.where(better[:, None], shifted.places, run.places),
                    best=best,
                    best_margin=best_margin,
                )
                run = _Run(*survivors.drop(broken, images, *run)[1:])
            size = max(step_size * (1 + math.cos(math.pi * step / steps)) / 2, _LEAST)
            run = run._replace(colours=xp.clip(run.colours + size * xp.sign(run.gradient), min=0.0, max=1.0))
    survivors.keep(run.best)
    return survivors.images


def most_of_patch_ascent(parameters: Mapping[str, Any]) -> int:
    """The most evaluations of one sample, gradients (see `most_gradients_of_patch_ascent`) and forwards.

    Forward evaluations are the trials of places and of shifts.
    """
    runs = min(int(parameters["places"]), int(parameters["trials"]))
    shifts = int(parameters["steps"]) // int(parameters["shift_every"])
    return most_gradients_of_patch_ascent(parameters) + int(parameters["trials"]) + runs * shifts


def most_gradients_of_patch_ascent(parameters: Mapping[str, Any]) -> int:
    """The most gradient evaluations of one sample: the clean image, the steps of every run and its last look."""
    runs = min(int(parameters["places"]), int(parameters["trials"]))
    return 1 + runs * (int(parameters["steps"]) + 1)


def _better(best: Any, best_margin: Any, images: Any, margin: Any) -> tuple[Any, Any]:
    """The images of larger margin, and their margins."""
    xp = array_namespace(images)
    better = margin > best_margin
    return xp.where(better[:, None, None, None], images, best), xp.where(better, margin, best_margin)


def _corners(gradient: Any, images: Any) -> Any:
    """The colours that a gradient points to: 0 or 1 in each channel."""
    xp = array_namespace(images)
    return xp.where(gradient > 0, xp.ones_like(images), xp.zeros_like(images))


def _candidates(gradient: Any, clean: Any, side: int, trials: int) -> tuple[Any, int]:
    """Places to try (n, trials, 2), and how many of them, the first ones, the gradient points to.

    No place is tried twice in the same colours; fewer are returned where the image has no more.
    """
    xp = array_namespace(clean)
    n, _, height, width = clean.shape
    rows, columns = height - side + 1, width - side + 1
    promise = sums(xp.sum(gradient * (_corners(gradient, clean) - clean), axis=1), side)
    row = xp.arange(rows, device=device(clean))[None, :, None]
    column = xp.arange(columns, device=device(clean))[None, None, :]
    apart, found = max(side // 2, 1), []
    pointed = min(trials - trials // 2, rows * columns)
    taken = xp.zeros_like(promise)
    for _ in range(pointed):
        # Near a place that is taken, others come once all that are further away are taken too; itself, never again.
        level = xp.min(taken, axis=(1, 2), keepdims=True)
        left = xp.where(taken <= level, promise, -xp.inf)
        place = xp.argmax(xp.reshape(left, (n, -1)), axis=1)
        top, across = place // columns, place % columns
        found.append(xp.stack([top, across], axis=1))
        down, aside = xp.abs(row - top[:, None, None]), xp.abs(column - across[:, None, None])
        taken = taken + xp.where((down < apart) & (aside < apart), 1.0, 0.0)
        taken = xp.where((down == 0) & (aside == 0), xp.inf, taken)
    for top, across in _grid(rows, columns, trials - pointed):
        found.append(xp.zeros_like(found[0]) + xp.asarray([top, across], dtype=found[0].dtype, device=device(clean)))
    return xp.stack(found, axis=1), pointed


def _grid(rows: int, columns: int, count: int) -> list[tuple[int, int]]:
    """At most `count` places among rows x columns, evenly spaced, the first and last of each included."""
    down = max(min(math.isqrt(count * rows // columns), rows, count), 1)
    across = min(count // down, columns)
    tops = sorted({int(top) for top in np.rint(np.linspace(0, rows - 1, down))})
    lefts = sorted({int(left) for left in np.rint(np.linspace(0, columns - 1, across))})
    return [(top, left) for top in tops for left in lefts]


def _shifted(run: _Run, side: int, rng: np.random.Generator, *, at_random: bool) -> _Run:
    """The square a little away; what it uncovers, and only that, takes the colours that the gradient points to."""
    xp = array_namespace(run.clean)
    covered = inside(run.places, run.clean, side)
    wide = xp.where(covered, run.colours, _corners(run.gradient, run.clean))
    if at_random:
        shift = as_draws(rng.integers(-_REACH, _REACH + 1, (run.places.shape[0], 2)), run.clean)
        return run._replace(colours=wide, places=fitted(run.places + shift, run.clean, side))
    promise = sums(xp.sum(run.gradient * (wide - run.clean), axis=1), side)
    rows, columns = promise.shape[1:]
    down = xp.abs(xp.arange(rows, device=device(promise))[None, :, None] - run.places[:, :1, None])
    aside = xp.abs(xp.arange(columns, device=device(promise))[None, None, :] - run.places[:, 1:, None])
    near = (down <= _REACH) & (aside <= _REACH) & (down + aside > 0)
    place = xp.argmax(xp.reshape(xp.where(near, promise, -xp.inf), (promise.shape[0], -1)), axis=1)
    return run._replace(colours=wide, places=xp.stack([place // columns, place % columns], axis=1))
