from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from f2at.models import CheckpointError, CheckpointInfo, create_model, load_checkpoint, save_checkpoint

ARCHITECTURE = {"name": "resnet18", "classes": 3, "width": 2, "mean": [0.5] * 3, "std": [0.25] * 3}
INFO = CheckpointInfo(
    architecture=ARCHITECTURE,
    classes=("a", "b", "c"),
    input_size=(16, 16),
    dataset="digits",
    recipe={"method": {"name": "f2at", "alpha": 0.1}},
    metrics={"robust": 0.5},
    versions={"torch": "2"},
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, create_model(**ARCHITECTURE), INFO)  # type: ignore[arg-type]
    return path


def test_round_trip(tmp_path: Path) -> None:
    model = create_model(**ARCHITECTURE)  # type: ignore[arg-type]
    model(torch.rand(8, 3, 16, 16))  # moves the running statistics
    save_checkpoint(tmp_path / "model.safetensors", model, INFO)
    loaded, info = load_checkpoint(tmp_path / "model.safetensors")
    assert info == INFO
    assert not loaded.training
    images = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(loaded(images), model.eval()(images), rtol=0, atol=0)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"pickles .* never"):
        load_checkpoint(tmp_path / "model.pt")


def test_foreign_safetensors_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of this package"):
        load_checkpoint(tmp_path / "model.safetensors")


def test_truncated_file_is_refused(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a checkpoint of this package"):
        load_checkpoint(checkpoint)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, create_model("resnet18", classes=3, width=4), INFO)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(path)
