"""Fine-tuning: other architectures, weights from a file, AdamW and a warm-up."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from f2at.models import load_checkpoint
from f2at.training.configuration.files import config_from_table, load_config
from f2at.training.configuration.options import Config
from f2at.training.loop import Trainer, train
from f2at.training.weights.initial import with_size

pytestmark = pytest.mark.filterwarnings("ignore:.*lightning.*:")
CONFIG = Path(__file__).parents[2] / "configs" / "finetune.toml"


def recipe(weights: Path, **sections: dict[str, Any]) -> Config:
    """120 digits of 16 pixels, a network with batch normalisation and activations in one layer."""
    table: dict[str, Any] = {
        "data": {"name": "digits", "size": 16, "validation": 1280, "reference": 50, "crop_padding": 1, "flip": False},
        "model": {"name": "timm/test_efficientnet", "weights": str(weights)},
        "method": {"name": "sat"},
        "attack": {"eps": "8/255", "step_size": 0.01, "steps": 2, "validation_steps": 1, "test_steps": 1},
        "optimizer": {
            "name": "adamw", "epochs": 2, "batch_size": 64, "lr": 1e-3, "schedule": "cosine", "warmup": 0.5,
        },
        "averaging": {"decay": 0.9},
        "hardware": {"accelerator": "cpu"},
    }  # fmt: skip
    return config_from_table({**table, **{key: {**table[key], **values} for key, values in sections.items()}})


@pytest.fixture(name="weights")
def backbone(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", num_classes=7)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("method", ["trades", "f2at", "f2at-fast"])
def test_every_method_trains_a_model_of_timm(method: str, weights: Path, tmp_path: Path) -> None:
    metrics = train(recipe(weights, method={"name": method}, optimizer={"epochs": 1}), tmp_path / "run", progress=False)
    assert metrics["test"]["images"] == 397
    model, info = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert info.architecture["name"] == "timm/test_efficientnet"
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 10)


def test_an_interrupted_run_of_adamw_ends_as_an_undisturbed_one(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(weights)
    train(config, tmp_path / "whole", progress=False)
    record = Trainer._record

    def stop(self: Trainer, epoch: int, terms: dict[str, float]) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        record(self, epoch, terms)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "halves", progress=False)
    train(config, tmp_path / "halves", progress=False)
    rows = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "halves")]
    assert rows[0] == rows[1]
    first, last = (json.loads(row)["lr"] for row in rows[0].splitlines())
    assert first == pytest.approx(5e-4 + 5e-4 * 0.7071, rel=1e-3)  # half way into the cosine's first half
    assert last == pytest.approx(5e-4 - 5e-4 * 0.7071, rel=1e-3)


def test_the_size_is_what_the_weights_are_used_to(tmp_path: Path, weights: Path) -> None:
    config = load_config(CONFIG, {})
    assert with_size(config).data.size == 224
    assert with_size(load_config(CONFIG, {"data.size": "96"})).data.size == 96
    train(recipe(weights, optimizer={"epochs": 1}), tmp_path / "run", progress=False)
    again = {"model.weights": str(tmp_path / "run" / "best.safetensors")}
    assert with_size(load_config(CONFIG, again)).data.size == 16
    assert with_size(config_from_table({"method": {"name": "sat"}})).data.size == 32
