"""One evaluation of one model: the outcome of its attacks, image by image, as JSON values."""

from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.paper.terms import Evaluation, Record
from f2at.attacks.grid import snap
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit.subject import Scores, Subject
from f2at.images.bitplanes import bit_planes, natural_pattern
from f2at.images.png import base64_png
from f2at.models import Classifier

BATCH = 256


def evaluate(
    model: Classifier,
    surrogate: Classifier | None,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    evaluation: Evaluation,
    *,
    eps: Fraction,
    seed: int = 0,
) -> dict[str, Any]:
    """Run the attacks in order, each on the images that still stand, as audits do: in the ball, on the 8-bit grid.

    Args:
        model: in eval mode.
        surrogate: on the same device, for attacks that transfer.
        images: uint8 (N, H, W, 3).
        labels: (N,).
        evaluation: whose `eps` is in multiples of this one.
        eps: in pixels of [0, 1].
        seed: of every draw.

    Returns:
        JSON values. Lists over the images: "labels"; "right", whether they are classified correctly, clean and
        attacked; "confidence", the probability of the true class for the adversarial image. Proportions for K = 1 to
        8: "natural_accuracy" on X_nat of the adversarial images, and "natural_difference", the share of pixel values
        of X_nat that the attacks changed; for bit-planes 0 to 7, "flipped_bits". These two count attacked images only,
        that is, those that are right when clean; None if there are none. "example": one of these, rather one that fell,
        and its adversarial, PNG. "costs": what the attacks spent.
    """
    device = next(model.parameters()).device
    subject = Subject(
        TorchTarget(model),
        lambda array: torch.from_numpy(array).to(device),
        None,
        None if surrogate is None else TorchTarget(surrogate),
    )
    parts = [
        _attack_batch(
            subject,
            images[start : start + BATCH],
            labels[start : start + BATCH],
            evaluation,
            eps * Fraction(evaluation.eps),
            np.random.default_rng((seed, start)),
        )
        for start in range(0, len(labels), BATCH)
    ]
    found, attacked, right, confidence = (np.concatenate(column) for column in zip(*parts, strict=True))
    shown = int(np.argmax(attacked.astype(int) + (attacked & ~right)))
    return {
        "labels": labels.tolist(),
        "right": right.astype(int).tolist(),
        "confidence": confidence.round(4).tolist(),
        **_patterns(subject, images, found, labels, attacked),
        "example": {"clean": base64_png(images[shown]), "adversarial": base64_png(found[shown])},
        "costs": subject.costs,
    }


def _attack_batch(
    subject: Subject,
    clean: NDArray[np.uint8],
    labels: NDArray[np.int64],
    evaluation: Evaluation,
    eps: Fraction,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    """Adversarial images, which were attacked, which still stand, and the true class's probability."""
    found = clean.copy()
    standing = subject.scores(clean, labels).predictions == labels
    attacked = standing.copy()
    for attack in evaluation.attacks:
        rows = np.flatnonzero(standing)
        if len(rows):
            floats = subject.attack(attack, clean[rows], labels[rows], eps=eps, norm="linf", rng=rng)
            found[rows] = snap(floats, clean[rows], eps=eps, norm="linf")
            standing[rows] = subject.scores(found[rows], labels[rows]).predictions == labels[rows]
    return found, attacked, standing, subject.scores(found, labels).label_confidences


def _patterns(
    subject: Subject,
    clean: NDArray[np.uint8],
    found: NDArray[np.uint8],
    labels: NDArray[np.int64],
    attacked: NDArray[np.bool_],
) -> Record:
    """How the attacks changed the bit-planes, and how the model classifies the natural patterns."""
    natural = [natural_pattern(found, planes=planes) for planes in range(1, 9)]
    right = [_scores(subject, images, labels).predictions == labels for images in natural]
    before, after = clean[attacked], [images[attacked] for images in natural]
    flips = zip(bit_planes(before), bit_planes(found[attacked]), strict=True)
    return {
        "natural_accuracy": [float(row.mean()) for row in right],
        "natural_difference": [
            _share(natural_pattern(before, planes=planes) != images) for planes, images in enumerate(after, 1)
        ],
        "flipped_bits": [_share(old != new) for old, new in flips],
    }


def _scores(subject: Subject, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Scores:
    """As `Subject.scores`, batch by batch."""
    parts = [
        subject.scores(images[start : start + BATCH], labels[start : start + BATCH])
        for start in range(0, len(labels), BATCH)
    ]
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _share(changed: NDArray[np.bool_]) -> float | None:
    return float(changed.mean()) if changed.size else None
