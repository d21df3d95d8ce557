"""RayS, black-box with hard labels, linf, Chen and Gu 2020, https://arxiv.org/abs/2006.12792."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from f2at.attacks.black_box.hard_label import HardLabel
from f2at.attacks.survivors import Survivors
from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, check_counts, project


def rays(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,  # noqa: ARG001  (every attack takes one; this one draws nothing)
    queries: int = 5000,
    tolerance: float = 1 / 510,
) -> Any:
    """Search the corners {-1, 1}^d for the direction in which the boundary is nearest, block by block.

    Flips the signs of one block after the other, the whole image first, then halves, quarters and so on in memory
    order; a flip is kept if the boundary is nearer that way, which takes one query to rule out. Reads only
    the predicted class. A sample leaves once its radius is within eps; one that runs out of queries returns the
    corner of the ball in its best direction.

    queries: forward evaluations per sample, all included.
    tolerance: of a radius, in pixel units; half a level of an 8-bit image. The authors stop at 0.001 / sqrt(d).
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(queries=queries)
    if norm != "linf":
        raise ValueError(f"norm must be linf for rays; got {norm!r}")
    if tolerance <= 0:
        raise ValueError(f"tolerance must be > 0; got {tolerance}")
    xp = array_namespace(inputs)
    size = math.prod(inputs.shape[1:])
    survivors = Survivors(inputs)
    ask = HardLabel(target, labels, survivors, queries=queries)
    (clean,) = survivors.drop(ask(inputs, ask.left > 0), inputs)
    signs = xp.ones_like(clean)
    radius = xp.full_like(clean[:, 0, 0, 0], xp.inf)
    for start, end in _blocks(size):
        flipped = xp.reshape(xp.asarray(signs, copy=True), (signs.shape[0], size))
        flipped[:, start:end] *= -1.0
        flipped = xp.reshape(flipped, signs.shape)
        nearer = _radius(ask, clean, flipped, radius, tolerance)
        signs = xp.where((nearer < radius)[:, None, None, None], flipped, signs)
        radius = nearer
        done = (radius <= eps) | (ask.left == 0)
        found = project(clean + xp.clip(radius, max=eps)[:, None, None, None] * signs, clean, eps=eps, norm=norm)
        _, clean, signs, radius = survivors.drop(done, found, clean, signs, radius)
        if len(survivors) == 0:
            break
    return survivors.images


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the blocks: all of `size`, then halves, quarters, ... down to single values, again and again."""
    level = 0
    while True:
        length = -(-size // 2**level)
        for start in range(0, size, length):
            yield start, min(start + length, size)
        level += 1


def _radius(ask: HardLabel, clean: Any, signs: Any, bound: Any, tolerance: float) -> Any:
    """The radius (n,) at which the model errs in the direction `signs`, if less than `bound`; else `bound`."""
    xp = array_namespace(clean)

    def errs(radius: Any, asked: Any) -> Any:
        return ask(xp.clip(clean + radius[:, None, None, None] * signs, min=0.0, max=1.0), asked)

    high, low = xp.clip(bound, max=1.0), xp.zeros_like(bound)  # beyond 1 all pixels lie at the box's edge
    found = errs(high, ask.left > 0)
    while bool(xp.any(asked := found & (high - low > tolerance) & (ask.left > 0))):
        middle = (low + high) / 2
        hit = errs(middle, asked)
        high = xp.where(hit, middle, high)
        low = xp.where(asked & ~hit, middle, low)
    return xp.where(found, high, bound)
