"""Whole architectures, exported by PyTorch, against autograd."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from f2at.gradient.reverse import COTANGENT, vector_jacobian
from tests.gradient.test_rules import run

SMALL = ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5"]
LARGE = [
    *("densenet121", "efficientnet_b0", "mnasnet0_5", "googlenet", "regnet_y_400mf"),
    *("convnext_tiny", "swin_t", "swin_v2_t", "maxvit_t", "vit"),
]


def network(name: str) -> nn.Module:
    """With random weights and BatchNorm statistics of random images, in evaluation mode."""
    torch.manual_seed(0)
    model: nn.Module
    if name == "vit":
        transformer = torchvision.models.VisionTransformer(32, 8, 3, 4, 64, 128, num_classes=10)
        nn.init.normal_(transformer.heads.head.weight)  # zero by default
        model = transformer
    elif name == "maxvit_t":
        settings = {"stem_channels": 16, "block_channels": [16, 32], "block_layers": [1, 1], "head_dim": 8}
        model = torchvision.models.MaxVit(
            (64, 64), partition_size=2, stochastic_depth_prob=0, num_classes=10, **settings
        )
    else:
        extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
        model = getattr(torchvision.models, name)(num_classes=10, **extra)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.rand(8, 3, side(name), side(name)))
    return model.eval()


def side(name: str) -> int:
    return 32 if name == "vit" else 64


def exported(model: nn.Module, images: Tensor) -> onnx.ModelProto:
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (images,),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "N"}, "logits": {0: "N"}},
        )
    return onnx.load_model_from_string(buffer.getvalue())


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_the_gradient_is_that_of_autograd(name: str) -> None:
    model = network(name)
    images = torch.rand(4, 3, side(name), side(name), requires_grad=True)
    graph = vector_jacobian(exported(model, images.detach()[:2]), shape=(3, side(name), side(name)))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = model(images)
    v = torch.randn_like(logits)
    (expected,) = torch.autograd.grad((logits * v).sum(), images)
    feeds = {"images": images.detach().numpy(), COTANGENT: v.numpy()}
    found, gradient = session.run(None, feeds)
    np.testing.assert_allclose(
        found, logits.detach().numpy(), rtol=1e-3, atol=1e-3 * float(logits.detach().abs().max())
    )
    pairs = zip(gradient.reshape(4, -1).astype(np.float64), expected.numpy().reshape(4, -1), strict=True)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    assert min(cosines) > 0.999, cosines  # a ReLU near 0 may open in one of the two only
    np.testing.assert_allclose(np.linalg.norm(gradient), float(expected.norm()), rtol=1e-2)


class Attentive(nn.Module):
    """Patches that attend to each other, with what newer opsets have operations for."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.heads, self.last = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 48), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        q, k, v = self.heads(tokens).unflatten(2, (3, 4, 4)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        logits: Tensor = self.last(functional.silu(functional.rms_norm(attended, (16,))).mean(1))
        return logits


@pytest.mark.parametrize("opset", [18, 23, 24])
def test_of_newer_opsets_operations_are_differentiated_as_what_they_are_made_of(opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = Attentive().eval(), tmp_path / "model.onnx"
    images = torch.rand(4, 3, 16, 16, requires_grad=True)
    batch = ({0: torch.export.Dim.DYNAMIC},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (images.detach()[:2],), path, dynamo=True, opset_version=opset, dynamic_shapes=batch, verbose=False
        )
    source = onnx.load(path)
    assert ("Attention" in {node.op_type for node in source.graph.node}) == (opset >= 23)
    graph = vector_jacobian(source, (3, 16, 16))
    logits = model(images)
    v = torch.randn_like(logits)
    (expected,) = torch.autograd.grad((logits * v).sum(), images)
    found, gradient = run(graph, {graph.graph.input[0].name: images.detach().numpy(), COTANGENT: v.numpy()})
    np.testing.assert_allclose(found, logits.detach(), atol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
