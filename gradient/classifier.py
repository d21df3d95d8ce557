"""Any classifier's ONNX graph as the two graphs of a bundle: its logits of 8-bit images, and its attack gradients."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper

from f2at.attacks.objectives import OBJECTIVES as NAMES
from f2at.bundle.weights import NONE, Slim, Weights
from f2at.gradient.batch import answer, tolerance_of, with_any_batch
from f2at.gradient.builder import Builder
from f2at.gradient.entry import Entry, find_entry
from f2at.gradient.objectives import LABELS, LOGITS, OBJECTIVES, TARGETS, objectives_graph
from f2at.gradient.reverse import GRADIENT, backpropagate, state_passed
from f2at.gradient.scores import READ, Reading, choose_output, with_logits
from f2at.gradient.straight import Straight, straight_through
from f2at.gradient.trace import OPSET, Trace, input_of, needed, trace, upgraded, without_places

IMAGES, WEIGHTS = "images", "weights"
MODEL, _OBJECTIVES, _ENTRY = "model/", "objectives/", "entry/"  # what names begin with, by the part
_PROBES = 3


@dataclass(frozen=True)
class Classifier:
    """A classifier's graph, understood.

    Attributes:
        model: one input, as `entry` says, and one output, the logits, float32 (N, C).
        weights: what fills its placeholders.
        entry: what it takes.
        reading: where the logits come from.
        classes: C.
        batch: the only size of batches that it takes; None takes any.
    """

    model: onnx.ModelProto
    weights: Weights
    entry: Entry
    reading: Reading
    classes: int
    batch: int | None

    @cached_property
    def traced(self) -> Trace:
        """The graph with the objectives behind it, names of its own prefixed."""
        model = compose.add_prefix(self.model, MODEL)
        objectives = compose.add_prefix_graph(objectives_graph(self.classes).graph, _OBJECTIVES)
        indices = (LABELS, TARGETS)
        graph = helper.make_graph(
            [
                *model.graph.node,
                helper.make_node("Identity", [MODEL + READ], [_OBJECTIVES + LOGITS]),
                *(helper.make_node("Identity", [name], [_OBJECTIVES + name]) for name in indices),
                *objectives.node,
                helper.make_node("Identity", [_OBJECTIVES + OBJECTIVES], [OBJECTIVES]),
            ],
            "classifier",
            [input_of(model), *(_integers(name, None) for name in indices)],
            [_floats(OBJECTIVES, None, len(NAMES)), _floats(MODEL + READ, None, self.classes)],
            [*model.graph.initializer, *objectives.initializer],
        )
        joined = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        return trace(Slim(joined, self.weights), self.entry.shape, dict.fromkeys(indices, self.classes))

    @cached_property
    def jumps(self) -> dict[str, Straight]:
        """What of the classifier rounds, takes signs or cuts off by thresholds; see `f2at.gradient.straight`."""
        return straight_through(self.traced.model.graph.node, self.traced.tensors, MODEL)


def read_classifier(
    source: onnx.ModelProto | Slim,
    *,
    output: str | None = None,
    scores: str | None = None,
    layout: str | None = None,
    channels: str | None = None,
    size: Sequence[int] | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    scale: float = 1.0,
) -> Classifier:
    """Find out how a graph takes images and where its logits are, and check that they say what its output says.

    Args:
        source: the graph; see `f2at.gradient.trace.upgraded` for its opset.
        output: the output that holds the scores of the classes; may be left out where there is only one.
        scores: see `f2at.gradient.scores.with_logits`.
        layout, channels, size, mean, std, scale: see `f2at.gradient.entry.find_entry`.

    Raises:
        ValueError: it is no classifier of images, ONNX Runtime cannot run it, or something is open or contradicted.
    """
    source = Slim.of(source)
    entry = find_entry(source.model, layout=layout, channels=channels, size=size, mean=mean, std=std, scale=scale)
    model = needed(upgraded(source).model, [choose_output(source.model, output)])
    probes = as_entered(entry, _probes(entry.size))
    opened, batch, said = with_any_batch(Slim(model, source.weights), probes)
    model = opened.model
    logits, reading = with_logits(model, model.graph.output[0].name, said, scores)
    found = answer(Slim(logits, source.weights), probes, batch)
    expected, got = said.reshape(len(said), -1).astype(np.float64), reading.probabilities(found)
    tolerance = tolerance_of(said)
    if not np.allclose(
        got, expected, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(expected).max())) + reading.step
    ):
        raise ValueError(
            f"output {model.graph.output[0].name!r} is not what its last operations seem to make of it; "
            "give scores, logits or probabilities"
        )
    return Classifier(logits, source.weights, entry, reading, found.shape[1], batch)


def classifier_graph(classifier: Classifier) -> Slim:
    """The graph of images uint8 (N, H, W, 3) -> logits float32 (N, C)."""
    traced, batch = classifier.traced, classifier.batch or "N"
    entry = Builder({}, _ENTRY)
    entered = classifier.entry.from_levels(entry, IMAGES)
    return _model(
        traced,
        [
            *entry.nodes,
            helper.make_node("Identity", [entered], [traced.images]),
            *(without_places(node) for node in traced.model.graph.node),
            helper.make_node("Identity", [MODEL + READ], [LOGITS]),
        ],
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, [batch, *classifier.entry.size, 3])],
        [_floats(LOGITS, batch, classifier.classes)],
        [*entry.initializers, *traced.model.graph.initializer],
    )


def gradient_graph(classifier: Classifier, *, straight: bool = False) -> Slim:
    """The graph of images float32 (N, 3, H, W) in [0, 1], labels, targets int64 (N,), weights float32 (N, J) -> logits
    (N, C), objectives (N, J), and gradient (N, 3, H, W) of the weighted objective by the images.

    Args:
        classifier: what is differentiated.
        straight: pass what rounds, takes signs or cuts off by thresholds straight through, as if it were the identity;
            `f2at.gradient.reverse.passed_through` names it.

    Raises:
        UnsupportedOperationError: the classifier has an operation without a rule.
        NoGradientError: its logits do not depend on the images in a way that has a gradient.
    """
    traced, batch, size = classifier.traced, classifier.batch or "N", classifier.entry.size
    entry, b = Builder({}, _ENTRY), Builder(traced.tensors)
    entered = classifier.entry.from_unit(entry, IMAGES)
    gradient, passed = backpropagate(traced, b, {OBJECTIVES: WEIGHTS}, classifier.jumps if straight else None)
    b.real = np.dtype(np.float32)
    gradient = classifier.entry.backward(b, gradient)
    graph = _model(
        traced,
        [
            *entry.nodes,
            helper.make_node("Identity", [entered], [traced.images]),
            *traced.model.graph.node,
            *b.nodes,
            helper.make_node("Identity", [MODEL + READ], [LOGITS]),
            helper.make_node("Identity", [gradient], [GRADIENT]),
        ],
        [
            _floats(IMAGES, batch, 3, *size),
            _integers(LABELS, batch),
            _integers(TARGETS, batch),
            _floats(WEIGHTS, batch, len(NAMES)),
        ],
        [
            _floats(LOGITS, batch, classifier.classes),
            _floats(OBJECTIVES, batch, len(NAMES)),
            _floats(GRADIENT, batch, 3, *size),
        ],
        [*entry.initializers, *traced.model.graph.initializer, *b.initializers],
        b.described.values(),
        b.weights,
    )
    state_passed(graph.model, passed)
    return graph


def as_entered(entry: Entry, images: NDArray[np.uint8]) -> NDArray[Any]:
    """Images uint8 (N, H, W, 3) as the graph takes them."""
    graph = entry_graph(entry)
    return images if graph is None else answer(graph, images)


def entry_graph(entry: Entry) -> onnx.ModelProto | None:
    """The graph from images uint8 (N, H, W, 3) to what another graph takes; None where it takes them as they are."""
    b = Builder({}, _ENTRY)
    entered = entry.from_levels(b, IMAGES)
    if entered == IMAGES:
        return None
    graph = helper.make_graph(
        b.nodes,
        "entry",
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, [None] * 4)],
        [onnx.ValueInfoProto(name=entered)],
        b.initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _probes(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Random images and a grey one."""
    levels = np.random.default_rng(0).integers(0, 256, (_PROBES, *size, 3), dtype=np.uint8)
    levels[-1] = 128
    return levels


def _model(
    traced: Trace,
    nodes: Iterable[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Iterable[onnx.TensorProto],
    described: Iterable[onnx.ValueInfoProto] = (),
    weights: Weights = NONE,
) -> Slim:
    """A model of the nodes and constants that the outputs need."""
    values = list(described)
    graph = helper.make_graph(list(nodes), "classifier", inputs, outputs, list(initializers), value_info=values)
    model = helper.make_model(graph, opset_imports=traced.model.opset_import, ir_version=traced.model.ir_version)
    model = needed(model, [output.name for output in outputs])
    return Slim(model, {**traced.weights, **weights})


def _floats(name: str, *shape: int | str | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _integers(name: str, batch: int | str | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, [batch])
