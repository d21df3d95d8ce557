"""Catastrophic overfitting: what it is told by, and what a run does about it."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from f2at.models import load_checkpoint
from f2at.training import collapse, loop
from f2at.training.collapse import Collapses, StepGap, count_collapses, harden, measure_gap
from f2at.training.configuration.files import config_from_table
from f2at.training.configuration.options import AttackConfig
from f2at.training.data import ImageSet
from f2at.training.loop import train

pytestmark = pytest.mark.filterwarnings("ignore:.*lightning.*:")
EPS = Fraction(8, 255)


@pytest.mark.parametrize(
    ("single", "iterated", "collapsed"),
    [(0.9, 0.0, True), (0.5, 0.1, True), (0.5, 0.13, False), (0.7, 0.6, False), (0.2, 0.0, False), (0.0, 0.0, False)],
)
def test_a_collapse_is_a_large_fall_from_one_step_to_ten(single: float, iterated: float, collapsed: bool) -> None:
    assert StepGap(single, iterated).collapsed is collapsed


class Bumpy(nn.Module):
    """Class 1 wins where the mean of the image is 0.15 to 0.65 eps off 0.5: one step of eps goes past that."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        off = (images.mean((1, 2, 3)) - 0.5).abs() / float(EPS)
        wrong = 1 - ((off - 0.4) / 0.25).square()
        return torch.stack([torch.zeros_like(wrong), wrong + 0 * self.head.bias.sum()], 1)


def test_the_gap_of_a_model_that_single_steps_jump_over() -> None:
    data = ImageSet(torch.full((300, 3, 16, 16), 128, dtype=torch.uint8), torch.zeros(300, dtype=torch.int64))
    gap = measure_gap(Bumpy().eval(), data, eps=float(EPS))  # type: ignore[arg-type]
    assert gap.single > 0.9
    assert gap.iterated < 0.1
    assert gap.collapsed


def test_harder_attacks() -> None:
    fgsm = AttackConfig(kind="n-fgsm", eps=EPS, on_collapse="second-step")
    assert harden(fgsm, 0) == fgsm
    two, three = harden(fgsm, 1), harden(fgsm, 2)
    assert (two.kind, two.start, two.steps, two.step_size) == ("pgd", "uniform", 2, EPS * 5 / 8)
    assert (three.steps, three.step_size) == (3, EPS * 5 / 12)
    assert harden(AttackConfig(kind="pgd", steps=2, on_collapse="second-step"), 1).steps == 3
    noisy = AttackConfig(kind="n-fgsm", fgsm_noise=1.0, on_collapse="more-noise")
    assert [harden(noisy, count).fgsm_noise for count in range(3)] == [1.0, 1.5, 2.25]
    for reaction in ("warn", "stop"):
        assert harden(AttackConfig(on_collapse=reaction), 1) == AttackConfig(on_collapse=reaction)


def test_counting() -> None:
    sound, fallen = {"epoch": 1}, {"epoch": 2, "collapsed": True}
    assert count_collapses([]) == Collapses(0, now=False, sound=False)
    assert count_collapses([sound, fallen]) == Collapses(1, now=True, sound=True)
    assert count_collapses([fallen, sound]) == Collapses(1, now=False, sound=True)
    assert count_collapses([fallen]) == Collapses(1, now=True, sound=False)


def config(**attack: Any) -> Any:
    return config_from_table(
        {
            "data": {"name": "digits", "size": 8, "validation": 1280, "reference": 50, "flip": False},
            "model": {"name": "resnet18", "width": 2},
            "method": {"name": "sat"},
            "attack": {"eps": "32/255", "kind": "n-fgsm", "validation_steps": 1, "test_steps": 1, **attack},
            "optimizer": {"epochs": 4, "batch_size": 64, "lr": 0.05, "schedule": "one-cycle"},
            "hardware": {"accelerator": "cpu"},
        }
    )


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def second_epoch_collapses(monkeypatch: pytest.MonkeyPatch) -> list[AttackConfig]:
    """The measurement says so; returns the attacks of all epochs, as they come."""
    gaps = iter([StepGap(0.5, 0.4), StepGap(0.9, 0.0), StepGap(0.5, 0.4), StepGap(0.5, 0.4)])
    monkeypatch.setattr(collapse, "measure_gap", lambda *_, **__: next(gaps))
    attacks: list[AttackConfig] = []
    epoch = loop.Trainer._epoch

    def recorded(self: loop.Trainer, number: int, attack: AttackConfig) -> dict[str, float]:
        attacks.append(attack)
        return epoch(self, number, attack)

    monkeypatch.setattr(loop.Trainer, "_epoch", recorded)
    return attacks


@pytest.mark.parametrize(
    ("reaction", "kinds"),
    [("warn", ["n-fgsm"] * 4), ("stop", ["n-fgsm"] * 2), ("second-step", ["n-fgsm", "n-fgsm", "pgd", "pgd"])],
)
def test_what_a_run_does_about_it(
    tmp_path: Path,
    second_epoch_collapses: list[AttackConfig],
    capsys: pytest.CaptureFixture[str],
    reaction: str,
    kinds: list[str],
) -> None:
    metrics = train(config(on_collapse=reaction), tmp_path / "run", progress=False)
    assert [attack.kind for attack in second_epoch_collapses] == kinds
    assert [row.get("collapsed", False) for row in rows(tmp_path / "run")] == [False, True, False, False][: len(kinds)]
    assert metrics["epoch"] != 2
    said = capsys.readouterr().err
    assert "epoch 2: catastrophic overfitting: 90.0% withstand one step, 0.0% ten; " in said
    assert {"warn": "is kept", "stop": "the run stops", "second-step": "with second-step"}[reaction] in said
    load_checkpoint(tmp_path / "run/last.safetensors")


@pytest.mark.slow
def test_a_run_that_collapses_is_noticed_and_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Plain FGSM at 64/255 on digits, which falls after a few epochs of twelve."""
    table = {
        "data": {"name": "digits", "size": 16, "validation": 256, "crop_padding": 0, "flip": False},
        "model": {"name": "resnet18", "width": 8},
        "method": {"name": "sat"},
        "attack": {
            "eps": "64/255", "kind": "n-fgsm", "fgsm_noise": 0.0, "validation_steps": 5, "test_steps": 5,
            "on_collapse": "stop",
        },
        "optimizer": {"epochs": 12, "batch_size": 64, "lr": 0.1, "schedule": "cosine"},
        "hardware": {"accelerator": "cpu"},
    }  # fmt: skip
    metrics = train(table, tmp_path / "run", progress=False)
    found = rows(tmp_path / "run")
    assert len(found) < 12
    assert [row["epoch"] for row in found if row.get("collapsed")] == [len(found)]
    assert "catastrophic overfitting" in capsys.readouterr().err
    assert metrics["epoch"] < len(found)
