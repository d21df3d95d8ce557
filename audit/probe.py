"""Evidence for the sanity flags, gathered shard by shard; `f2at.audit.reports.flags` judges the sum."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.grid import snap
from f2at.audit.subject import Subject
from f2at.audit.suites import Probes
from f2at.images.pixels import Images, Labels, to_inputs

REPEAT_TOLERANCE = 1e-4  # relative to the largest logit; graphics cards repeat themselves to about 1e-6
COMPARED = 10  # samples of a shard on which a single step and many are compared
_SUM_TOLERANCE = 1e-3


def probe(
    subject: Subject,
    images: Images,
    labels: Labels,
    correct: np.ndarray,
    probes: Probes,
    eps: Fraction,
    norm: str,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Evidence from one shard, JSON values; ``correct`` (N,) marks what the model classifies correctly.

    Without gradients, what only they can show is left empty.
    """
    inputs = to_inputs(images)
    logits, again = subject.logits(inputs), subject.logits(inputs)
    finite = np.isfinite(logits).all(axis=1) & np.isfinite(again).all(axis=1)
    logits, again = logits[finite], again[finite]
    drift = drift_of(logits, again)
    probabilities = (logits >= 0).all(axis=1) & (np.abs(logits.sum(axis=1) - 1) < _SUM_TOLERANCE)
    unusable = {
        objective: int((~_usable(subject.gradients(images, labels, objective))).sum())
        for objective in (("cross_entropy", "margin") if subject.differentiable else ())
    }

    rows = np.flatnonzero(correct)[: COMPARED if subject.differentiable else 0]
    fooled = {}
    for name, attack in (("single_step", probes.single_step), ("iterative", probes.iterative)):
        fooled[name] = np.zeros(len(rows), dtype=bool)
        if len(rows) and attack is not None:
            found = subject.attack(attack, images[rows], labels[rows], eps=eps, norm=norm, rng=rng)
            scores = subject.scores(snap(found, images[rows], eps=eps, norm=norm), labels[rows])
            fooled[name] = scores.predictions != labels[rows]
    return {
        "n": len(labels),
        "drift": float(f"{drift:.3g}"),
        "probabilities": int(probabilities.sum()),
        "unusable_gradients": unusable,
        "compared": len(rows),
        "only_single_step": int((fooled["single_step"] & ~fooled["iterative"]).sum()),
        "only_iterative": int((fooled["iterative"] & ~fooled["single_step"]).sum()),
    }


def drift_of(logits: NDArray[np.float64], again: NDArray[np.float64]) -> float:
    """By how much answers (N, C) to the same images differ, as a share of the largest value."""
    return float(np.abs(again - logits).max(initial=0.0) / np.abs(logits).max(initial=1.0))


def _usable(gradients: np.ndarray) -> np.ndarray:
    flat = gradients.reshape(len(gradients), -1)
    return np.asarray(np.isfinite(flat).all(axis=1) & (flat != 0).any(axis=1))
