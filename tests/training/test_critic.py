"""Critics learned on the model of a real run, and a run of F2AT that uses them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from f2at.training.configuration.files import config_from_table
from f2at.training.critic import train_critics
from f2at.training.loop import train
from f2at.training.methods.donsker_varadhan import load_critics, save_critics

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*lightning.*:")

TABLE = {
    "data": {"name": "digits", "size": 8, "validation": 300, "reference": 10, "crop_padding": 0, "flip": False},
    "model": {"name": "resnet18", "width": 4},
    "method": {"name": "sat"},
    "attack": {"eps": "32/255", "step_size": "16/255", "steps": 2, "validation_steps": 1, "test_steps": 1},
    "optimizer": {"epochs": 2, "batch_size": 64, "lr": 0.05, "schedule": "one-cycle"},
    "hardware": {"accelerator": "cpu"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sat"
    train(config_from_table(TABLE), folder, progress=False)
    return folder


@pytest.mark.slow
def test_critics_find_the_information_and_f2at_uses_them(run: Path, tmp_path: Path) -> None:
    critics, bounds = train_critics(run, epochs=3, progress=False)
    again, same = train_critics(run, epochs=3, progress=False)
    assert bounds == same
    assert all(
        torch.equal(a, b) for a, b in zip(critics.state_dict().values(), again.state_dict().values(), strict=True)
    )
    # Which digit it is, the upper planes tell; held-out images, so nothing was learned by heart.
    assert 0.1 < bounds["natural"] < 4.2
    assert bounds["natural"] > bounds["perturbed"]

    file = tmp_path / "critic.safetensors"
    save_critics(file, critics, bounds=bounds)
    method = {"name": "f2at", "tau": 1.0, "estimator": "donsker-varadhan", "critic": str(file)}
    metrics = train(config_from_table({**TABLE, "method": method}), tmp_path / "f2at", progress=False)
    assert metrics["test"]["clean"] > 0.1
    loaded = load_critics(str(file), torch.device("cpu"))
    assert all(
        torch.equal(a, b) for a, b in zip(critics.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


def test_critics_that_do_not_fit_stop_a_run_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "critic.safetensors"
    save_critics(file, train_critics(run, planes=4, epochs=1, progress=False)[0])
    method = {"name": "f2at", "estimator": "donsker-varadhan", "critic": str(file)}
    with pytest.raises(ValueError, match="trained for 10 classes and planes 4; this run has 10 and 2"):
        train(config_from_table({**TABLE, "method": method}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{"planes": 0}, {"planes": 9}, {"epochs": 0}, {"lr": 0.0}])
def test_options_out_of_range(run: Path, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="planes must be from 1 to 8, epochs at least 1 and lr above 0; got"):
        train_critics(run, progress=False, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "f2at", "critic", str(run), "--epochs", "1", "--output", str(tmp_path / "c")]
    first = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert first.returncode == 0, first.stderr
    assert "nats" in first.stdout
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 2
    assert again.stderr == f"f2at critic: output {tmp_path / 'c'} exists; choose another file\n"
    command[4] = str(tmp_path / "none")
    command[-1] = str(tmp_path / "d")
    missing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert "f2at critic: no configuration at" in missing.stderr
    assert missing.stderr.count("\n") == 1
