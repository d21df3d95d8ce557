"""Catastrophic overfitting (Wong, Rice and Kolter, 2020): right on images of a single step, wrong on those of many.

Training with a single-step attack can fall into it within an epoch, and its own loss only improves.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from f2at.models import Classifier
from f2at.training.configuration.options import AttackConfig
from f2at.training.data import ImageSet
from f2at.training.evaluation import evaluate

IMAGES = 256
STEPS = 10
NOISE = 1.5  # by which more-noise widens the noise of N-FGSM


class StepGap(NamedTuple):
    """Accuracy under one step of eps and under PGD-10, on the same images."""

    single: float
    iterated: float

    @property
    def collapsed(self) -> bool:
        """Three quarters of what withstands one step falls to ten, and 20 points at least; sound models lose a few."""
        return self.iterated < self.single / 4 and self.single - self.iterated > 0.2


def measure_gap(model: Classifier, data: ImageSet, *, eps: float, norm: str = "linf") -> StepGap:
    """The gap on the first 256 images; the model (in eval mode) as it is."""
    data = data.select(torch.arange(min(IMAGES, len(data.labels))))
    single = evaluate(model, data, eps=eps, norm=norm, steps=1, step_size=eps)
    return StepGap(single["robust"], evaluate(model, data, eps=eps, norm=norm, steps=STEPS)["robust"])


def notice_collapse(model: Classifier, data: ImageSet, attack: AttackConfig, epoch: int) -> dict[str, float | bool]:
    """What an epoch (counted from 1) records of the gap; a collapse is said on stderr."""
    gap = measure_gap(model, data, eps=float(attack.eps), norm=attack.norm)
    if gap.collapsed:
        reaction = {
            "warn": "the best checkpoint from before is kept (see --attack.on_collapse)",
            "stop": "the run stops",
        }.get(attack.on_collapse, f"going on from the best checkpoint with {attack.on_collapse}")
        tqdm.write(
            f"epoch {epoch}: catastrophic overfitting: {gap.single:.1%} withstand one step, {gap.iterated:.1%} ten; "
            f"{reaction}",
            file=sys.stderr,
        )
    return {"single_step": gap.single, "ten_steps": gap.iterated, **({"collapsed": True} if gap.collapsed else {})}


class Collapses(NamedTuple):
    """How many epochs of a run collapsed, whether the last one did, and whether any was sound."""

    times: int
    now: bool
    sound: bool


def count_collapses(rows: Sequence[Mapping[str, Any]]) -> Collapses:
    """Of a run's rows so far."""
    flags = [bool(row.get("collapsed")) for row in rows]
    return Collapses(sum(flags), flags[-1:] == [True], not all(flags))


def harden(attack: AttackConfig, collapses: int) -> AttackConfig:
    """The inner attack after so many collapses, as `attack.on_collapse` has it."""
    if not collapses or attack.on_collapse not in ("second-step", "more-noise"):
        return attack
    if attack.on_collapse == "more-noise":
        return replace(attack, fgsm_noise=attack.fgsm_noise * NOISE**collapses)
    if attack.kind == "pgd":
        return replace(attack, steps=attack.steps + collapses)
    steps = 1 + collapses
    return replace(attack, kind="pgd", start="uniform", steps=steps, step_size=Fraction(5, 4) * attack.eps / steps)
