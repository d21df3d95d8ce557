"""PyTorch modules as people have them: what they return, what they are made of, and whether they have gradients."""

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from f2at.audit import AuditRequest
from f2at.audit.module import audit_module, module_digest
from f2at.audit.reports.report import deterministic_part
from tests.audit.grey import Grey, grey_images

DISTANCES = [1 + i % 12 for i in range(12)]
IMAGES, LABELS = grey_images(DISTANCES)
NAMES = ["dark", "light"]
QUICK = AuditRequest(suite="custom", attacks=[{"name": "fgsm"}], curve=False)
BLIND = AuditRequest(suite="custom", attacks=[{"name": "square", "queries": 20}], curve=False)


class Made(nn.Module):
    """A module of a function."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function, self.grey = function, Grey()

    def forward(self, inputs: Tensor) -> Any:
        return self.function(inputs)


def audit(function: Callable[[Tensor], Any], request: AuditRequest = QUICK, **given: Any) -> dict[str, Any]:
    arguments = {"images": IMAGES, "labels": LABELS, "classes": NAMES, **given}
    return audit_module(Made(function).eval(), request=request, **arguments)


grey: Callable[[Tensor], Tensor] = Grey()
features = torch.zeros(2, 7)
RETURNED: dict[str, Callable[[Tensor], Any]] = {
    "attribute": lambda x: SimpleNamespace(logits=grey(x), hidden=features),
    "mapping": lambda x: {"hidden": grey(x), "logits": grey(x)},
    "mapping of one": lambda x: {"output": grey(x)},
    "tuple of one": lambda x: (grey(x),),
    "tuple with features": lambda x: (x.flatten(1), grey(x)),
    "list with None": lambda x: [grey(x), None],
    "mapping with what is no tensor": lambda x: {"logits_per_image": grey(x), "labels": ["dark"]},
}


@pytest.mark.parametrize("returned", RETURNED.values(), ids=RETURNED)
def test_logits_are_found_where_only_one_thing_can_be_meant(returned: Callable[[Tensor], Any]) -> None:
    assert deterministic_part(audit(returned)) == deterministic_part(audit(grey))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda x: (grey(x), grey(x)), r"got tuple of \(2, 2\), \(2, 2\) for 2 images"),
        (lambda x: {"a": None}, "got dict of 'a' NoneType for 2 images"),
        (lambda x: grey(x)[:, 0], r"got \(2,\) for 2 images"),
        (lambda x: grey(x)[:, :1], r"got \(2, 1\) for 2 images"),
        (lambda x: grey(x)[:1], r"got \(1, 2\) for 2 images"),
        (lambda x: "dark", "got str for 2 images"),
        (lambda x: x @ torch.zeros(9, 9), r"\(2, 3, 4, 4\), torch.float32 in \[0, 1\]: .*shapes cannot"),
    ],
)
def test_what_else_comes_is_named(returned: Callable[[Tensor], Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^model must (return logits|take images) .*{said}"):
        audit(returned)


@pytest.mark.parametrize("outputs", [3, 10])
def test_the_count_of_classes_is_checked_before_the_audit(outputs: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, outputs)).eval()
    steps: list[Any] = []
    with pytest.raises(ValueError, match=f"classes must be {outputs} names, one for each output; got 2"):
        audit_module(model, IMAGES, LABELS, QUICK, classes=NAMES, progress=steps.append)
    transfer = AuditRequest(suite="custom", attacks=[{"name": "transfer-pgd", "steps": 1}])
    with pytest.raises(ValueError, match=f"surrogate must have 2 classes, as the model; got {outputs}"):
        audit_module(Grey().eval(), IMAGES, LABELS, transfer, classes=NAMES, surrogate=model, progress=steps.append)
    assert steps == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_another_type(dtype: torch.dtype) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    margins = {}
    for kind in (torch.float32, dtype):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).to(kind).eval()
        report = audit_module(model, images, [0] * 6, QUICK, classes=NAMES)
        margins[kind] = [sample["margin"] for sample in report["samples"]]
        assert not next(flag for flag in report["flags"] if flag["name"] == "zero_gradients")["raised"]
    assert np.allclose(margins[dtype], margins[torch.float32], atol=0.02)


def through_jpeg(inputs: Tensor) -> Tensor:
    """What a service does that stores its uploads."""
    stored = []
    for pixels in (255 * inputs).byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        stored.append(np.asarray(Image.open(file)))
    return grey(torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2) / 255)


class Quantised(nn.Module):
    """Integers for weights, which autograd does not pass."""

    weight: Tensor

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((2, 48), 2, dtype=torch.int8))
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        levels = (255 * inputs).flatten(1).round().int()
        return (levels @ self.weight.int().T) * self.scale


WITHOUT: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "jpeg": (through_jpeg, r"does not require grad|Can't call numpy\(\)"),
    "no_grad": (torch.no_grad()(grey), "does not require grad"),
    "inference_mode": (torch.inference_mode()(grey), "."),
    "integers": (Quantised().eval(), "does not require grad"),
    "detached": (lambda x: grey(x.detach()), "does not require grad"),
}


@pytest.mark.parametrize(("function", "reason"), WITHOUT.values(), ids=WITHOUT)
def test_without_gradients_only_attacks_that_need_none(function: Callable[[Tensor], Any], reason: str) -> None:
    report = audit(function, BLIND)
    assert (report["iterations"], report["confidences"]) == (None, None)
    with pytest.raises(ValueError, match=rf"without white-box attacks .* without gradients \(.*({reason})"):
        audit(function)
    transfer = AuditRequest(suite="custom", attacks=[{"name": "transfer-pgd", "steps": 1}])
    with pytest.raises(ValueError, match=rf"surrogate must be a model with gradients; got one without \(.*({reason})"):
        audit_module(Grey().eval(), IMAGES, LABELS, transfer, classes=NAMES, surrogate=Made(function).eval())


@pytest.mark.parametrize("labels", [LABELS.tolist(), torch.from_numpy(LABELS), torch.from_numpy(LABELS).int()])
def test_labels_and_images_may_be_lists_or_tensors(labels: Any) -> None:
    expected = deterministic_part(audit(grey))
    assert deterministic_part(audit(grey, labels=labels)) == expected
    assert deterministic_part(audit(grey, labels=labels, images=torch.from_numpy(IMAGES.copy()))) == expected


def test_a_caller_in_inference_mode() -> None:
    with torch.inference_mode():
        found = audit(grey, images=torch.from_numpy(IMAGES.copy()), labels=torch.from_numpy(LABELS))
        assert torch.is_inference_mode_enabled()
    assert deterministic_part(found) == deterministic_part(audit(grey))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deprecated:UserWarning")
def test_the_digest_follows_what_quantised_layers_keep() -> None:
    from torch.ao.nn.quantized import dynamic

    layer = dynamic.Linear(48, 2)
    model = nn.Sequential(nn.Flatten(), layer).eval()
    digests = set()
    for value in (1.0, 2.0):
        layer.set_weight_bias(
            torch.quantize_per_tensor(torch.full((2, 48), value), 0.1, 0, torch.qint8), torch.zeros(2)
        )
        digests.add(module_digest(model))
        report = audit_module(model, IMAGES, LABELS, BLIND, classes=NAMES)
        assert report["model"]["digest"] in digests
    assert len(digests) == 2
