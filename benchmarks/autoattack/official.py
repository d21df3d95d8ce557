"""The official AutoAttack, from a checkout of its repository, on one of our checkpoints."""

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.autoattack.passes import Passes, PassesOfModel
from benchmarks.autoattack.record import Attack, Found, Record, Rows, Verdicts, run_chunk
from f2at.attacks.grid import snap
from f2at.audit.subject import score
from f2at.images.pixels import Images, to_inputs

REPOSITORY, COMMIT = "https://github.com/fra31/auto-attack", "a392200"
ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")  # of its version "standard"
_TARGETS = 9  # wrong classes that its targeted attacks aim at
_TARGETS_L1 = 5  # those that its targeted Auto-PGD aims at for l1, where its first attack has five restarts
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
SEED = 0  # the official evaluation sets the same one before each attack on each batch


def load_official(directory: Path) -> Callable[..., Any]:
    """The class AutoAttack of a checkout.

    Raises:
        ValueError: there is none; the message says how to get one.
    """
    if not (directory / "autoattack" / "autoattack.py").is_file():
        raise ValueError(
            f"{directory} must be a checkout of the official AutoAttack: "
            f"git clone {REPOSITORY} {directory} && git -C {directory} checkout {COMMIT}"
        )
    sys.path.insert(0, str(directory.resolve()))
    from autoattack import AutoAttack  # type: ignore[import-not-found]

    return AutoAttack  # type: ignore[no-any-return]


def attacks_for(classes: int) -> tuple[str, ...]:
    """Those of `ATTACKS` that are defined: the targeted difference of logits ratio needs a fourth class."""
    return ATTACKS if classes > 3 else tuple(name for name in ATTACKS if name != "apgd-t")


def run_official(
    record: Record,
    images: Images,
    labels: Rows,
    model: torch.nn.Module,
    official: Callable[..., Any],
    *,
    eps: Fraction,
    norm: str,
) -> None:
    """Extend the record by these images, as one batch of `run_standard_evaluation`.

    With less than ten classes it aims at all wrong ones, and `attacks_for` says what is left out.

    model: in channels-last format, without gradients of its parameters. official: see `load_official`.
    """
    inputs = to_inputs(images)
    passes = Passes(inputs, labels, eps=float(eps), norm=norm, shrinking=True)
    counted = PassesOfModel(model, passes)
    suite = official(counted, norm=NORMS[norm], eps=float(eps), seed=SEED, device="cpu", verbose=False)
    assert tuple(suite.attacks_to_run) == ATTACKS
    assert suite.fab.n_target_classes == _TARGETS
    assert suite.apgd_targeted.n_target_classes == (_TARGETS_L1 if norm == "l1" else _TARGETS)
    with torch.no_grad():
        classes = model(torch.from_numpy(inputs[:1])).shape[1]
    for targeted in (suite.apgd_targeted, suite.fab):
        targeted.n_target_classes = min(targeted.n_target_classes, classes - 1)

    def scored(rows: Rows, found: Found) -> Any:
        with torch.no_grad():
            logits = model(torch.from_numpy(found).contiguous(memory_format=torch.channels_last))
        return score(logits.double().numpy(), labels[rows])

    def judge(rows: Rows, found: Found) -> Verdicts:
        scores = scored(rows, found)
        on_grid = scored(rows, to_inputs(snap(found, images[rows], eps=eps, norm=norm)))
        return Verdicts(scores.predictions != labels[rows], scores.margins, on_grid.margins)

    def run(name: str) -> Attack:
        def attack(rows: Rows) -> Found:
            with torch.no_grad():
                found = _attack(suite, name).perturb(torch.from_numpy(inputs[rows]), torch.from_numpy(labels[rows]))
            return np.asarray(found.numpy())

        return attack

    run_chunk(record, images, passes, [run(name) for name in attacks_for(classes)], judge)


def _attack(suite: Any, name: str) -> Any:
    """The attack, set as `run_standard_evaluation` sets it just before it runs."""
    attack = {"apgd-ce": suite.apgd, "apgd-t": suite.apgd_targeted, "fab-t": suite.fab, "square": suite.square}[name]
    if name == "apgd-ce":
        attack.loss = "ce"
    if name == "fab-t":
        attack.targeted, attack.n_restarts = True, 1
    attack.seed = suite.get_seed()
    return attack
