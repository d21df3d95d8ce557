"""The geometry of the l1 ball in the box [0, 1]: projection, sparse steps, the furthest point along a gradient.

A vertex of the l1 ball changes a single value, and a value can change by 1 at most: unlike for linf and l2, what is
best in the ball alone is far from what is best in ball and box (Croce and Hein 2021, https://arxiv.org/abs/2103.01208).
Images are (N, 3, H, W), numpy or torch; radii are in pixel units, summed over all values of an image.
"""

import math
from typing import Any

from array_api_compat import array_namespace

SHARE = 0.01  # of an image's values that a step moves at least: SLIDE's, https://arxiv.org/abs/1904.13000
_LONGEST = 0.25  # the most that a step moves one value


def project(adversarial: Any, clean: Any, *, eps: float) -> Any:
    """The nearest point, in l2, of the l1 ball around `clean` intersected with [0, 1] (Proposition 2.1).

    A value that is moved by a, and has room r up to the edge of the box, is moved by clip(a - shrink, 0, r): the
    shrinkage, one number for all values of an image, is 0 if that is in the ball, and otherwise what makes the sum
    eps. The sum falls linearly between the shrinkages a - r, from which on a value counts, and a, from which on it
    is not moved; sorted, these give the right interval at once.
    """
    xp = array_namespace(adversarial)
    shape = adversarial.shape
    change = _flat(xp, adversarial - clean)
    length, room = xp.abs(change), _room(xp, change, _flat(xp, clean))
    begin = xp.clip(length - room, min=0.0)
    total = xp.sum(xp.minimum(length, room), axis=1, keepdims=True)

    knots = xp.concat([begin, length], axis=1)
    order = xp.argsort(knots, axis=1)
    knots = xp.take_along_axis(knots, order, axis=1)
    turns = xp.astype(order < length.shape[1], knots.dtype) * 2 - 1
    counted = xp.cumulative_sum(turns, axis=1)[:, :-1]
    falls = xp.cumulative_sum(counted * (knots[:, 1:] - knots[:, :-1]), axis=1, include_initial=True)
    k = xp.sum(xp.astype(total - falls > eps, xp.int64), axis=1, keepdims=True)
    k = xp.clip(k - 1, min=0, max=knots.shape[1] - 2)
    knot, fall, count = (xp.take_along_axis(rows, k, axis=1) for rows in (knots, falls, counted))
    shrink = knot + (total - fall - eps) / xp.clip(count, min=1.0)
    # The sums over thousands of sorted values cost digits: once more, over the values that count.
    counts = (begin < shrink) & (shrink < length)
    kept = xp.where(counts, length, xp.where(length > shrink, room, 0.0))
    count = xp.sum(xp.astype(counts, kept.dtype), axis=1, keepdims=True)
    refined = (xp.sum(kept, axis=1, keepdims=True) - eps) / xp.clip(count, min=1.0)
    shrink = xp.where(count > 0, refined, shrink)
    shrink = xp.where(total > eps, xp.clip(shrink, min=0.0), 0.0)

    moved = xp.clip(length - shrink, min=0.0)
    moved = xp.minimum(moved, room)
    moved = moved * xp.clip(eps / xp.clip(xp.sum(moved, axis=1, keepdims=True), min=eps), max=1.0)  # of rounding
    return xp.clip(clean + xp.reshape(xp.sign(change) * moved, shape), min=0.0, max=1.0)


def spread(gradient: Any, counts: Any) -> Any:
    """The direction of l1 norm 1 that moves the `counts` (N,) largest entries of each gradient equally; 0 stays 0."""
    xp = array_namespace(gradient)
    size = _flat(xp, xp.abs(gradient))
    place = xp.astype(xp.clip(xp.floor(counts), min=1, max=size.shape[1]), xp.int64)[:, None] - 1
    least = xp.take_along_axis(xp.sort(size, axis=1, descending=True), place, axis=1)[:, :, None, None]
    signs = xp.where(xp.abs(gradient) >= least, xp.sign(gradient), 0.0)
    return signs / xp.clip(xp.sum(xp.abs(signs), axis=(1, 2, 3), keepdims=True), min=1.0)


def step(current: Any, gradient: Any, size: float) -> Any:
    """A step of length `size` from `current` along the largest entries of the gradient that the box lets move.

    They are `SHARE` of all, or as many more as it takes for none to move by more than a quarter.
    """
    xp = array_namespace(current)
    stuck = ((gradient > 0) & (current >= 1)) | ((gradient < 0) & (current <= 0))
    count = max(SHARE * math.prod(current.shape[1:]), size / _LONGEST)
    counts = xp.full_like(current[:, 0, 0, 0], count)
    return current + size * spread(xp.where(stuck, 0.0, gradient), counts)


def furthest(clean: Any, gradient: Any, *, eps: float) -> Any:
    """The point of ball and box where the linear function of this gradient is largest.

    The largest entries of the gradient go to the edge of the box, one after the other, until eps is spent.
    """
    xp = array_namespace(clean)
    shape = clean.shape
    flat, slope = _flat(xp, clean), _flat(xp, gradient)
    order = xp.argsort(xp.abs(slope), axis=1, descending=True)
    room = xp.where(slope == 0, 0.0, _room(xp, slope, flat))
    room = xp.take_along_axis(room, order, axis=1)
    spent = xp.cumulative_sum(room, axis=1, include_initial=True)[:, :-1]
    moved = xp.minimum(xp.clip(eps - spent, min=0.0), room)
    moved = xp.take_along_axis(moved, xp.argsort(order, axis=1), axis=1)
    return clean + xp.reshape(xp.sign(slope) * moved, shape)


def _room(xp: Any, direction: Any, values: Any) -> Any:
    """How far each value can go in its direction before it leaves [0, 1]."""
    return xp.where(direction > 0, 1 - values, values)


def _flat(xp: Any, images: Any) -> Any:
    """(N, 3, H, W) -> (N, 3 H W); N may be 0."""
    return xp.reshape(images, (images.shape[0], math.prod(images.shape[1:])))
