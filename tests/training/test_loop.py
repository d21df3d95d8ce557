"""The loop on real digits, made small: what it writes, what it refuses, and that an interruption changes nothing."""

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from f2at.models import load_checkpoint
from f2at.training.configuration.files import config_from_table
from f2at.training.configuration.options import Config
from f2at.training.divergence import DivergenceError
from f2at.training.loop import Trainer, train
from f2at.training.runs.folder import RunError

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*lightning.*:")


def small(**sections: dict[str, Any]) -> Config:
    """Digits at 8x8, 120 training images, the narrowest network."""
    table: dict[str, Any] = {
        "data": {"name": "digits", "size": 8, "validation": 1280, "reference": 50, "crop_padding": 1, "flip": False},
        "model": {"name": "resnet18", "width": 2},
        "method": {"name": "f2at"},
        "attack": {"eps": "32/255", "step_size": "8/255", "steps": 2, "validation_steps": 1, "test_steps": 1},
        "optimizer": {"epochs": 2, "batch_size": 64, "lr": 0.05, "schedule": "one-cycle"},
        "hardware": {"accelerator": "cpu"},
    }
    for name, values in sections.items():
        table[name] = {**({} if name == "method" else table.get(name, {})), **values}
    return config_from_table(table)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_writes_what_the_next_stage_needs(tmp_path: Path) -> None:
    metrics = train(small(), tmp_path / "run", progress=False)
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert names == {
        "config.toml", "metrics.jsonl", "curves.png", "best.safetensors", "last.safetensors", "reference.npz"
    }  # fmt: skip
    model, info = load_checkpoint(tmp_path / "run/best.safetensors")
    assert info.metrics == metrics
    assert info.classes == tuple("0123456789")
    assert info.recipe["method"]["name"] == "f2at"
    with np.load(tmp_path / "run/reference.npz") as reference:
        images, labels = reference["images"], reference["labels"]
    assert images.shape == (50, 8, 8, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (50,)
    assert model(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).shape == (50, 10)
    table = rows(tmp_path / "run")
    assert [row["epoch"] for row in table] == [1, 2]
    assert {"loss", "cross_entropy", "natural_margin", "pattern_dependent", "validation_robust"} <= set(table[0])
    best = max(table, key=lambda row: row["validation_robust"])
    assert metrics["epoch"] == best["epoch"]


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    """kill -9 in the middle of an epoch, then the same command again."""
    arguments = [
        "--config", str(REPOSITORY / "configs/digits.toml"), "--data.size", "8", "--data.validation", "1200",
        "--model.width", "2", "--attack.steps", "1", "--attack.validation_steps", "1", "--attack.test_steps", "1",
        "--optimizer.epochs", "4", "--optimizer.batch_size", "16",
    ]  # fmt: skip
    command = [sys.executable, "-m", "f2at", "train", *arguments, "--output"]
    process = subprocess.Popen([*command, str(tmp_path / "killed")], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    metrics = tmp_path / "killed/metrics.jsonl"
    while time.monotonic() < deadline and not (metrics.is_file() and len(metrics.read_text().splitlines()) >= 2):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed/last.safetensors").exists()
    for name in ("killed", "whole"):
        subprocess.run([*command, str(tmp_path / name)], cwd=REPOSITORY, check=True, stderr=subprocess.DEVNULL)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    for name in ("best.safetensors", "last.safetensors"):
        killed, whole = (load_checkpoint(tmp_path / run / name)[0].state_dict() for run in ("killed", "whole"))
        for key, tensor in whole.items():
            assert torch.equal(killed[key], tensor), key


def test_same_seed_same_result_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = small(optimizer={"epochs": 1, "batch_size": 64})
        train(Config(**{**vars(config), "seed": seed}), tmp_path / name, progress=False)
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert rows(tmp_path / "a") != rows(tmp_path / "c")


def test_a_finished_run_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    config = small(method={"name": "plain"}, optimizer={"epochs": 1})
    train(config, tmp_path, progress=False)
    before = (tmp_path / "best.safetensors").read_bytes()
    with pytest.raises(RunError, match="holds a finished run; choose another folder or pass --overwrite"):
        train(config, tmp_path, progress=False)
    assert (tmp_path / "best.safetensors").read_bytes() == before
    train(small(method={"name": "plain"}, optimizer={"epochs": 2}), tmp_path, overwrite=True, progress=False)
    assert len(rows(tmp_path)) == 2


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="is not empty and holds no run"):
            train(small(), tmp_path, overwrite=overwrite, progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_overwriting_takes_nothing_but_a_run(tmp_path: Path) -> None:
    config = small(method={"name": "plain"}, optimizer={"epochs": 1})
    train(config, tmp_path, progress=False)
    (tmp_path / ".best.safetensors.123").write_text("left by a killed run")
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(RunError, match=r"also holds thesis\.txt, which is no part of a run; move it away first"):
        train(config, tmp_path, overwrite=True, progress=False)
    assert (tmp_path / "last.safetensors").is_file()
    (tmp_path / "thesis.txt").unlink()
    train(config, tmp_path, overwrite=True, progress=False)


def test_too_few_images_for_a_batch(tmp_path: Path) -> None:
    config = small(data={"name": "digits", "size": 8, "validation": 1399})
    with pytest.raises(ValueError, match=r"the 1 training images left by data\.validation give no batch"):
        train(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_divergence_stops_the_run_with_a_reason(tmp_path: Path) -> None:
    config = small(optimizer={"lr": 1e30, "schedule": "piecewise", "epochs": 3})
    with pytest.raises(DivergenceError, match=r"diverged in epoch 1: .*loss.* no longer finite; lower optimizer.lr"):
        train(config, tmp_path, progress=False)


class Interrupted(BaseException):
    """As if the process were killed."""


@pytest.mark.parametrize(
    "sections",
    [
        {"method": {"name": "seat"}},
        {"method": {"name": "trades"}, "awp": {"gamma": 0.01, "warmup": 1}, "averaging": {"decay": 0.9}},
    ],
    ids=["seat", "trades with awp and averaging"],
)
def test_interrupted_runs_of_averages_and_perturbations_go_on(
    sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(optimizer={"epochs": 3}, **sections)
    train(config, tmp_path / "whole", progress=False)

    def stop_after_the_first_epoch(self: Trainer, epoch: int, terms: dict[str, float]) -> None:
        if epoch == 1:
            raise Interrupted
        record(self, epoch, terms)

    record = Trainer._record
    monkeypatch.setattr(Trainer, "_record", stop_after_the_first_epoch)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "halves", progress=False)
    monkeypatch.undo()
    train(config, tmp_path / "halves", progress=False)
    assert rows(tmp_path / "halves") == rows(tmp_path / "whole")
    for name in ("best.safetensors", "last.safetensors"):
        halves, whole = (load_checkpoint(tmp_path / run / name)[0].state_dict() for run in ("halves", "whole"))
        for key, tensor in whole.items():
            assert torch.equal(halves[key], tensor), key


def test_seat_is_sat_with_an_average(tmp_path: Path) -> None:
    """The same weights are trained; another model is saved and measured. `averaging` does the same to any method."""
    for name, sections in {
        "sat": {"method": {"name": "sat"}},
        "seat": {"method": {"name": "seat", "decay": 0.9}},
        "averaged": {"method": {"name": "sat"}, "averaging": {"decay": 0.9}},
    }.items():
        train(small(**sections), tmp_path / name, progress=False)  # type: ignore[arg-type]
    losses = {name: [row["loss"] for row in rows(tmp_path / name)] for name in ("sat", "seat", "averaged")}
    assert losses["sat"] == losses["seat"] == losses["averaged"]
    sat, seat, averaged = (
        load_checkpoint(tmp_path / name / "last.safetensors")[0].state_dict() for name in ("sat", "seat", "averaged")
    )
    assert all(torch.equal(seat[key], averaged[key]) for key in seat)
    assert not torch.equal(seat["head.weight"], sat["head.weight"])
    assert not torch.equal(seat["body.0.1.running_mean"], sat["body.0.1.running_mean"])


def test_weight_perturbation_changes_training_after_its_warm_up(tmp_path: Path) -> None:
    for name, awp in {"without": {}, "late": {"gamma": 0.01, "warmup": 1}, "always": {"gamma": 0.01}}.items():
        train(small(method={"name": "sat"}, awp=awp), tmp_path / name, progress=False)
    without, late, always = (rows(tmp_path / name) for name in ("without", "late", "always"))
    assert late[0] == without[0]
    assert late[1] != without[1]
    assert always[0] != without[0]


def test_the_pattern_term_comes_in_with_the_warm_up(tmp_path: Path) -> None:
    train(small(method={"name": "f2at", "warmup": 1}), tmp_path / "run", progress=False)
    table = rows(tmp_path / "run")
    assert ["pattern_dependent" in row for row in table] == [False, True]
    assert all("natural_margin" in row for row in table)


def test_without_an_attack_accuracy_on_clean_images_decides(tmp_path: Path) -> None:
    """F2AT retrained on clean images: x' = x, so that its cross-entropy is undefended training's."""
    attack = {"kind": "none"}
    metrics = train(small(attack=attack), tmp_path / "f2at", progress=False)
    table = rows(tmp_path / "f2at")
    assert "validation_robust" not in table[0]
    best = max(table, key=lambda row: row["validation_clean"])
    assert metrics["epoch"] == best["epoch"]
    bare = {"name": "f2at", "alpha": 0.0, "gamma": 0.0}
    train(small(attack=attack, method=bare), tmp_path / "bare", progress=False)
    train(small(method={"name": "plain"}), tmp_path / "plain", progress=False)
    assert [row["loss"] for row in rows(tmp_path / "bare")] == [row["loss"] for row in rows(tmp_path / "plain")]


@pytest.mark.parametrize("name", ["trades", "mart", "seat"])
def test_the_baselines_stop_where_the_loss_is_not_finite(name: str, tmp_path: Path) -> None:
    config = small(method={"name": name}, optimizer={"lr": 1e30, "schedule": "piecewise", "epochs": 3})
    with pytest.raises(DivergenceError, match=r"diverged in epoch 1: .*loss"):
        train(config, tmp_path, progress=False)


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    arguments = [
        "--config", str(REPOSITORY / "configs/digits.toml"), "--data.size", "8", "--data.validation", "1300",
        "--model.width", "2", "--attack.steps", "1", "--attack.validation_steps", "1", "--attack.test_steps", "1",
        "--optimizer.epochs", "2", "--optimizer.batch_size", "50", "--hardware.accelerator", "cpu",
        "--hardware.devices", "2", "--output", str(tmp_path / "run"),
    ]  # fmt: skip
    command = [sys.executable, "-m", "f2at", "train", *arguments]
    first = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("best checkpoint") == 1  # one process speaks
    assert [row["epoch"] for row in rows(tmp_path / "run")] == [1, 2]
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "holds a finished run" in again.stderr


@pytest.mark.slow
def test_training_learns_and_defends(tmp_path: Path) -> None:
    """A short F2AT run is more robust than an undefended one of the same length, and both beat chance."""
    results = {}
    for name in ("plain", "f2at"):
        config = small(
            data={"validation": 200, "size": 8},
            model={"width": 8},
            method={"name": name},
            attack={"eps": "32/255", "step_size": "12/255", "steps": 4, "test_steps": 10},
            optimizer={"epochs": 6, "batch_size": 64, "lr": 0.1},
        )
        results[name] = train(config, tmp_path / name, progress=False)["test"]
    assert results["plain"]["clean"] > 0.9
    assert results["f2at"]["clean"] > 0.5
    assert results["f2at"]["robust"] > results["plain"]["robust"] + 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "eps"), [("l2", "1"), ("l1", "4")])
def test_training_in_another_ball_defends_there(norm: str, eps: str, tmp_path: Path) -> None:
    results = {}
    for name in ("plain", "sat"):
        config = small(
            data={"validation": 200, "size": 8},
            model={"width": 8},
            method={"name": name},
            attack={"norm": norm, "eps": eps, "step_size": str(Fraction(eps) / 3), "steps": 4, "test_steps": 10},
            optimizer={"epochs": 6, "batch_size": 64, "lr": 0.1},
        )
        results[name] = train(config, tmp_path / name, progress=False)["test"]
    assert results["sat"]["robust"] > results["plain"]["robust"] + 0.1
    assert load_checkpoint(tmp_path / "sat/best.safetensors")[1].recipe["attack"]["norm"] == norm
