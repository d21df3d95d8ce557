"""Sparse-RS for l0, black-box, Croce et al. 2022, https://arxiv.org/abs/2006.12834."""

from bisect import bisect_left
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import margins
from f2at.attacks.sparse.arguments import check_pixels
from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_counts

_CHANGES = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of alpha, after these queries of 10,000
_DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)


def sparse_rs(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    pixels: int,
    rng: np.random.Generator,
    queries: int = 3000,
    initial_fraction: float = 0.3,
) -> Any:
    """Random search, by the margin, over sets of `pixels` pixels whose colours are corners of the colour cube.

    A proposal gives some pixels of the set back and takes as many others in, with random colours; it is kept if it
    raises the margin.

    pixels: k, how many pixels may change; all of them, where the image has no more.
    queries: forward evaluations per sample, at most; the first is of a random set.
    initial_fraction: alpha, the share of the set in the first proposals; it shrinks as `set_fraction` says.
    A sample leaves at its first misclassification.
    """
    check_pixels(inputs, labels, pixels=pixels)
    check_counts(queries=queries)
    if not 0 < initial_fraction <= 1:
        raise ValueError(f"initial_fraction must lie in (0, 1]; got {initial_fraction}")
    xp = array_namespace(inputs)
    n, channels, height, width = inputs.shape
    positions = height * width
    k = min(pixels, positions)
    channel = xp.arange(channels, device=device(inputs))[None, None, :]

    def corners(rows: int, count: int) -> Any:
        return as_draws(rng.integers(0, 2, (rows, count, channels)).astype(np.float64), inputs)

    def paint(images: Any, places: Any, colours: Any) -> Any:
        """Images (n, 3, HW) with colours (n, j, 3) at places (n, j)."""
        images = xp.asarray(images, copy=True)
        row = xp.arange(images.shape[0], device=device(images))[:, None, None]
        images[row, channel, places[:, :, None]] = colours
        return images

    def colours_at(images: Any, places: Any) -> Any:
        row = xp.arange(images.shape[0], device=device(images))[:, None, None]
        return images[row, channel, places[:, :, None]]

    def score(images: Any, labels: Any) -> tuple[Any, Any]:
        logits = target.logits(xp.reshape(images, (images.shape[0], channels, height, width)))
        return margins(logits, labels), misclassified(logits, labels)

    survivors = Survivors(inputs)
    if n == 0:
        return survivors.images
    survivors.images = xp.reshape(survivors.images, (n, channels, positions))
    clean = survivors.images + 0
    # Each sample's pixels in an order of its own; the first k are its set. So one draw of places serves all samples.
    order = as_draws(rng.permuted(np.tile(np.arange(positions), (n, 1)), axis=1), inputs)
    current = paint(clean, order[:, :k], corners(n, k))
    margin, broken = score(current, labels)
    current, order, margin, clean, labels = survivors.drop(broken, current, order, margin, clean, labels)
    for query in range(1, queries):
        rows = len(survivors)
        if rows == 0:
            break
        count = max(int(initial_fraction * set_fraction(query, queries) * k), 1)
        if k < positions:
            count = min(count, positions - k)
        outgoing = as_draws(rng.choice(k, count, replace=False), inputs)
        # Where the set is the whole image, pixels can only be recoloured.
        drawn = k + rng.choice(positions - k, count, replace=False) if k < positions else None
        incoming = outgoing if drawn is None else as_draws(drawn, inputs)
        gone, come = order[:, outgoing], order[:, incoming]
        proposed = paint(current, gone, colours_at(clean, gone))
        proposed = paint(proposed, come, corners(rows, count))
        new_order = xp.asarray(order, copy=True)
        new_order[:, outgoing], new_order[:, incoming] = come, gone
        new_margin, broken = score(proposed, labels)
        better = broken | (new_margin > margin)
        current = xp.where(better[:, None, None], proposed, current)
        order = xp.where(better[:, None], new_order, order)
        margin = xp.where(better, new_margin, margin)
        current, order, margin, clean, labels = survivors.drop(broken, current, order, margin, clean, labels)
    survivors.keep(current)
    return xp.reshape(survivors.images, inputs.shape)


def set_fraction(query: int, queries: int) -> float:
    """What alpha has shrunk to, as a share of the first: the schedule for 10,000 queries, rescaled."""
    return 1 / _DIVISORS[bisect_left(_CHANGES, 10_000 * query // queries)]
