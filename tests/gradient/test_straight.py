"""What is passed straight through, against slopes by hand, and what stays as it is."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from f2at.attacks.objectives import OBJECTIVES
from f2at.gradient.builder import NoGradientError
from f2at.gradient.classifier import gradient_graph, read_classifier
from f2at.gradient.proof import prove
from f2at.gradient.reverse import passed_through, vector_jacobian
from tests.gradient.networks import SIDE, network

X = np.array([[-2.0, -0.75, -0.3, 0.0, 0.2, 0.6, 1.5, 2.25]], np.float32)
V = np.array([[1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0]], np.float32)
MEAN = np.array([0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0], np.float32)

Step = tuple[str, list[Any], dict[str, Any]]


def graph(*steps: Step) -> onnx.ModelProto:
    """Operations in turn, each named n0, n1, ..., with an output of the same name; inputs are those, "x" and arrays."""
    nodes, constants = [], []
    for number, (operation, inputs, attributes) in enumerate(steps):
        names: list[str] = []
        for value in inputs:
            names.append(value if isinstance(value, str) else f"c{number}_{len(names)}")
            if not isinstance(value, str):
                constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        nodes.append(helper.make_node(operation, names, [f"n{number}"], name=f"n{number}", **attributes))
    made = helper.make_graph(
        nodes,
        "steps",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info(f"n{len(steps) - 1}", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def slope(model: onnx.ModelProto, *, straight: bool) -> tuple[NDArray[np.float32], list[str]]:
    found = vector_jacobian(model, straight=straight)
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    x, v = np.repeat(X, 2, 0), np.repeat(V, 2, 0)
    gradient = session.run(["gradient"], {"x": x, "cotangent": v})[0]
    np.testing.assert_array_equal(gradient[0], gradient[1])
    return gradient[0], passed_through(found)


f, i = np.float32, np.int64
INT, FLOAT = {"to": TensorProto.INT64}, {"to": TensorProto.FLOAT}
U8 = {"to": TensorProto.UINT8}
ONE = np.ones(8)
NEAR = (np.abs(X[0]) <= 1).astype(f)
CASES: dict[str, tuple[list[Step], Any, list[str] | None]] = {
    "round": ([("Mul", ["x", f(4)], {}), ("Round", ["n0"], {}), ("Div", ["n1", f(4)], {})], ONE, ["n1"]),
    "floor": ([("Mul", ["x", f(4)], {}), ("Floor", ["n0"], {}), ("Ceil", ["n1"], {})], 4, ["n1", "n2"]),
    "sign": ([("Sign", ["x"], {})], NEAR, ["n0"]),
    "integers": ([("Mul", ["x", f(4)], {}), ("Cast", ["n0"], INT), ("Cast", ["n1"], FLOAT)], 4, ["n1"]),
    "products of integers": (
        [("Cast", ["x"], INT), ("Mul", ["n0", i(6)], {}), ("Div", ["n1", i(4)], {}), ("Cast", ["n2"], FLOAT)],
        1.5,
        ["n0"],
    ),
    "shift": (
        [
            ("Cast", ["x"], U8),
            ("BitShift", ["n0", np.uint8(2)], {"direction": "RIGHT"}),
            ("BitShift", ["n1", np.uint8(3)], {"direction": "LEFT"}),
            ("Cast", ["n2"], FLOAT),
        ],
        2,
        ["n0", "n1", "n2"],
    ),
    "bits": (
        [("Cast", ["x"], U8), ("BitwiseAnd", ["n0", np.uint8(0xF0)], {}), ("Cast", ["n1"], FLOAT)],
        1,
        ["n0", "n1"],
    ),
    "remainder": ([("Mod", ["x", f(0.25)], {"fmod": 1}), ("Sub", ["x", "n0"], {})], 1, ["n0"]),
    "mean sparse": (
        [
            ("Sub", ["x", MEAN], {}),
            ("Abs", ["n0"], {}),
            ("Greater", ["n1", f(0.7)], {}),
            ("Where", ["n2", "x", MEAN], {}),
        ],
        1,
        ["n3"],
    ),
    "mean sparse the other way round": (
        [
            ("Sub", [MEAN, "x"], {}),
            ("Mul", ["n0", "n0"], {}),
            ("Less", ["n1", f(0.5)], {}),
            ("Where", ["n2", MEAN, "x"], {}),
        ],
        1,
        ["n3"],
    ),
    "hard threshold": (
        [("Abs", ["x"], {}), ("Greater", ["n0", f(0.5)], {}), ("Cast", ["n1"], FLOAT), ("Mul", ["x", "n2"], {})],
        1,
        ["n3"],
    ),
    "band": (
        [
            ("Greater", ["x", f(0.5)], {}),
            ("Less", ["x", f(-0.5)], {}),
            ("Or", ["n0", "n1"], {}),
            ("Where", ["n2", "x", f(0)], {}),
        ],
        1,
        ["n3"],
    ),
    "shrink": ([("Shrink", ["x"], {"lambd": 0.5, "bias": 0.0})], 1, None),
    "thresholded relu": ([("ThresholdedRelu", ["x"], {"alpha": 0.5})], 1, ["n0"]),
    "number of a comparison": ([("Greater", ["x", f(0)], {}), ("Cast", ["n0"], FLOAT)], NEAR, ["n0"]),
    "less": (
        [("Less", ["x", f(0)], {}), ("Not", ["n0"], {}), ("Where", ["n1", f(3), f(1)], {})],
        2 * NEAR,
        ["n0"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_identity_stands_in(case: str) -> None:
    """In its scale; without being asked for, none of it passes all of a gradient."""
    steps, expected, names = CASES[case]
    found, passed = slope(graph(*steps), straight=True)
    np.testing.assert_allclose(found, V[0] * expected, rtol=1e-6)
    assert len(passed) == 1 if names is None else passed == names
    try:
        usual, passed = slope(graph(*steps), straight=False)
    except NoGradientError:
        return
    assert passed == []
    assert (usual == 0).any()


SMOOTH: dict[str, list[Step]] = {
    "relu by where": [("Greater", ["x", f(0)], {}), ("Where", ["n0", "x", f(0)], {})],
    "relu by a mask": [("Greater", ["x", f(0)], {}), ("Cast", ["n0"], FLOAT), ("Mul", ["x", "n1"], {})],
    "relu around a mean": [
        ("Sub", ["x", MEAN], {}),
        ("Greater", ["n0", f(0)], {}),
        ("Where", ["n1", "x", MEAN], {}),
    ],
    "clip": [("Greater", ["x", f(1)], {}), ("Where", ["n0", f(1), "x"], {})],
    "two branches": [
        ("Abs", ["x"], {}),
        ("Greater", ["n0", f(1)], {}),
        ("Tanh", ["x"], {}),
        ("Where", ["n1", "x", "n2"], {}),
    ],
    "remainder alone": [("Mod", ["x", f(0.4)], {"fmod": 1})],
    "another value's threshold": [
        ("Sin", ["x"], {}),
        ("Greater", ["n0", f(0.5)], {}),
        ("Where", ["n1", "x", f(0)], {}),
    ],
}


@pytest.mark.parametrize("case", SMOOTH)
def test_what_does_not_jump_keeps_its_slope(case: str) -> None:
    found, passed = slope(graph(*SMOOTH[case]), straight=True)
    assert passed == []
    np.testing.assert_array_equal(found, slope(graph(*SMOOTH[case]), straight=False)[0])


def gradient_of(model: onnx.ModelProto, *, straight: bool) -> tuple[NDArray[np.float32], list[str]]:
    classifier = read_classifier(model)
    made = gradient_graph(classifier, straight=straight)
    rng = np.random.default_rng(0)
    feeds = {
        "images": rng.integers(0, 256, (3, 3, SIDE, SIDE)).astype(f) / f(255),
        "labels": np.array([0, 1, 2]),
        "targets": np.array([1, 2, 3]),
        "weights": np.eye(len(OBJECTIVES), dtype=f)[[1] * 3],
    }
    session = onnxruntime.InferenceSession(made.whole(), providers=["CPUExecutionProvider"])
    return session.run(["gradient"], feeds)[0], passed_through(made.model)


def test_of_a_classifier_only_its_own_nodes_are_passed() -> None:
    """The objectives compare and choose, too, and their slopes are right as they are."""
    model = network()
    assert gradient_of(model, straight=True)[1] == []
    np.testing.assert_array_equal(gradient_of(model, straight=True)[0], gradient_of(model, straight=False)[0])


def rounded() -> onnx.ModelProto:
    """The network behind a rounding of its pixels to multiples of 1/255, which images have already."""
    model = network()
    for name, value in (("levels", f(255)), ("share", f(1 / 255))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    model.graph.node[0].input[0] = "q"
    for node in (
        helper.make_node("Mul", ["r", "share"], ["q"]),
        helper.make_node("Round", ["l"], ["r"]),
        helper.make_node("Mul", ["x", "levels"], ["l"]),
    ):
        model.graph.node.insert(0, node)
    return model


def test_a_classifier_behind_rounding_has_the_gradient_of_the_one_in_it() -> None:
    with pytest.raises(NoGradientError):
        gradient_of(rounded(), straight=False)
    found, passed = gradient_of(rounded(), straight=True)
    assert passed == ["r"]
    np.testing.assert_allclose(found, gradient_of(network(), straight=False)[0], rtol=1e-4, atol=1e-6)


def test_a_threshold_that_jumps_is_no_fault_of_the_gradient() -> None:
    """Between jumps it is a slope, and along a line that crosses some it does not add up to the difference."""
    model = network()
    tensors = [("low", f(128) / f(255)), ("none", f(0))]  # where pixels are
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in tensors)
    model.graph.node[1].input[0] = "kept"
    model.graph.node.insert(1, helper.make_node("Where", ["high", "real", "none"], ["kept"]))
    model.graph.node.insert(1, helper.make_node("Greater", ["real", "low"], ["high"]))
    classifier = read_classifier(model)
    assert [straight.name for straight in classifier.jumps.values() if straight.name] == ["kept"]
    images = np.random.default_rng(0).integers(126, 130, (2, SIDE, SIDE, 3), dtype=np.uint8)
    assert prove(classifier, images)["error"] is None
