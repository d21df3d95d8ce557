"""The proof of a gradient: right ones pass, and a planted fault of a tenth is found in every rule."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, compose, helper, numpy_helper

from f2at.gradient.builder import Builder, Node
from f2at.gradient.classifier import Classifier, read_classifier
from f2at.gradient.proof import TOLERANCE, GradientError, prove
from f2at.gradient.rules import RULES
from f2at.gradient.rules.registry import Gradients
from tests.gradient.networks import SIDE, network
from tests.gradient.test_recurrent import FEATURES, STEPS, layer
from tests.gradient.test_rules import FLAT, RECURRENT, ROUNDING, Case, cases, run

IMAGES = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)


def around(case: Case) -> Classifier:
    """A classifier that ends in the case's operation between two linear layers."""
    rng = np.random.default_rng(5)
    model = case.model(np.float32)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    inner = compose.add_prefix(model, "case/")
    batch = case.shape[0] if case.fixed else "N"
    low, high = case.span or ((0.1, 1.5) if case.positive else (-1.5, 1.5))
    arrays = {
        "enter": (rng.normal(size=(3 * SIDE * SIDE, np.prod(case.shape[1:]))) / 5).astype(np.float32),
        "half": np.float32((high - low) / 2),
        "middle": np.float32((high + low) / 2),
        "shape": np.array([-1, *case.shape[1:]]),
        "flat": np.array([case.shape[0] if case.fixed else 0, -1]),
        "leave": rng.normal(size=(_outputs(case), 4)).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("MatMul", ["f", "enter"], ["e"]),
            helper.make_node("Tanh", ["e"], ["t"]),
            helper.make_node("Mul", ["t", "half"], ["h"]),
            helper.make_node("Add", ["h", "middle"], ["m"]),
            helper.make_node("Reshape", ["m", "shape"], ["case/x"]),
            *inner.graph.node,
            helper.make_node("Reshape", ["case/y", "flat"], ["l"]),
            helper.make_node("MatMul", ["l", "leave"], ["logits"]),
        ],
        "around",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
        + list(inner.graph.initializer),
    )
    return read_classifier(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version))


def _outputs(case: Case) -> int:
    """How many numbers the operation makes of one image."""
    x = np.full(case.shape, 0.5 * sum(case.span) if case.span else 0.5, np.float32)
    (y,) = run(case.model(np.float32), {"x": x})
    return int(y.size // len(x))


def _alone(case: Case) -> bool:
    """Whether what the operation makes of an image depends on that image only."""
    places = np.array([1.0 if case.span is None else sum(case.span) / 2, 0.5]).reshape(2, *[1] * (len(case.shape) - 1))
    one, other = (
        run(case.model(np.float32), {"x": np.broadcast_to(images, case.shape).astype(np.float32)})[0]
        for images in (places, places[[0, 0]])
    )
    return bool(one.shape[0] == case.shape[0] and np.array_equal(one[0], other[0]))


# ThresholdedRelu jumps at 1; the reference's LRN takes as many images as channels only; constants for two images fix
# the batch.
BATCHED = [
    replace(
        case,
        shape=(2, *case.shape[1:]),
        span=(1.1, 2) if case.operation == "ThresholdedRelu" else case.span,
        fixed=case.fixed or any(np.shape(value)[:1] == (2,) and np.ndim(value) > 1 for value in case.inputs),
    )
    for case in cases()
]


class Layer(Case):
    """A recurrent layer between what makes its first states and what makes one number of all its outputs."""

    def model(self, dtype: type) -> onnx.ModelProto:
        assert dtype is np.float32
        return layer(self.operation, last_only=False, direction="forward")


OTHERS = [
    *(Layer(operation, shape=(2, STEPS, FEATURES)) for operation in sorted(RECURRENT)),
    Case("GatherND", ("x", np.array([[[0, 1]], [[0, 1]]])), attributes={"batch_dims": 1}, fixed=True),
]
# One case of each operation.
ALONE = {case.operation: case for case in [*reversed(BATCHED), *OTHERS] if _alone(case)}


def test_every_rule_with_a_gradient_is_tried() -> None:
    assert set(ALONE) == set(RULES) - FLAT - ROUNDING - {"Cast"}


@pytest.mark.parametrize("case", ALONE.values(), ids=ALONE)
def test_a_planted_fault_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prove(around(case), IMAGES)["error"] <= TOLERANCE
    right = RULES[case.operation]

    def wrong(b: Builder, node: Node, gradients: Sequence[str | None]) -> Gradients:
        return [name and b("Mul", name, b.scalar(1.1)) for name in right(b, node, gradients)]

    monkeypatch.setitem(RULES, case.operation, wrong)
    if case.operation == "ThresholdedRelu":  # it jumps somewhere: what does not fit is not proven, and not refused
        assert prove(around(case), IMAGES)["error"] is None
        return
    with pytest.raises(GradientError, match="is not its slope"):
        prove(around(case), IMAGES)


def test_of_an_operation_that_is_composed_of_others_it_is_right() -> None:
    """One that ONNX's reference cannot run in float64."""
    case = Case("MeanVarianceNormalization", attributes={"axes": [2, 3]})
    assert prove(around(case), IMAGES)["error"] <= TOLERANCE


@pytest.mark.parametrize("share", [1e-2, 1e-3, 1e-7])
def test_logits_that_nearly_tie_are_no_fault(share: float) -> None:
    """float32 rounds them by more than a short line changes them; objectives that divide by them feel it most."""
    model = network(tail=[("Mul", {}), ("Add", {})])
    for node, name, value in zip(model.graph.node[-2:], ("share", "one"), (share, 1.0), strict=True):
        node.input.append(name)
        model.graph.initializer.append(numpy_helper.from_array(np.full(1, value, np.float32), name))
    found = prove(read_classifier(model), IMAGES)
    assert found["lines"] + found["flat"] == 20
    assert (found["error"] is None) == (found["lines"] == 0) == (share == 1e-7)


def test_many_classes_that_nearly_tie_are_no_fault() -> None:
    """Ratios of the largest logits have a kink wherever their order changes, and on a long line it changes often."""
    rng, classes = np.random.default_rng(0), 1000
    weight = rng.normal(size=(3 * SIDE * SIDE, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["logits"])],
        "ties",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.full(classes, 1e4, np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    found = prove(read_classifier(model), IMAGES)
    assert found["error"] <= TOLERANCE
    assert found["lines"] >= 12  # cross-entropy, margin and difference, at least
    assert found["flat"] > 0


def test_of_a_classifier_that_jumps_nothing_is_proven() -> None:
    assert prove(read_classifier(network(tail=[("Round", {})])), IMAGES)["error"] is None
