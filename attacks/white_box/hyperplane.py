"""Projection onto a hyperplane inside the box [0, 1], for linearised decision boundaries.

The same problem as in Croce and Hein 2020, https://arxiv.org/abs/1907.02044, Section 2.2.
"""

from typing import Any

from array_api_compat import array_namespace

_NEGLIGIBLE = 1e-12  # of a normal's largest entry: a pixel that the linear function does not depend on


def step_to_hyperplane(points: Any, normals: Any, values: Any, *, norm: str) -> Any:
    """The smallest d with value + <normal, d> = 0 and 0 <= point + d <= 1: all (N, 3, H, W), values (N,).

    values: of the linear function at `points`, which lie in [0, 1]. norm: in which d is smallest.
    Where the box does not reach the hyperplane, d goes as near to it as the box allows.

    Each pixel moves by min(reach * speed, room), where speed is 1 for linf and |normal| for l2, and room is what the
    box leaves it. The change of the linear function grows with the reach, linearly between the reaches at which
    pixels run out of room: sorted, these give the right interval at once.
    """
    xp = array_namespace(points)
    shape = points.shape
    points, normals = (xp.reshape(rows, (shape[0], -1)) for rows in (points, normals))
    largest = xp.max(xp.abs(normals), axis=1, keepdims=True)
    largest = xp.where(largest > 0, largest, 1.0)
    normals, change = normals / largest, xp.abs(values[:, None]) / largest
    weights = xp.where(xp.abs(normals) > _NEGLIGIBLE, xp.abs(normals), 0.0)
    direction = xp.where(values[:, None] > 0, -xp.sign(normals), xp.sign(normals))
    room = xp.where(weights > 0, xp.where(direction > 0, 1 - points, points), 0.0)
    if norm == "l1":
        order = xp.argsort(weights, axis=1, descending=True)
        sorted_weights, sorted_room = (xp.take_along_axis(rows, order, axis=1) for rows in (weights, room))
        before = xp.cumulative_sum(sorted_weights * sorted_room, axis=1, include_initial=True)[:, :-1]
        needed = xp.clip(change - before, min=0.0) / xp.where(sorted_weights > 0, sorted_weights, 1.0)
        moved = xp.take_along_axis(xp.minimum(needed, sorted_room), xp.argsort(order, axis=1), axis=1)
        return xp.reshape(direction * moved, shape)
    speed = weights if norm == "l2" else xp.astype(weights > 0, weights.dtype)
    end = room / xp.where(speed > 0, speed, 1.0)  # the reach at which the room is used up

    order = xp.argsort(end, axis=1)
    sorted_end = xp.take_along_axis(end, order, axis=1)
    by_spent = xp.take_along_axis(weights * room, order, axis=1)
    by_moving = xp.take_along_axis(weights * speed, order, axis=1)
    # With k pixels out of room, the change is spent_k + reach * moving_k.
    spent = xp.cumulative_sum(by_spent, axis=1, include_initial=True)
    moving = xp.flip(xp.cumulative_sum(xp.flip(by_moving, axis=1), axis=1, include_initial=True), axis=1)
    too_short = spent[:, :-1] + sorted_end * moving[:, :-1] < change
    k = xp.sum(xp.astype(too_short, xp.int64), axis=1, keepdims=True)
    spent, moving = (xp.take_along_axis(rows, k, axis=1) for rows in (spent, moving))
    reach = xp.where(moving > 0, (change - spent) / xp.where(moving > 0, moving, 1.0), sorted_end[:, -1:])
    return xp.reshape(direction * xp.minimum(reach * speed, room), shape)
