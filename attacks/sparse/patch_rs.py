"""Sparse-RS for patches, black-box, Croce et al. 2022, https://arxiv.org/abs/2006.12834."""

import math
from bisect import bisect_left
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from f2at.attacks.objectives import margins
from f2at.attacks.sparse.arguments import check_patch
from f2at.attacks.sparse.squares import fitted, paste
from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_counts

_CHANGES = (10, 50, 200, 500, 1000, 4000, 8000)  # alpha halves after these queries of 10,000
_MOVE_EVERY = 5  # queries, and 5 more for each 1000 done
_FURTHEST = 0.75  # share of the image that the first moves may cross


def patch_rs(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    side: int,
    rng: np.random.Generator,
    queries: int = 3000,
    initial_fraction: float = 0.4,
) -> Any:
    """Random search, by the margin, over the colours of a square of `side` pixels and its place.

    It starts from stripes, one pixel wide and upright or level, of corners of the colour cube, at a random place. Most
    proposals paint a smaller square inside it in one such colour, or, once that is a single pixel, flip one channel of
    it; every fifth one, and fewer later on, moves it, less far as queries are spent. What raises the margin is kept.

    queries: forward evaluations per sample, at most; the first is of the start.
    initial_fraction: alpha, the share of the patch that the first proposals paint; see `window_fraction`.
    A sample leaves at its first misclassification.
    """
    check_patch(inputs, labels, side=side)
    check_counts(queries=queries)
    if not 0 < initial_fraction <= 1:
        raise ValueError(f"initial_fraction must lie in (0, 1]; got {initial_fraction}")
    xp = array_namespace(inputs)

    def score(images: Any, labels: Any) -> tuple[Any, Any]:
        logits = target.logits(images)
        return margins(logits, labels), misclassified(logits, labels)

    survivors = Survivors(inputs)
    if len(survivors) == 0:
        return survivors.images
    clean = inputs
    n, channels, height, width = clean.shape
    patches = as_draws(_stripes(rng, n, channels, side), clean)
    limits = (height - side, width - side)
    places = as_draws(rng.integers(0, np.array(limits) + 1, (n, 2)), clean)
    current = paste(clean, patches, places)
    margin, broken = score(current, labels)
    state = survivors.drop(broken, current, patches, places, margin, clean, labels)
    for query in range(1, queries):
        if len(survivors) == 0:
            break
        current, patches, places, margin, clean, labels = state
        rows = len(survivors)
        reach = int(_FURTHEST * (1 - query / queries) * max(height, width))
        new_patches, new_places = patches, places
        if query % (_MOVE_EVERY * (1 + query // 1000)) == 0 and reach > 0:
            shift = as_draws(rng.integers(-reach, reach + 1, (rows, 2)), clean)
            new_places = fitted(places + shift, clean, side)
        else:
            size = max(int(math.sqrt(initial_fraction * window_fraction(query, queries)) * side), 1)
            painted = as_draws(_window(rng, rows, side, size), clean)
            if size > 1:
                colours = as_draws(rng.integers(0, 2, (rows, channels, 1, 1)).astype(np.float64), clean)
            else:
                one = rng.integers(0, channels, (rows, 1)) == np.arange(channels)
                painted = painted & as_draws(one[:, :, None, None], clean)
                colours = 1 - patches
            new_patches = xp.where(painted, colours, patches)
        proposed = paste(clean, new_patches, new_places)
        new_margin, broken = score(proposed, labels)
        better = broken | (new_margin > margin)
        wide = better[:, None, None, None]
        state = survivors.drop(
            broken,
            xp.where(wide, proposed, current),
            xp.where(wide, new_patches, patches),
            xp.where(better[:, None], new_places, places),
            xp.where(better, new_margin, margin),
            clean,
            labels,
        )
    survivors.keep(state[0])
    return survivors.images


def window_fraction(query: int, queries: int) -> float:
    """What alpha has shrunk to, as a share of the first: the schedule for 10,000 queries, rescaled."""
    return 0.5 ** bisect_left(_CHANGES, 10_000 * query // queries)


def _stripes(rng: np.random.Generator, n: int, channels: int, side: int) -> NDArray[np.float64]:
    """Patches (n, 3, side, side) of stripes of 0 and 1 in each channel, upright or level by the toss of a coin."""
    lines = rng.integers(0, 2, (n, channels, side, 1)).astype(np.float64)
    level = np.broadcast_to(lines, (n, channels, side, side))
    return np.where(rng.random((n, 1, 1, 1)) < 0.5, level, level.swapaxes(2, 3))


def _window(rng: np.random.Generator, n: int, side: int, size: int) -> NDArray[np.bool_]:
    """A random square of `size` pixels in each of n patches: bool (n, 1, side, side)."""
    top, left = rng.integers(0, side - size + 1, (2, n, 1, 1))
    row, column = np.ogrid[:side, :side]
    return np.asarray(
        ((row >= top) & (row < top + size) & (column >= left) & (column < left + size))[:, None, :, :], np.bool_
    )
