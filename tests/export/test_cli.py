from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from f2at.__main__ import main
from f2at.bundle.format import load_bundle
from f2at.images.preparation import Preparation
from f2at.models import CheckpointInfo, Classifier, create_model, save_checkpoint

ARCHITECTURE = {"name": "wide_resnet", "classes": 3, "width": 1, "depth": 10, "mean": [0.5, 0.4, 0.3], "std": [0.2] * 3}


@pytest.fixture
def run_folder(tmp_path: Path, randomise_norms: Callable[[nn.Module], nn.Module]) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "run"
    folder.mkdir()
    model = randomise_norms(create_model(**ARCHITECTURE))  # type: ignore[arg-type]
    assert isinstance(model, Classifier)
    info = CheckpointInfo(
        architecture=ARCHITECTURE,
        classes=("red", "green", "blue"),
        input_size=(8, 8),
        dataset="noise",
        recipe={"method": "f2at", "eps": "8/255", "data": {"root": str(tmp_path / "photos")}},
        metrics={"clean": 0.9},
        versions={"torch": "1"},
    )
    save_checkpoint(folder / "best.safetensors", model, info)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8), rng.integers(0, 3, 10)
    np.savez(folder / "reference.npz", images=images, labels=labels)
    return folder


@pytest.mark.slow
def test_a_run_becomes_a_bundle(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "bundle"
    assert main(["export", str(run_folder), "--output", str(output)]) == 0

    bundle = load_bundle(output)
    assert bundle.classes == ("red", "green", "blue")
    assert bundle.input_size == (8, 8)
    assert bundle.manifest["architecture"] == ARCHITECTURE
    assert bundle.manifest["recipe"] == {"method": "f2at", "eps": "8/255", "data": {"root": "photos"}}
    assert str(tmp_path) not in bundle.manifest_bytes.decode()
    assert bundle.manifest["metrics"] == {"clean": 0.9}
    assert bundle.manifest["dataset"] == "noise"
    assert bundle.preparation == Preparation((8, 8), "crop", "bilinear")  # as in training
    assert bundle.manifest["parity"]["logits"]["error"] < 1e-5
    assert bundle.manifest["versions"]["training"] == {"torch": "1"}
    printed = capsys.readouterr().out
    assert bundle.digest in printed
    assert f"f2at serve {output}" in printed

    assert main(["export", str(run_folder), "--output", str(output)]) == 2
    assert capsys.readouterr().err == f"f2at export: {output} exists: choose another folder, or say --overwrite\n"


@pytest.mark.slow
def test_the_classifier_can_be_rounded_to_int8(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run_folder), "--output", str(tmp_path / "int8"), "--precision", "int8"]) == 0
    bundle = load_bundle(tmp_path / "int8")
    assert bundle.precision == "int8"
    assert bundle.manifest["quantization"]["calibration_images"] == 10
    assert "the same label on" in capsys.readouterr().out


def expect(capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str) -> None:
    """The command fails with one line that holds `reason`, and no traceback."""
    assert main(["export", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("f2at export: ")
    assert captured.err.count("\n") == 1
    assert reason in captured.err


def test_what_a_user_gets_wrong_is_said_in_one_line(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "bundle")]
    best = str(run_folder / "best.safetensors")
    expect(capsys, [str(tmp_path / "absent"), *output], "does not exist: a run's folder")
    expect(capsys, [str(run_folder), "--checkpoint", "last", *output], "last.safetensors")
    expect(capsys, [best, *output], "--reference FILE is needed")
    expect(capsys, [best, "--checkpoint", "best", *output], "is not a folder")
    expect(capsys, [str(run_folder / "reference.npz"), "--reference", best, *output], "not a checkpoint")
    expect(capsys, [best, "--reference", best, *output], "reference must be an .npz file with images")
    expect(capsys, [best, "--reference", str(tmp_path / "absent.npz"), *output], "no reference images at")
    expect(capsys, [str(run_folder), "--output", str(run_folder)], "exists and is not a bundle")
    np.savez(tmp_path / "large.npz", images=np.zeros((2, 16, 16, 3), np.uint8), labels=np.zeros(2, np.int64))
    expect(capsys, [best, "--reference", str(tmp_path / "large.npz"), *output], "must be uint8 (N, 8, 8, 3)")
    assert not (tmp_path / "bundle").exists()


def test_help_tells_a_newcomer_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", "--help"])
    assert stop.value.code == 0
    assert "f2at export runs/digits --output bundles/digits" in capsys.readouterr().out


def test_a_failed_parity_check_writes_nothing(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("f2at.export.parity.TOLERANCE", 1e-12)  # no float32 computation is this exact
    expect(capsys, [str(run_folder), "--output", str(tmp_path / "bundle")], "limit 1e-12")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
