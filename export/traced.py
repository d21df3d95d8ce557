"""A model as two ONNX graphs with the same weights: its logits, and its gradient with respect to the images."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from f2at.attacks.objectives import OBJECTIVES, objectives
from f2at.export.backward import RULES
from f2at.export.fold import fold_batch_norm

_OPSET = 20
_EXAMPLES = 7  # images in a traced batch: a size that no other dimension has, since equal sizes are taken for one


def export_graphs(model: nn.Module, input_size: tuple[int, int]) -> tuple[bytes, bytes]:
    """Serialised classifier.onnx and gradient.onnx (see `f2at.bundle.format`) of a model in eval mode.

    Args:
        model: images float32 (N,3,H,W) in [0,1] -> logits (N,C).
        input_size: (H, W) in pixels.

    Raises:
        NotImplementedError: the model has an operation that no rule in `f2at.export.backward` covers.
    """
    folded = fold_batch_norm(model)
    height, width = input_size
    images = torch.zeros(_EXAMPLES, height, width, 3, dtype=torch.uint8)
    classifier = _to_onnx(_Deployed(folded), (images,), ["images"], ["logits"])

    # Four tensors, not one used twice: tracing tells arguments apart by identity.
    arguments = (
        torch.zeros(_EXAMPLES, 3, height, width),
        torch.zeros(_EXAMPLES, dtype=torch.int64),
        torch.zeros(_EXAMPLES, dtype=torch.int64),
        torch.zeros(_EXAMPLES, len(OBJECTIVES)),
    )
    traced = make_fx(
        _gradient_function(folded), decomposition_table=RULES, tracing_mode="symbolic", _allow_non_fake_inputs=True
    )(*arguments)
    gradient = _to_onnx(
        traced, arguments, ["images", "labels", "targets", "weights"], ["logits", "objectives", "gradient"]
    )
    return classifier, gradient


class _Deployed(nn.Module):
    """The model behind the conversion from 8-bit images: uint8 (N,H,W,3) -> logits (N,C)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.permute(0, 3, 1, 2).float() / 255)
        return logits


def _gradient_function(model: nn.Module) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def gradient(images: Tensor, labels: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images = images.detach().requires_grad_()
        logits = model(images)
        values = objectives(logits, labels, targets)
        (gradient,) = torch.autograd.grad((weights * values).sum(), images)
        return logits.detach(), values.detach(), gradient

    return gradient


def _to_onnx(module: nn.Module, arguments: tuple[Tensor, ...], inputs: list[str], outputs: list[str]) -> bytes:
    """Export with a dynamic batch."""
    batch = torch.export.Dim("N")
    with _quiet():
        # No optimisation: it would fold flipped weights into new tensors, and the proof that both graphs hold
        # the same weights would be lost. ONNX Runtime does it when it loads the graph.
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=_OPSET,
            dynamic_shapes=[{0: batch}] * len(arguments),
            input_names=inputs,
            output_names=outputs,
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    return bytes(model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes for debugging: stack traces with paths of the exporting machine, mostly.

    The shapes it noted (value_info) stay: without them ONNX Runtime leaves the blocked layout.
    """
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about its own internals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("torch.onnx")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
