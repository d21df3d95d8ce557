"""A run gets the devices and the precision that its configuration says, or does not start."""

from pathlib import Path

import pytest
import torch

from f2at.__main__ import main
from f2at.training.configuration.options import ConfigError, HardwareConfig
from f2at.training.hardware import check_hardware

DIGITS = Path(__file__).parents[2] / "configs/digits.toml"
NO_CUDA = "hardware.accelerator must be cpu or auto on this machine, where PyTorch finds no CUDA device; got 'cuda'"
NO_HALF = "hardware.precision must be 32-true or bf16-mixed on a CPU, which has no 16-mixed; got '16-mixed'"
TOO_MANY = "hardware.devices must be at most 2, the CUDA devices here; got 3"


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)


@pytest.mark.parametrize(
    ("cards", "asked", "refusal"),
    [
        (0, {"accelerator": "cuda"}, NO_CUDA),
        (0, {"accelerator": "cuda", "precision": "16-mixed"}, NO_CUDA),
        (0, {"precision": "16-mixed"}, NO_HALF),
        (0, {"devices": 3, "precision": "bf16-mixed"}, None),
        (2, {"accelerator": "cpu", "precision": "16-mixed"}, NO_HALF),
        (2, {"accelerator": "cpu", "devices": 3}, None),
        (2, {"accelerator": "cuda", "precision": "16-mixed", "devices": 2}, None),
        (2, {"precision": "16-mixed"}, None),
        (2, {"accelerator": "cuda", "devices": 3}, TOO_MANY),
        (2, {"devices": 3}, TOO_MANY),
    ],
    indirect=["cards"],
)
@pytest.mark.usefixtures("cards")
def test_what_is_not_here_is_refused(asked: dict[str, str | int], refusal: str | None) -> None:
    if refusal is None:
        check_hardware(HardwareConfig(**asked))  # type: ignore[arg-type]
        return
    with pytest.raises(ConfigError) as caught:
        check_hardware(HardwareConfig(**asked))  # type: ignore[arg-type]
    assert str(caught.value) == refusal


@pytest.mark.parametrize("cards", [0], indirect=True)
@pytest.mark.parametrize(
    ("flags", "message"),
    [(("--hardware.accelerator", "cuda"), NO_CUDA), (("--hardware.precision", "16-mixed"), NO_HALF)],
)
@pytest.mark.usefixtures("cards")
def test_nothing_is_written_first(
    flags: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--config", str(DIGITS), *flags, "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == f"f2at train: {message}\n"
    assert not (tmp_path / "run").exists()
