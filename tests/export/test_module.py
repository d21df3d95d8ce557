"""Anybody's PyTorch module, made a bundle: its logits, and its gradients as autograd has them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

import f2at
from f2at.__main__ import main
from f2at.audit.opening.bundle import open_model
from f2at.bundle.format import Bundle, load_bundle
from f2at.export.loading import load_module
from f2at.export.module import export_module
from f2at.images.pixels import to_inputs
from f2at.images.sets.base import LabelledSet, in_memory

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RNG = np.random.default_rng(0)


def images_of(side: int) -> LabelledSet:
    return in_memory(RNG.integers(0, 256, (8, side, side, 3), dtype=np.uint8), np.arange(8) % 4)


class Small(nn.Module):
    """Answers in the form that `answer` gives to logits (N, 4)."""

    def __init__(self, answer: Callable[[Tensor], Any] = lambda logits: logits, outputs: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head, self.answer = nn.Linear(24, outputs), answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.head(self.body(x)))


def logits_of(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    return np.asarray(open_model(load_bundle(bundle.path), threads=1).target.logits(to_inputs(images)))


def normalised(images: np.ndarray) -> Tensor:
    return torch.from_numpy(((images / 255 - MEAN) / STD).transpose(0, 3, 1, 2)).float()


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "alone": lambda logits: logits,
    ".logits": lambda logits: SimpleNamespace(logits=logits, loss=None),
    "dict": lambda logits: {"logits": logits, "features": logits * 2},
    "tuple": lambda logits: (logits.mean(), logits),
}


@pytest.mark.parametrize(
    ("form", "dtype"),
    [*((form, torch.float32) for form in FORMS), (".logits", torch.float64), ("alone", torch.bfloat16)],
)
def test_a_module_is_exported_whatever_it_answers_in(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model, data = Small(FORMS[form]).to(dtype).eval(), images_of(8)
    found = f2at.export_module(model, data, tmp_path / "bundle", name="small", mean=MEAN, std=STD, classes=list("abcd"))
    images = data.read(range(8))
    with torch.no_grad():
        expected = Small().to(dtype).float().eval()(normalised(images)).numpy()
    np.testing.assert_allclose(logits_of(found, images), expected, rtol=1e-4, atol=1e-5)
    parity = found.manifest["parity"]
    assert parity["gradient"]["reference"] == "autograd"
    assert parity["gradient"]["error"] < 1e-4
    assert parity["module"]["logits"]["error"] < 1e-5
    assert found.manifest["source"]["dtype"] == str(dtype).removeprefix("torch.")
    assert next(model.parameters()).dtype is dtype  # it is left as it was
    report = f2at.audit_bundle(found.path, f2at.AuditRequest(suite="custom", attacks=[{"name": "fgsm"}]), threads=1)
    assert report["clean"]["n"] == 8


@pytest.mark.parametrize("channels", ["bgr", "grey"])
def test_other_channels_are_compared_with_the_module_as_well(channels: str, tmp_path: Path) -> None:
    model = Small()
    if channels == "grey":
        model.body[0] = nn.Conv2d(1, 6, 3)
    found = export_module(model.eval(), images_of(8), tmp_path / "bundle", channels=channels, scale=255.0, std=2.0)
    assert found.manifest["parity"]["gradient"]["reference"] == "autograd"
    assert found.manifest["preprocessing"]["channels"] == channels


def test_one_score_is_two_classes_and_a_softmax_is_taken_off(tmp_path: Path) -> None:
    data = in_memory(images_of(8).read(range(8)), np.arange(8) % 2)
    one = export_module(Small(lambda z: z[:, 0], 1).eval(), data, tmp_path / "one", scores="logits")
    assert logits_of(one, data.read(range(8))).shape == (8, 2)
    assert one.manifest["parity"]["gradient"]["reference"] == "autograd"
    soft = export_module(Small(lambda z: z.softmax(1)).eval(), images_of(8), tmp_path / "soft")
    assert soft.manifest["parity"]["gradient"]["reference"] == "differences"
    assert soft.manifest["parity"]["module"]["scores"]["error"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"), [("resnet18", 32), ("mobilenet_v3_small", 64), ("squeezenet1_1", 64), ("shufflenet_v2_x0_5", 32)]
)
def test_torchvision_s_models_with_random_weights(name: str, side: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(num_classes=4).eval()
    found = export_module(model, images_of(side), tmp_path / "bundle", mean=MEAN, std=STD)
    for entry in found.manifest["parity"]["module"]["gradient"].values():
        assert entry["error"] < 1e-4
        assert entry["kinks"] <= 2  # of 16, and at every other image the gradient is autograd's
        assert entry["cosine"] > 0.999 or entry["kinks"]


def test_from_the_command_line_with_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_models.py").write_text(
        "from torch import nn\n\n"
        "def small():\n"
        "    body = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*body, nn.Linear(4, 3))\n"
        "def number():\n    return 7\n"
    )
    data = images_of(8)
    np.savez("images.npz", images=data.read(range(8)), labels=data.labels % 3)
    model = load_module("own_models:small")
    with torch.no_grad():
        model[4].bias[:] = torch.tensor([0.0, 5.0, 0.0])  # type: ignore[index]
    state = model.state_dict()
    save_file(state, "w.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, "w.pt")
    torch.save(model, "code.pt")
    save_file({**state, "more": torch.zeros(1)}, "more.safetensors")
    Path("cut.safetensors").write_bytes(b"\x08")
    command = ["export", "--torch", "own_models:small", "--data", "images.npz", "--classes", "a,b,c"]
    for weights in ("w.safetensors", "w.pt"):
        assert main([*command, "--weights", weights, "--output", weights + ".bundle"]) == 0
        assert "gradients are autograd's up to" in capsys.readouterr().out
        assert logits_of(load_bundle(Path(weights + ".bundle")), data.read(range(8))).argmax(axis=1).tolist() == [1] * 8
    for words, message in (
        (["--weights", "code.pt"], "weights in code.pt are more than tensors"),
        (["--weights", "more.safetensors"], "weights in more.safetensors are not the module's: unknown more"),
        (
            ["--weights", "cut.safetensors"],
            "weights must be .safetensors or what torch.save wrote; got cut.safetensors",
        ),
        (["--weights", "absent.pt"], "absent.pt: No such file"),
        (["--torch", "own_models:large"], "torch names large, which own_models does not have"),
        (["--torch", "own_models:number"], "own_models:number must give a torch.nn.Module; got int"),
        (["--torch", "no_models:small"], "torch names no_models, which cannot be imported"),
        (["--torch", "own_models"], "torch must be PACKAGE.MODULE:FUNCTION"),
        (["--layout", "NHWC"], "layout does not go with --torch"),
        (["--onnx", "m.onnx"], "either a training run, --onnx or --torch is exported; got m.onnx and own_models:small"),
    ):
        assert main([*command, *words, "--output", "refused"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not Path("refused").exists()


def test_what_is_no_classifier_is_named(tmp_path: Path) -> None:
    for model, message in (
        (Small(lambda z: [z, z + 1]), r"must return logits \(N, C\), C >= 1, alone or as .logits; got list of"),
        (Small().train(), "model must be in eval mode"),
        (nn.Sequential(nn.Linear(5, 2)), r"model must take images \(7, 3, 8, 8\), float32"),
        (Small(lambda z: z.sigmoid()), "has a sigmoid for each of 4 classes"),
    ):
        if "eval" not in message:
            model.eval()
        with pytest.raises(ValueError, match=message):
            export_module(model, images_of(8), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
