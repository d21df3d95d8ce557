"""Models that answer at random: attacks follow means, and verdicts go by the majority of several answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from f2at.attacks.objectives import OBJECTIVES
from f2at.attacks.target import CountingTarget
from f2at.attacks.targets.expectation import ExpectedTarget
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit import AuditRequest, run_audit
from f2at.audit.commands.audit import run
from f2at.audit.reports.files import read_report
from f2at.audit.subject import NO_ANSWER, Scores, majority
from tests.audit.grey import Grey, grey_audit
from tests.audit.models import save_images, save_trembling


class Trembling(nn.Module):
    """The grey classifier with a threshold that moves by a normal number of levels at each call."""

    def __init__(self, model: nn.Module, levels: float) -> None:
        super().__init__()
        self.model, self.levels = model, levels
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        moved = self.levels * torch.randn(len(inputs), generator=self.generator)
        return logits + torch.stack([moved, torch.zeros_like(moved)], dim=1)


class Signs(nn.Module):
    """Gradients that point the wrong way in one call of three."""

    calls = 0

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        sign = -1.0 if self.calls % 3 == 0 else 1.0
        logits: Tensor = self.model(sign * inputs + (1 - sign) * inputs.detach())
        return logits


def report_of(distances: list[int], levels: float, **request: Any) -> dict[str, Any]:
    audit = grey_audit(distances, wrap=lambda model: Trembling(model, levels), **request)
    return audit.report(run_audit(audit))


def test_means_are_of_so_many_evaluations() -> None:
    counting = CountingTarget(TorchTarget(Signs(Grey()), classes=2))
    target = ExpectedTarget(counting, 3)
    inputs, labels = torch.full((2, 3, 4, 4), 0.4), torch.tensor([0, 1])
    weights = torch.nn.functional.one_hot(torch.tensor([0, 0]), len(OBJECTIVES)).float()
    found = target.gradient(inputs, labels, labels, weights)
    once = TorchTarget(Grey(), classes=2).gradient(inputs, labels, labels, weights)
    assert torch.allclose(found.gradient, once.gradient / 3)  # two thirds one way, a third the other
    assert torch.allclose(found.logits, once.logits)
    assert torch.allclose(target.logits(inputs), once.logits)
    assert (counting.gradient_evaluations, counting.forward_evaluations) == (6, 6)


def test_a_majority_decides() -> None:
    def draw(*predictions: int) -> Scores:
        p = np.array(predictions)
        return Scores(p, np.full(4, 0.5), np.where(p == 1, -1.0, 1.0), np.full(4, 0.5))

    labels = np.ones(4, np.int64)
    draws = [draw(1, 1, 2, NO_ANSWER), draw(1, 2, 2, NO_ANSWER), draw(2, 0, 0, 1)]
    found = majority(draws, labels)
    assert found.predictions.tolist() == [1, 0, 2, NO_ANSWER]  # of two errors seen as often, the first class
    assert (found.margins <= 0).tolist() == [True, False, False, False]
    assert majority(draws[:1], labels) is draws[0]
    even = majority(draws[:2], labels)  # half is not more than half
    assert even.predictions.tolist()[1] == 2


def test_more_draws_than_one_make_a_steady_verdict() -> None:
    distances = [6] * 30
    once = report_of(distances, 8.0, eps="1/255", curve=False)
    often = report_of(distances, 8.0, eps="1/255", curve=False, draws=101, samples_per_gradient=5, suite="quick")
    assert once["clean"]["k"] < 28  # a threshold 6 levels away is passed by chance
    assert often["clean"]["k"] == often["robust"]["k"] == 30
    assert any("more than half of 101 answers" in limit for limit in often["limitations"])
    assert not any("answers are" in limit for limit in once["limitations"])


def test_means_find_what_a_single_draw_misses() -> None:
    """PGD whose gradients are drowned: a sign of noise for one draw, of the mean's for many."""

    class Drowned(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model, self.generator = model, torch.Generator().manual_seed(0)

        def forward(self, inputs: Tensor) -> Tensor:
            noise = 0.1 * torch.randn(inputs.shape, generator=self.generator)
            noise = noise - noise.mean((1, 2, 3), keepdim=True)  # leaves the mean level, and so the answer, alone
            logits: Tensor = self.model(inputs)
            along = (noise * inputs).sum((1, 2, 3)) - (noise * inputs.detach()).sum((1, 2, 3))
            return logits + 255 * torch.stack([torch.zeros_like(along), along], dim=1)

    def broken(samples: int) -> int:
        audit = grey_audit(
            [4] * 20,
            wrap=Drowned,
            suite="custom",
            attacks=[{"name": "pgd", "steps": 4, "start": "none", "step_size": 1 / 255}],
            eps="4/255",
            curve=False,
            samples_per_gradient=samples,
        )
        report = audit.report(run_audit(audit))
        attack = report["attacks"][0]
        assert attack["gradient_evaluations"] % samples == 0
        return int(attack["broken"])

    assert broken(1) == 0
    assert broken(60) >= 15


def test_the_long_run_is_counted_in_steps_not_in_draws() -> None:
    one, four = (
        report_of([3, 9] * 5, 0.0, eps="5/255", curve=False, suite="quick", samples_per_gradient=n) for n in (1, 4)
    )
    assert one["iterations"]["points"] == four["iterations"]["points"]
    spent = [sum(a["gradient_evaluations"] for a in report["attacks"]) for report in (one, four)]
    assert spent[1] == 4 * spent[0]


def test_a_scan_takes_the_answer_that_it_counted() -> None:
    """Asked again, such a model would answer otherwise, and what fell would not be what was counted."""
    report = report_of([3] * 40, 4.0, eps="1/255", curve=False, suite="quick", threats=["jpeg:quality=80"])
    (section,) = report["threats"]
    lost = section["curve"]["points"][0]["k"] - section["curve"]["points"][-1]["k"]
    assert 0 < lost == len(section["fallen"])


def test_the_command_notices_a_model_that_answers_at_random(tmp_path: Path, capsys: Any) -> None:
    model, data = save_trembling(tmp_path / "model.onnx", 4.0), save_images(tmp_path / "images.npz", [5] * 12)
    asked = [str(model), "--data", str(data), "--eps", "9/255", "--no-curve", "--quiet", "--threads", "1"]
    assert run([*asked, "--output", str(tmp_path / "report.json")]) == 0
    said = capsys.readouterr()
    assert "the model answers the same images differently" in said.err
    report = read_report(tmp_path / "report.json")
    assert (report["request"]["samples_per_gradient"], report["request"]["draws"]) == (8, 11)
    assert report["robust"]["k"] == 0  # its gradients are followed, drawn as they are
    assert "--samples-per-gradient 8 --draws 11" in report["repeat"]["command"]

    assert run([*asked, "--output", str(tmp_path / "one.json"), "--draws", "3"]) == 0
    assert "differently" not in capsys.readouterr().err
    assert read_report(tmp_path / "one.json")["request"]["draws"] == 3


@pytest.mark.parametrize("name", ["samples_per_gradient", "draws"])
def test_counts_below_one_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer from 1 to 100[01]; got 0"):
        AuditRequest.model_validate({name: 0})
