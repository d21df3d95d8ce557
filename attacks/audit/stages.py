"""The three kinds of step: clean predictions, an attack, and the distance to the nearest error found."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from attacks.audit.flags import probe
from attacks.audit.subject import Labels, Scores, Subject
from attacks.audit.suites import Suite
from attacks.grid import Images, clip_to_ball, distances, snap
from attacks.registry import Attack
from attacks.threat import LEVELS

Result = Mapping[str, Any]
CLEAN, CURVE = "clean", "curve"
_MULTIPLES = [Fraction(m) for m in ("1/4", "1/2", "3/4", "1", "5/4", "3/2", "7/4", "2", "5/2", "3", "4", "6", "8")]
_HALVINGS = 5


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


def run_clean(subject: Subject, shard: Shard, ball: Ball, suite: Suite, rng: np.random.Generator) -> dict[str, Any]:
    """What the deployed classifier says of the clean images, and the probes behind the sanity flags."""
    scores = subject.scores(shard.images, shard.labels)
    correct = scores.predictions == shard.labels
    return {
        **_record(shard, scores),
        "correct": shard.positions[correct].tolist(),
        "probe": probe(subject, shard.images, shard.labels, correct, suite, ball.eps, ball.norm, rng),
    }


def run_attack(
    subject: Subject,
    shard: Shard,
    previous: Sequence[Result],
    ball: Ball,
    attack: Attack,
    rng: np.random.Generator,
    examples: int,
) -> dict[str, Any]:
    """Attack the samples of the shard that still stand, and keep pictures of the first ``examples`` to fall."""
    standing = shard.at(surviving(previous))
    if not len(standing):
        return {"attempted": [], "broken": None, "lost": [], "examples": []}
    found = subject.attack(attack, standing.images, standing.labels, eps=ball.eps, norm=ball.norm, rng=rng)
    images = snap(standing.images, found, ball.eps, ball.norm)
    scores = subject.scores(images, standing.labels)
    broken = scores.predictions != standing.labels
    # Would the same pixels have fooled the model without the 8-bit grid?
    floats = clip_to_ball(standing.images, found, ball.eps, ball.norm)
    in_floats = subject.logits(floats).argmax(axis=1) != standing.labels
    return {
        "attempted": standing.positions.tolist(),
        "broken": _fallen(subject, standing, images, scores, broken, ball),
        "lost": standing.positions[in_floats & ~broken].tolist(),
        "examples": [
            {
                "position": int(standing.positions[row]),
                "clean": png(standing.images[row]),
                "adversarial": png(images[row]),
            }
            for row in np.flatnonzero(broken)[:examples]
        ],
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
    correct = set(_stage(previous, CLEAN)["correct"])
    part = shard.at([p for p in shard.positions.tolist() if p in correct])
    known = {
        p: d for fallen in _all_fallen(previous) for p, d in zip(fallen["positions"], fallen["nearest"], strict=True)
    }
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
        images = snap(clean, subject.attack(attack, clean, labels, eps=eps, norm=ball.norm, rng=rng), eps, ball.norm)
        fooled = subject.scores(images, labels).predictions != labels
        rows = rows[fooled]
        if len(rows):
            images = _walk_back(subject, clean[fooled], images[fooled], labels[fooled], ball.norm)
            nearest[rows], nearest_images[rows] = distances(part.images[rows], images, ball.norm), images
    fresh = np.isinf(bound) & (nearest <= float(ball.eps * LEVELS))
    scores = subject.scores(nearest_images, part.labels) if len(part) else None
    nearest = np.minimum(nearest, bound)
    return {
        "attempted": part.positions.tolist(),
        "distances": [round(d, 3) if math.isfinite(d) else None for d in nearest.tolist()],
        "broken": _fallen(subject, part, nearest_images, scores, fresh, ball),
    }


def radii(ball: Ball, shape: Sequence[int]) -> list[Fraction]:
    """Radii of the curve in pixel units, ascending: multiples of eps, up to one that reaches plain grey.

    Every 8-bit image is within 128 levels of the same grey one, where no classifier can be right more often
    than by chance; ``shape`` (H, W, 3) turns that into an l2 radius.
    """
    grey = Fraction(128, LEVELS) * (1 if ball.norm == "linf" else math.isqrt(math.prod(shape) - 1) + 1)
    tried = {ball.eps * multiple for multiple in _MULTIPLES}
    if ball.norm == "linf":
        tried = {Fraction(math.floor(eps * LEVELS), LEVELS) for eps in tried}
    return sorted({eps for eps in tried if Fraction(1, LEVELS) <= eps < grey} | {ball.eps, grey})


def surviving(previous: Sequence[Result]) -> list[int]:
    """Positions classified correctly and not broken by any attack so far."""
    fallen = {p for result in _all_fallen(previous) for p in result["positions"]}
    return [p for p in _stage(previous, CLEAN)["correct"] if p not in fallen]


def png(image: Images) -> str:
    """An 8-bit image (H, W, 3) as base64 PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _walk_back(subject: Subject, clean: Images, images: Images, labels: Labels, norm: str) -> Images:
    """Bisect each error's way to its clean image and return the nearest error met."""
    start = clean.astype(np.float64)
    change = images - start
    low, high = np.zeros(len(labels)), np.ones(len(labels))
    nearest = images.copy()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tried = np.rint(start + middle[:, None, None, None] * change).astype(np.uint8)
        fooled = subject.scores(tried, labels).predictions != labels
        nearer = fooled & (distances(clean, tried, norm) < distances(clean, nearest, norm))
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
        "distances": distances(part.images, images[rows], ball.norm).round(3).tolist(),
        "nearest": distances(part.images, nearest, ball.norm).round(3).tolist(),
    }


def _record(shard: Shard, scores: Scores) -> dict[str, Any]:
    """JSON values, rounded: reports are compared as text."""
    return {
        "attempted": shard.positions.tolist(),
        "predictions": scores.predictions.tolist(),
        "confidences": scores.confidences.round(6).tolist(),
        "margins": scores.margins.round(6).tolist(),
    }


def _stage(results: Sequence[Result], stage: str) -> Result:
    return next(result for result in results if result["stage"] == stage)


def _all_fallen(results: Sequence[Result]) -> list[Result]:
    return [result["broken"] for result in results if result.get("broken")]
