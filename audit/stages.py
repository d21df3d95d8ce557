"""The kinds of step: clean predictions, an attack, and the measurements that go with the suite."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.attack import Attack
from f2at.attacks.grid import clip_to_ball, distances, snap
from f2at.audit.corruptions import CORRUPTIONS as NATURAL
from f2at.audit.probe import probe
from f2at.audit.subject import NO_ANSWER, Scores, Subject
from f2at.audit.suites import Probes
from f2at.images.pixels import LEVELS, Images, Labels
from f2at.images.png import base64_png

Result = Mapping[str, Any]
CLEAN, ITERATIONS, CURVE, CORRUPTIONS = STAGES = "clean", "iterations", "curve", "corruptions"
_MULTIPLES = [Fraction(m) for m in ("1/4", "1/2", "3/4", "1", "5/4", "3/2", "7/4", "2", "5/2", "3", "4", "6", "8")]
HALVINGS = 5


@dataclass(frozen=True)
class Shard:
    """A fixed group of samples; ``positions`` are their places in the audit's order."""

    positions: Labels
    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.positions)

    def at(self, positions: Sequence[int]) -> "Shard":
        """The part of the shard at these positions."""
        rows = np.searchsorted(self.positions, np.asarray(positions, dtype=np.int64))
        return Shard(self.positions[rows], self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Ball:
    """The threat model's set: radius in pixel units and norm."""

    eps: Fraction
    norm: str


def run_clean(subject: Subject, shard: Shard, ball: Ball, probes: Probes, rng: np.random.Generator) -> dict[str, Any]:
    """What the deployed classifier says of the clean images, and the probes behind the sanity flags."""
    scores = subject.scores(shard.images, shard.labels)
    right = scores.predictions == shard.labels
    return {
        **_record(shard, scores),
        "correct": shard.positions[right].tolist(),
        "probe": probe(subject, shard.images, shard.labels, right, probes, ball.eps, ball.norm, rng),
    }


def run_attack(
    subject: Subject,
    shard: Shard,
    ball: Ball,
    attack: Attack,
    rng: np.random.Generator,
    examples: int,
) -> dict[str, Any]:
    """Attack the samples of ``shard``, and keep pictures of the first ``examples`` to fall."""
    if not len(shard):
        return {"attempted": [], "broken": None, "lost": [], "leads": [], "examples": []}
    found = subject.attack(attack, shard.images, shard.labels, eps=ball.eps, norm=ball.norm, rng=rng)
    images = snap(found, shard.images, eps=ball.eps, norm=ball.norm)
    scores = subject.scores(images, shard.labels)
    broken = scores.predictions != shard.labels
    # Would the same pixels have fooled the model without the 8-bit grid?
    floats = clip_to_ball(found, shard.images, eps=ball.eps, norm=ball.norm)
    in_floats = subject.judge(floats, shard.labels).predictions != shard.labels
    return {
        "attempted": shard.positions.tolist(),
        "broken": _fallen(subject, shard, images, scores, broken, ball),
        "lost": shard.positions[in_floats & ~broken].tolist(),
        "leads": [
            [position, round(-margin, 6)]
            for position, margin in zip(
                shard.positions[~broken].tolist(), scores.margins[~broken].tolist(), strict=True
            )
        ],
        "examples": [
            {
                "position": int(shard.positions[row]),
                "clean": base64_png(shard.images[row]),
                "adversarial": base64_png(images[row]),
            }
            for row in np.flatnonzero(broken)[:examples]
        ],
    }


def run_iterations(
    subject: Subject,
    shard: Shard,
    previous: Sequence[Result],
    ball: Ball,
    probes: Probes,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """A run of twice the suite's steps, seen step by step, and what the usual PGD leaves of the true class.

    ``shard`` holds only samples to follow. "standing" is how many of them are right after t steps, t = 0, 1, ...
    A sample that stood until now and falls here counts as broken. Where none stands, no run can matter: all are taken
    to fall at the first step.
    """
    if probes.iterations is None or probes.confidences is None:
        return {"attempted": [], "broken": None, "standing": [], "confidences": []}
    part = shard.at([p for p in correct(previous) if p in shard.positions])
    steps = int(probes.iterations.parameters["steps"])
    before = len(subject.spent.gradient_batches)
    images = part.images
    stood = np.isin(part.positions, surviving(previous))
    if stood.any():
        found = subject.attack(probes.iterations, part.images, part.labels, eps=ball.eps, norm=ball.norm, rng=rng)
        images = snap(found, part.images, eps=ball.eps, norm=ball.norm)
    scores = subject.scores(images, part.labels)
    broken = scores.predictions != part.labels
    # A sample leaves at its first error, so the batch that is evaluated at step t + 1 is what stands after step t.
    batches = subject.spent.gradient_batches[before + subject.samples :: subject.samples]
    standing = [*[*batches, *([0] * steps)][:steps], int((~broken).sum())]
    if not stood.any():
        standing = [len(part), *([0] * steps)]

    clean = subject.scores(shard.images, shard.labels)
    found = subject.attack(probes.confidences, shard.images, shard.labels, eps=ball.eps, norm=ball.norm, rng=rng)
    attacked = subject.scores(snap(found, shard.images, eps=ball.eps, norm=ball.norm), shard.labels)
    pairs = zip(clean.label_confidences.round(6).tolist(), attacked.label_confidences.round(6).tolist(), strict=True)
    fresh = broken & stood
    return {
        "attempted": part.positions.tolist(),
        "broken": _fallen(subject, part, images, scores, fresh, ball),
        "standing": standing,
        "confidences": [[p, *pair] for p, pair in zip(shard.positions.tolist(), pairs, strict=True)],
    }


def run_curve(
    subject: Subject,
    shard: Shard,
    previous: Sequence[Result],
    ball: Ball,
    attack: Attack,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Find how near the nearest error is: attack at growing radii, then walk back towards the clean image.

    What it finds is an upper bound on the true distance, as every error found by an attack is.
    ``shard`` holds only samples to follow. Radii up to eps are tried on samples the suite broke, larger ones on
    those it did not. An error found inside eps on a sample that stood until now counts as broken.
    """
    part = shard.at([p for p in correct(previous) if p in shard.positions])
    known: dict[int, float] = {}
    for fallen in _all_fallen(previous):
        for p, d in zip(fallen["positions"], fallen["nearest"], strict=True):
            known[p] = min(d, known.get(p, math.inf))
    bound = np.array([known.get(p, math.inf) for p in part.positions.tolist()])
    nearest, nearest_images = np.full(len(part), math.inf), part.images.copy()
    smaller = 0.0
    for eps in radii(ball, shard.images.shape[1:]):
        worth = np.where(np.isfinite(bound), smaller < bound, eps > ball.eps)
        rows = np.flatnonzero(worth & np.isinf(nearest))
        smaller = float(eps * LEVELS)
        if not len(rows):
            continue
        clean, labels = part.images[rows], part.labels[rows]
        found = subject.attack(attack, clean, labels, eps=eps, norm=ball.norm, rng=rng)
        images = snap(found, clean, eps=eps, norm=ball.norm)
        fooled = subject.scores(images, labels).predictions != labels
        rows = rows[fooled]
        if len(rows):
            images = _walk_back(subject, clean[fooled], images[fooled], labels[fooled], ball.norm)
            nearest[rows], nearest_images[rows] = distances(images, part.images[rows], ball.norm), images
    fresh = np.isinf(bound) & (nearest <= float(ball.eps * LEVELS))
    scores = subject.scores(nearest_images, part.labels) if len(part) else None
    nearest = np.minimum(nearest, bound)
    return {
        "attempted": part.positions.tolist(),
        "distances": [round(d, 3) if math.isfinite(d) else None for d in nearest.tolist()],
        "broken": _fallen(subject, part, nearest_images, scores, fresh, ball),
    }


def run_corruptions(subject: Subject, shard: Shard, ball: Ball, rng: np.random.Generator) -> dict[str, Any]:
    """How many samples are classified correctly under each natural corruption."""
    right = {}
    for name, corruption in NATURAL.items():
        images = corruption.apply(shard.images, rng, eps=ball.eps, norm=ball.norm)
        right[name] = int((subject.scores(images, shard.labels).predictions == shard.labels).sum())
    return {"attempted": shard.positions.tolist(), "right": right}


def radii(ball: Ball, shape: Sequence[int]) -> list[Fraction]:
    """Radii of the curve in pixel units, ascending: multiples of eps, up to one that reaches plain grey.

    Every 8-bit image is within 128 levels of the same grey one, where no classifier can be right more often
    than by chance; ``shape`` (H, W, 3) turns that into an l2 or l1 radius.
    """
    size = math.prod(shape)
    grey = Fraction(128, LEVELS) * {"linf": 1, "l2": math.isqrt(size - 1) + 1, "l1": size}[ball.norm]
    tried = {ball.eps * multiple for multiple in _MULTIPLES}
    if ball.norm == "linf":
        tried = {Fraction(math.floor(eps * LEVELS), LEVELS) for eps in tried}
    return sorted({eps for eps in tried if Fraction(1, LEVELS) <= eps < grey} | {ball.eps, grey})


def correct(previous: Sequence[Result]) -> list[int]:
    """Positions classified correctly before any attack."""
    positions: list[int] = next(result for result in previous if result["stage"] == CLEAN)["correct"]
    return positions


def surviving(previous: Sequence[Result]) -> list[int]:
    """Positions classified correctly and not broken by any attack so far."""
    fallen = {p for result in _all_fallen(previous) for p in result["positions"]}
    return [p for p in correct(previous) if p not in fallen]


def leads(previous: Sequence[Result]) -> dict[int, float]:
    """By how much the label's logit led where it led least under an attack so far, of the samples that stood it."""
    least: dict[int, float] = {}
    for position, lead in (pair for result in previous for pair in result.get("leads", ())):
        least[position] = min(lead, least.get(position, math.inf))
    return least


def _walk_back(subject: Subject, clean: Images, images: Images, labels: Labels, norm: str) -> Images:
    """Bisect each error's way to its clean image and return the nearest error met."""
    start = clean.astype(np.float64)
    change = images - start
    low, high = np.zeros(len(labels)), np.ones(len(labels))
    nearest = images.copy()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = np.rint(start + middle[:, None, None, None] * change).astype(np.uint8)
        fooled = subject.scores(tried, labels).predictions != labels
        nearer = fooled & (distances(tried, clean, norm) < distances(nearest, clean, norm))
        nearest[nearer] = tried[nearer]
        low, high = np.where(fooled, low, middle), np.where(fooled, middle, high)
    return nearest


def _fallen(
    subject: Subject, shard: Shard, images: Images, scores: Scores | None, rows: Any, ball: Ball
) -> dict[str, Any] | None:
    """The outcomes of the rows marked, or None where there are none; "nearest" is the distance after walking back."""
    if scores is None or not rows.any():
        return None
    part = Shard(shard.positions[rows], shard.images[rows], shard.labels[rows])
    nearest = _walk_back(subject, part.images, images[rows], part.labels, ball.norm)
    record = _record(part, Scores(*(values[rows] for values in scores)))
    record["positions"] = record.pop("attempted")
    return {
        **record,
        "distances": distances(images[rows], part.images, ball.norm).round(3).tolist(),
        "nearest": distances(nearest, part.images, ball.norm).round(3).tolist(),
    }


def _record(shard: Shard, scores: Scores) -> dict[str, Any]:
    """JSON values, rounded: reports are compared as text. None where the model gave no answer."""
    answered = (scores.predictions != NO_ANSWER).tolist()

    def column(values: NDArray[Any]) -> list[Any]:
        return [value if known else None for value, known in zip(values.tolist(), answered, strict=True)]

    return {
        "attempted": shard.positions.tolist(),
        "predictions": column(scores.predictions),
        "confidences": column(scores.confidences.round(6)),
        "margins": column(scores.margins.round(6)),
    }


def _all_fallen(results: Sequence[Result]) -> list[Result]:
    return [result["broken"] for result in results if result.get("broken")]
