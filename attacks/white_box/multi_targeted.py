"""Many short targeted runs, and longer ones where they promise most: AutoAttack's verdict at a fraction of its cost.

After MultiTargeted, Gowal et al. 2019, https://arxiv.org/abs/1910.09338 (a run towards every wrong class, on the
difference of two logits), and A3, Liu et al. 2022, https://arxiv.org/abs/2203.05154 (spend where success is near).
"""

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import objective_weights
from f2at.attacks.rounding import held
from f2at.attacks.survivors import misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, check_counts, project, sphere_start, steepest
from f2at.attacks.white_box.apgd_l1 import sparse_ascent

_MOMENTUM = 0.75  # share of the new step; the rest is inertia, as in Auto-PGD
_LEAST = 0.01  # of the first step size; the last steps are no shorter
_FREE = 2  # targeted runs that take on whatever stands


def multi_targeted(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    steps: int = 12,
    target_classes: int = 9,
    first_excess: float = 1.5,
    last_excess: float = 0.1,
    final_excess: float = 0.15,
    least_excess: float = 0.02,
    final_runs: int = 8,
    final_steps: int = 30,
) -> Any:
    """A run on the cross-entropy, then runs towards the nearest classes, the more the more promising a sample is.

    The nearest class is the one, among those not tried yet, whose logit came closest to the label's in all that was
    evaluated of a sample so far: every evaluation gives all logits, so the order costs nothing and improves with
    each run.

    A sample goes on as long as an error seems within reach. Its gap, from the label's logit down to the next, has been
    narrowed by the best image so far; what remains of it, in units of what was narrowed, is the excess: about how much
    larger eps would have to be. The first two targeted runs take on every sample that stands, the third those whose
    excess is at most `first_excess`, and so on, down to `last_excess` for the last one. Then come `final_runs` runs of
    `final_steps` steps: the first takes on those with at most `final_excess` (0: there are none), the last those with
    `least_excess`. In between, bounds fall by ratios. By turns they ascend the cross-entropy from a random start, and
    go towards one of a sample's nearest classes from half way between a random start and its best image: what one kind
    misses the other finds.

    For l1 the runs are those of `apgd_l1`; they need four times the steps to find which values to move.

    A sample leaves at its first error. In l2 and l1, where rounding to 8 bits may take an image out of the ball, that
    is one whose 8-bit image inside the ball is an error as well; that takes a forward evaluation. At most
    (1 + target_classes) (steps + 1) gradient evaluations for each, and final_runs (final_steps + 1) more for those
    within reach; for l1, two more in each run.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(steps=steps, target_classes=target_classes, final_runs=final_runs, final_steps=final_steps)
    excesses = {"first_excess": first_excess, "last_excess": last_excess, "least_excess": least_excess}
    if final_excess != 0:
        excesses["final_excess"] = final_excess
    for name, excess in excesses.items():
        if not 0 < excess < math.inf:
            raise ValueError(f"{name} must be a positive number; got {excess}")
    xp = array_namespace(inputs)
    search = _Search(target, inputs, labels, eps, norm)
    search.run(search.standing, inputs, labels, "cross_entropy", steps)
    tried, index, runs = search.is_label, search.standing, min(target_classes, target.classes - 1)
    for place in range(runs):
        if place >= _FREE:
            index = search.within(_between(first_excess, last_excess, place - _FREE, runs - _FREE), index)
        nearest = xp.argmax(xp.where(tried, -xp.inf, search.gaps), axis=1)
        tried = tried | (search.classes == nearest[:, None])
        search.run(index, inputs, nearest, "logit_difference", steps)
    for place in range(final_runs if final_excess else 0):
        index = search.within(_between(final_excess, least_excess, place, final_runs), search.standing)
        if len(index) == 0:
            break
        turn, towards = divmod(place, 2)
        start = sphere_start(inputs, rng, eps=eps, norm=norm)
        if towards:
            ranking = xp.argsort(search.gaps[index], axis=1, descending=True)
            targets = xp.zeros_like(labels)
            targets[index] = ranking[:, turn % min(3, target.classes - 1)]
            search.run(index, (start + search.images) / 2, targets, "logit_difference", final_steps)
        else:
            search.run(index, start, labels, "cross_entropy", final_steps)
    return search.images


def _between(first: float, last: float, place: int, count: int) -> float:
    """The number at a place, from 0 to count - 1, of those that fall from `first` to `last` by equal ratios."""
    return float(first * (last / first) ** (place / max(count - 1, 1)))


class _Search:
    """What is known of every sample of a batch: whether it stands, how near each class came, its best image."""

    def __init__(self, target: Target, inputs: Any, labels: Any, eps: float, norm: str) -> None:
        xp = array_namespace(inputs)
        self.target, self.inputs, self.labels, self.eps, self.norm = target, inputs, labels, eps, norm
        self.classes = xp.arange(target.classes, device=device(inputs))
        self.is_label = self.classes == labels[:, None]
        self.images = xp.asarray(inputs, copy=True)  # the error found, or the image of the largest margin
        self.standing = xp.arange(inputs.shape[0], device=device(inputs))
        self.gaps = xp.full(self.is_label.shape, -xp.inf, dtype=xp.float32, device=device(inputs))  # max of z_i - z_y
        self.clean = xp.max(self.gaps, axis=1)  # the largest gap of the first image that was evaluated, the input

    def run(self, index: Any, starts: Any, targets: Any, objective: str, steps: int) -> None:
        """Ascend `objective` for the samples `index` (n,); starts (N, 3, H, W) and targets (N,) are the batch's.

        Projected steps with momentum, whose size falls from 2 eps along a cosine; for l1, those of `apgd_l1`.
        """
        if self.norm == "l1":
            self._run_sparse(index, starts, targets, objective, steps)
            return
        current = previous = starts[index]
        for step in range(steps + 1):
            if len(index) == 0:
                return
            logits, _, gradient = self._evaluate(index, current, targets, objective)
            going = self._observe(index, current, logits)
            if step == steps:
                return
            index, current, previous, gradient = (rows[going] for rows in (index, current, previous, gradient))
            size = 2 * self.eps * max((1 + math.cos(math.pi * step / steps)) / 2, _LEAST)
            moved = self._project(current + size * steepest(gradient, self.norm), index)
            inertia = (1 - _MOMENTUM) * (current - previous - moved + current)
            previous, current = current, self._project(moved + inertia, index) if step else moved

    def _run_sparse(self, index: Any, starts: Any, targets: Any, objective: str, steps: int) -> None:
        """See `run`."""
        xp = array_namespace(self.inputs)

        def evaluate(rows: Any, images: Any, inside: Any) -> tuple[Any, Any, Any]:
            logits, loss, gradient = self._evaluate(index[rows], images, targets, objective)
            going = xp.asarray(inside, copy=True)
            going[inside] = self._observe(index[rows[inside]], images[inside], logits[inside])
            return loss, gradient, going | ~inside

        sparse_ascent(evaluate, starts[index], self.inputs[index], eps=self.eps, steps=steps, larger_first=True)

    def _evaluate(self, index: Any, current: Any, targets: Any, objective: str) -> tuple[Any, Any, Any]:
        """Logits, objective and gradient."""
        xp = array_namespace(current)
        weights = objective_weights(xp, objective, len(index), device=device(current))
        logits, objectives, gradient = self.target.gradient(current, self.labels[index], targets[index], weights)
        return logits, xp.sum(weights * objectives, axis=1), gradient

    def within(self, excess: float, index: Any) -> Any:
        """Those of the samples `index` that stand, and whose gap remains by no more than `excess` of its narrowing."""
        xp = array_namespace(self.inputs)
        index = index[xp.any(index[:, None] == self.standing[None, :], axis=1)]
        gaps = xp.max(self.gaps[index], axis=1)
        return index[-gaps <= excess * (gaps - self.clean[index])]

    def _observe(self, index: Any, images: Any, logits: Any) -> Any:
        """Note what an evaluation of the samples `index` shows; returns which of them still stand, bool (n,)."""
        xp = array_namespace(logits)
        is_label = self.is_label[index]
        label_logits = xp.sum(xp.where(is_label, logits, 0.0), axis=1, keepdims=True)
        gaps = xp.where(is_label, -xp.inf, logits - label_logits)
        labels, clean = self.labels[index], self.inputs[index]
        broken = misclassified(logits, labels)
        broken = held(self.target, images, clean, labels, broken, eps=self.eps, norm=self.norm)
        largest = xp.max(gaps, axis=1)
        self.clean[index] = xp.where(self.clean[index] == -xp.inf, largest, self.clean[index])
        better = broken | (largest > xp.max(self.gaps[index], axis=1))
        self.images[index[better]] = images[better]
        self.gaps[index] = xp.maximum(self.gaps[index], gaps)
        if bool(xp.any(broken)):
            self.standing = self.standing[~xp.any(self.standing[:, None] == index[broken][None, :], axis=1)]
        return ~broken

    def _project(self, images: Any, index: Any) -> Any:
        return project(images, self.inputs[index], eps=self.eps, norm=self.norm)
