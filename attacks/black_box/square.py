"""The Square attack, black-box, Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049.

Its l1 form is of Croce and Hein 2021, https://arxiv.org/abs/2103.01208, Section 5.
"""

import math
from bisect import bisect_left
from functools import partial
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from f2at.attacks.objectives import margins
from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_attack, check_counts, project, unit

_TINY = 1e-12
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of p, at these queries of 10,000


def square(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    queries: int = 5000,
    initial_fraction: float = 0.8,
) -> Any:
    """Random search over square windows, by the margin; a proposal is kept if it raises it.

    queries: forward evaluations per sample, the first of them at the start (stripes for linf, else tiles).
    initial_fraction: p, the share of the image in the first windows; shrinks as `window_fraction` says.
    A sample leaves at its first misclassification. Windows and colours are drawn for each sample.
    """
    check_counts(queries=queries)
    if not 0 < initial_fraction <= 1:
        raise ValueError(f"initial_fraction must lie in (0, 1]; got {initial_fraction}")
    check_attack(inputs, labels, eps=eps, norm=norm)
    xp = array_namespace(inputs)
    start, propose = (_stripes, _repaint) if norm == "linf" else (partial(_tiles, norm), partial(_move_mass, norm))

    def score(images: Any, labels: Any) -> tuple[Any, Any]:
        logits = target.logits(images)
        return margins(logits, labels), misclassified(logits, labels)

    survivors, clean = Survivors(inputs), inputs
    current = start(clean, eps, rng)
    margin, broken = score(current, labels)
    current, margin, clean, labels = survivors.drop(broken, current, margin, clean, labels)
    for query in range(queries - 1):
        if len(survivors) == 0:
            break
        fraction = initial_fraction * window_fraction(query, queries)
        proposed = propose(clean, current, eps, fraction, rng)
        new_margin, broken = score(proposed, labels)
        better = broken | (new_margin > margin)
        current = xp.where(better[:, None, None, None], proposed, current)
        margin = xp.where(better, new_margin, margin)
        current, margin, clean, labels = survivors.drop(broken, current, margin, clean, labels)
    survivors.keep(current)
    return survivors.images


def window_fraction(query: int, queries: int) -> float:
    """The share that the windows have shrunk to: a power of 1/2, by the schedule for 10,000 queries rescaled."""
    return 0.5 ** bisect_left(_HALVINGS, 10_000 * query // queries)


def _stripes(clean: Any, eps: float, rng: np.random.Generator) -> Any:
    """The linf start (Section 3.3): vertical stripes, one pixel wide, of +-eps in each channel."""
    n, channels, _, width = clean.shape
    return project(clean + eps * as_draws(_signs(rng, n, channels, 1, width), clean), clean, eps=eps, norm="linf")


def _repaint(clean: Any, current: Any, eps: float, fraction: float, rng: np.random.Generator) -> Any:
    """The linf proposal (Algorithm 2): a window of every sample goes to +-eps, one sign per channel."""
    n, channels, height, width = clean.shape
    size = max(round(math.sqrt(fraction * height * width)), 1)
    inside, _, _ = _window(clean, min(size, height, width), rng)
    colour = 2 * eps * as_draws(_signs(rng, n, channels, 1, 1), clean)
    xp = array_namespace(clean)
    return project(xp.where(inside, current + colour, current), clean, eps=eps, norm="linf")


def _tiles(norm: str, clean: Any, eps: float, rng: np.random.Generator) -> Any:
    """The l2 and l1 start (Section 3.4): a grid of about 5 x 5 patterns, a random sign for each tile and channel."""
    n, channels, height, width = clean.shape
    size = max(height // 5, 1)
    margin = (height - 5 * size) // 2 if height >= 5 else 0
    draws = np.zeros(clean.shape)
    for top in range(margin, height - size + 1, size):
        for left in range(margin, width - size + 1, size):
            tile = _pattern(size, norm) if rng.random() < 0.5 else _pattern(size, norm).T
            draws[:, :, top : top + size, left : left + size] = tile * _signs(rng, n, channels, 1, 1)
    return _onto_sphere(clean, as_draws(draws, clean), eps, norm)


def _move_mass(norm: str, clean: Any, current: Any, eps: float, fraction: float, rng: np.random.Generator) -> Any:
    """The l2 and l1 proposal (Algorithm 3): empty one window and spend its mass, and what eps leaves, in another.

    The window filled keeps its own perturbation's direction, mixed with a new pattern of random sign. For l1, every
    channel is given what all of them may spend, and the projection takes back what is too much: the smallest values.
    """
    xp = array_namespace(clean)
    n, channels, height, width = clean.shape
    size = max(round(math.sqrt(fraction * height * width)), 3)
    size = min(size + (size % 2 == 0), height, width)
    filled, top, left = _window(clean, size, rng)
    emptied, _, _ = _window(clean, size, rng)
    perturbation = current - clean

    # The pattern, or its transpose, placed in each sample's window.
    row, column = (xp.arange(length, device=device(clean)) for length in (height, width))
    row = xp.clip(row[None, :, None] - top, min=0, max=size - 1)
    column = xp.clip(column[None, None, :] - left, min=0, max=size - 1)
    upright = as_draws(rng.random((n, 1, 1)) < 0.5, clean)
    pattern = as_draws(_pattern(size, norm), clean)
    placed = xp.where(upright, pattern[row, column], pattern[column, row])[:, None, :, :]
    placed = placed * as_draws(_signs(rng, n, channels, 1, 1), clean)

    def mass(values: Any) -> Any:
        """Of each channel, so that the mass of disjoint parts adds up: the sum of squares, for l1 of absolutes."""
        return xp.sum(values * values if norm == "l2" else xp.abs(values), axis=(2, 3), keepdims=True)

    def size_of(mass: Any) -> Any:
        return xp.sqrt(mass) if norm == "l2" else mass

    old = xp.where(filled, perturbation, 0.0)
    mixed = xp.where(filled, placed, 0.0) + old / (size_of(mass(old)) + _TINY)
    whole = eps**2 if norm == "l2" else eps
    unspent = xp.clip(whole - xp.sum(mass(perturbation), axis=1, keepdims=True), min=0.0) / channels
    available = unspent + mass(xp.where(filled | emptied, perturbation, 0.0))
    available = size_of(available) * (1 if norm == "l2" else channels)
    new = mixed / (size_of(mass(mixed)) + _TINY) * available
    perturbation = xp.where(filled, new, xp.where(emptied, 0.0, perturbation))
    return _onto_sphere(clean, perturbation, eps, norm)


def _onto_sphere(clean: Any, perturbation: Any, eps: float, norm: str) -> Any:
    """All of eps spent, then clipped; for l1, the nearest point of ball and box."""
    moved = perturbation if norm == "l1" else eps * unit(perturbation, norm)
    return project(clean + moved, clean, eps=eps, norm=norm)


def _window(clean: Any, size: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """A random square of each sample: a mask (n, 1, H, W), its top rows and its left columns (n, 1, 1)."""
    xp = array_namespace(clean)
    n, _, height, width = clean.shape
    top = as_draws(rng.integers(0, height - size + 1, (n, 1, 1)), clean)
    left = as_draws(rng.integers(0, width - size + 1, (n, 1, 1)), clean)
    row, column = (xp.arange(length, device=device(clean)) for length in (height, width))
    row, column = row[None, :, None], column[None, None, :]
    inside = (row >= top) & (row < top + size) & (column >= left) & (column < left + size)
    return inside[:, None, :, :], top, left


def _signs(rng: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    return np.asarray(rng.integers(0, 2, shape) * 2.0 - 1.0, np.float64)


def _pattern(size: int, norm: str) -> NDArray[np.float64]:
    """The pattern (Eq. 2), of norm 1: a bump in the upper half, its negative in the lower."""
    upper, lower = _bump(size // 2, size, norm), _bump(size - size // 2, size, norm)
    return _scaled(np.concatenate([upper, -lower]), norm)


def _bump(rows: int, columns: int, norm: str) -> NDArray[np.float64]:
    """Nested rectangles around the centre, the k-th of height 1 / (k + 1)^2, for l1 to the fourth, scaled to norm 1."""
    row, column = np.indices((rows, columns))
    distance = np.maximum(abs(row - rows // 2), abs(column - columns // 2))
    heights = 1.0 / np.arange(1, max(rows, columns) // 2 + 2) ** (2 if norm == "l2" else 4)
    return _scaled(np.cumsum(heights[::-1])[::-1][distance], norm)  # each pixel lies in all from its distance on


def _scaled(values: NDArray[np.float64], norm: str) -> NDArray[np.float64]:
    size = np.sqrt(np.sum(values**2)) if norm == "l2" else np.sum(abs(values))
    return np.asarray(values / (size or 1.0), np.float64)  # no pixels, no norm
