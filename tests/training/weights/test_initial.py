"""Starting from the weights of another run."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from f2at.models import CheckpointInfo, create_model, save_checkpoint
from f2at.models.checkpoint import CheckpointError
from f2at.training.configuration.options import ConfigError, DataConfig, ModelConfig
from f2at.training.weights.initial import starting_model

DATA = DataConfig(size=8)
CLASSES = ("cat", "dog", "ship")
IMAGES = torch.randint(256, (20, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()


@pytest.fixture(name="checkpoint")
def trained(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    architecture: dict[str, Any] = {
        "name": "resnet18",
        "width": 2,
        "depth": None,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }
    torch.manual_seed(1)
    model = create_model(classes=3, **architecture)
    info = CheckpointInfo(
        architecture={**architecture, "classes": 3}, classes=CLASSES, input_size=(8, 8), dataset="pets"
    )
    save_checkpoint(tmp_path / "best.safetensors", model, info)
    return tmp_path / "best.safetensors", model.state_dict()


def test_the_same_classes_keep_every_weight(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, weights = checkpoint
    start = starting_model(ModelConfig(weights=str(path)), DATA, CLASSES, IMAGES)
    torch.testing.assert_close(dict(start.model.state_dict()), dict(weights), rtol=0, atol=0)
    assert start.architecture["width"] == 2  # nobody had to say so
    assert start.note == f"starts from {path}, with its head"


@pytest.mark.parametrize("classes", [("dog", "cat", "ship"), ("cat", "dog"), ("a", "b", "c", "d", "e")])
def test_other_classes_get_a_fresh_head(classes: tuple[str, ...], checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, weights = checkpoint
    start = starting_model(ModelConfig(weights=str(path)), DATA, classes, IMAGES)
    found = start.model.state_dict()
    assert found["head.weight"].shape[0] == start.architecture["classes"] == len(classes)
    for name in weights.keys() - {"head.weight", "head.bias"}:
        torch.testing.assert_close(found[name], weights[name], rtol=0, atol=0)
    rows = min(len(classes), 3)
    assert not torch.equal(found["head.weight"][:rows], weights["head.weight"][:rows])
    assert "fresh head" in str(start.note)


def test_another_architecture_is_refused(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    weights = str(checkpoint[0])
    with pytest.raises(ConfigError, match=r"^model\.width must be 2 with model\.weights = .*; got 4$"):
        starting_model(ModelConfig(weights=weights, width=4), DATA, CLASSES, IMAGES)
    with pytest.raises(ConfigError, match=r"^model\.name must be resnet18 with .*; got vgg16_bn$"):
        starting_model(ModelConfig(weights=weights, name="vgg16_bn"), DATA, CLASSES, IMAGES)
    with pytest.raises(CheckpointError, match="no checkpoint at nowhere"):
        starting_model(ModelConfig(weights="nowhere"), DATA, CLASSES, IMAGES)


def test_without_weights_it_is_fresh_and_knows_the_images() -> None:
    start = starting_model(ModelConfig(width=2), DATA, CLASSES, IMAGES)
    pixels = IMAGES.double().div(255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.tensor(start.architecture["mean"]).double(), pixels.mean(1), atol=1e-4, rtol=0)
    assert start.note is None


def test_anybodys_safetensors_file_of_our_architecture(tmp_path: Path) -> None:
    torch.manual_seed(3)
    other = create_model("resnet18", classes=3, width=2).state_dict()
    save_file({name: tensor for name, tensor in other.items() if "normalize" not in name}, tmp_path / "w.safetensors")
    config = ModelConfig(width=2, weights=str(tmp_path / "w.safetensors"))
    start = starting_model(config, DATA, CLASSES, IMAGES)
    assert start.note == f"starts from {tmp_path}/w.safetensors, with its head"
    torch.testing.assert_close(start.model.head.weight.data, other["head.weight"], rtol=0, atol=0)
    fewer = starting_model(config, DATA, CLASSES[:2], IMAGES)
    assert "fresh head" in str(fewer.note)
    torch.testing.assert_close(fewer.model.state_dict()["body.0.0.weight"], other["body.0.0.weight"], rtol=0, atol=0)
    wider = ModelConfig(width=4, weights=str(tmp_path / "w.safetensors"))
    with pytest.raises(ConfigError, match=r"does not fit model\.name = resnet18: size mismatch for body"):
        starting_model(wider, DATA, CLASSES, IMAGES)
    save_file({"body.0.0.weight": other["body.0.0.weight"]}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"does not fit model\.name = resnet18: Missing key"):
        starting_model(config, DATA, CLASSES, IMAGES)


def test_a_file_of_timms_weights_keeps_its_head_where_the_classes_are_as_many(tmp_path: Path) -> None:
    torch.manual_seed(4)
    other = timm.create_model("test_convnext", num_classes=3).state_dict()
    save_file(other, tmp_path / "w.safetensors")
    config = ModelConfig(name="timm/test_convnext", weights=str(tmp_path / "w.safetensors"))
    data = DataConfig(size=32)
    start = starting_model(config, data, CLASSES, IMAGES)
    torch.testing.assert_close(start.model.head.weight.data, other["head.fc.weight"], rtol=0, atol=0)
    assert start.architecture["mean"] == [0.5, 0.5, 0.5]
    fewer = starting_model(config, data, CLASSES[:2], IMAGES)
    assert "fresh head" in str(fewer.note)
    with pytest.raises(ConfigError, match=r"model\.width must be left out with timm/test_convnext; got 8"):
        starting_model(ModelConfig(name="timm/test_convnext", width=8), data, CLASSES, IMAGES)
    with pytest.raises(ConfigError, match=r"model\.weights = pretrained needs model\.name = timm/NAME; got 'resnet18'"):
        starting_model(ModelConfig(weights="pretrained"), data, CLASSES, IMAGES)


def test_a_checkpoint_of_a_network_of_one_size(tmp_path: Path) -> None:
    architecture: dict[str, Any] = {"name": "timm/test_vit", "classes": 3, "size": 32}
    architecture |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    info = CheckpointInfo(architecture=architecture, classes=CLASSES, input_size=(32, 32), dataset="pets")
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, create_model(**architecture), info)
    config = ModelConfig(name="timm/test_vit", weights=str(path))
    assert starting_model(config, DataConfig(size=32), CLASSES, IMAGES).architecture == architecture
    with pytest.raises(ConfigError, match=r"^data\.size must be 32 with model\.weights = .*; got 48$"):
        starting_model(config, DataConfig(size=48), CLASSES, IMAGES)
