"""A model as two ONNX graphs with the same weights: its logits, and its gradient with respect to the images."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn

from f2at.export.fold import fold_batch_norm
from f2at.gradient.builder import UnsupportedOperationError
from f2at.gradient.classifier import classifier_graph, gradient_graph, read_classifier

_OPSET = 20
EXAMPLES = 7  # images in a traced batch: a size that no other dimension has, since equal sizes are taken for one


def export_graphs(model: nn.Module, input_size: tuple[int, int]) -> tuple[bytes, bytes]:
    """Serialised classifier.onnx and gradient.onnx (see `f2at.bundle.format`) of a model in eval mode.

    The model is exported as anybody would export it, and that graph is differentiated like anybody's.

    Args:
        model: images float32 (N,3,H,W) in [0,1] -> logits (N,C).
        input_size: (H, W) in pixels.

    Raises:
        ValueError: the model has an operation without a rule in `f2at.gradient.rules`.
    """
    source = to_onnx(fold_batch_norm(model), torch.zeros(EXAMPLES, 3, *input_size))
    classifier = read_classifier(source, scores="logits", layout="NCHW", size=input_size)
    try:
        graphs = classifier_graph(classifier), gradient_graph(classifier)
    except UnsupportedOperationError as error:
        raise ValueError(f"the model has operations without a gradient here: {error}") from error
    first, second = (graph.whole() for graph in graphs)
    return first, second


def to_onnx(module: nn.Module, images: Tensor) -> onnx.ModelProto:
    """Export with a dynamic batch: images (N, ...) -> logits."""
    with _quiet():
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            dynamic_shapes=[{0: torch.export.Dim("N")}],
            input_names=["images"],
            output_names=["logits"],
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes for debugging: stack traces with paths of the exporting machine, mostly."""
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
