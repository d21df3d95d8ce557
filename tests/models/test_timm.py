"""Models of timm behind our interface, with random weights."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from f2at.models import CheckpointInfo, create_model, load_checkpoint, save_checkpoint
from f2at.models.from_timm import timm_parts, timm_settings

# Batch normalisation joined with an activation, a head in a module of its own, a size that is fixed when it is built.
NAMES = ("timm/test_resnet.r160_in1k", "timm/test_efficientnet", "timm/test_convnext", "timm/test_vit")


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_timms_own_says(name: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 32} if name.endswith("vit") else {}
    own: Any = timm.create_model(name.removeprefix("timm/"), num_classes=5, **options).eval()
    parts = timm_parts(name, 32, own.state_dict())
    model = create_model(name, classes=5, size=32).eval()
    model.body.load_state_dict(parts.body.state_dict())
    assert parts.classifier is not None
    model.head.load_state_dict(parts.classifier.state_dict())
    images = torch.rand(2, 3, 32, 32)
    config = own.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(model(images), own((images - mean) / std), rtol=1e-4, atol=1e-5)
    assert model.features(images).shape == (2, parts.features)
    torch.testing.assert_close(model(images), model.head(model.features(images)))


def test_settings_are_timms() -> None:
    assert timm_settings("timm/resnet18.a1_in1k") == (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert timm_settings("timm/test_vit") == (160, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_a_checkpoint_of_one(tmp_path: Path) -> None:
    architecture = {"name": "timm/test_vit", "classes": 3, "size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    model = create_model(**architecture).eval()  # type: ignore[arg-type]
    info = CheckpointInfo(architecture=architecture, classes=("a", "b", "c"), input_size=(32, 32), dataset="pets")
    save_checkpoint(tmp_path / "best.safetensors", model, info)
    found, _ = load_checkpoint(tmp_path / "best.safetensors")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(found(images), model(images))


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("timm/resnet81", 32, r"architecture must be one that timm has; got 'timm/resnet81'; did you mean timm/resnet"),
        ("timm/resnet18.a9_in1k", 32, r"got 'timm/resnet18\.a9_in1k'; did you mean timm/resnet18\.a"),
        ("timm/test_vit", 8, r"architecture timm/test_vit takes no images of 8 pixels: Input height \(8\) should be"),
        ("timm/levit_128s", 32, r"it does not end in features and one linear layer"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        timm_parts(name, size)
    assert "\n" not in str(caught.value)


def test_width_is_the_names() -> None:
    with pytest.raises(ValueError, match=r"width must be left out, since timm/test_vit has its own; got 8"):
        create_model("timm/test_vit", classes=2, width=8)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    own: Any = timm.create_model("test_convnext", num_classes=5)
    save_file(own.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"^the weights do not fit timm/test_vit: Missing key") as caught:
        timm_parts("timm/test_vit", 160, own.state_dict())
    assert "\n" not in str(caught.value)


def test_without_a_network_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"pretrained weights of timm/test_vit cannot be had .*give its path"):
        timm_parts("timm/test_vit", 160, "pretrained")
