"""Classifiers as others export them: real ONNX graphs, run by ONNX Runtime."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper
from onnxruntime import InferenceSession

from f2at.attacks import ATTACKS, CountingTarget
from f2at.attacks.target import has_gradients
from f2at.attacks.targets.onnx_classifier import OnnxClassifier

PIXELS = 3 * 4 * 5  # images of 4 x 5
MEAN, STD = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def session(
    dtype: str = "FLOAT", shape: Sequence[Any] = ("N", 3, 4, 5), *, classes: int = 4, names: Sequence[str] = ("logits",)
) -> InferenceSession:
    """A linear classifier of flattened images; a second output is its softmax."""
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], [names[0]]),
        *(helper.make_node("Softmax", [names[0]], [name]) for name in names[1:]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", getattr(TensorProto, dtype), shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (shape[0], classes)) for name in names],
        [numpy_helper.from_array(weights(classes, features=math.prod(shape[1:])), "weight")],
    )
    return load(graph)


def small(operator: str, shape: Sequence[Any], kind: int = TensorProto.FLOAT, **attributes: Any) -> InferenceSession:
    """One operator on flattened images of free shape, and the shape of its output."""
    weighted = operator == "MatMul"
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node(operator, ["flat", "weight"] if weighted else ["flat"], ["answer"], **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        operator,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", "A", "B", "C"])],
        [helper.make_tensor_value_info("answer", kind, shape)],
        [numpy_helper.from_array(weights(), "weight")] if weighted else [],
    )
    return load(graph)


def load(graph: Any) -> InferenceSession:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    return InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def weights(classes: int = 4, *, features: int = PIXELS) -> np.ndarray:
    return rng(7).standard_normal((features, classes)).astype(np.float32)


@pytest.fixture
def inputs() -> np.ndarray:
    """Seven images (7, 3, 4, 5), not on the 8-bit grid."""
    return rng().random((7, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("batch", ["N", 1, 3, 7, 10])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["UINT8", "FLOAT", "FLOAT16", "DOUBLE"])
def test_every_layout(inputs: np.ndarray, dtype: str, layout: str, batch: Any) -> None:
    shape = (batch, 3, 4, 5) if layout == "NCHW" else (batch, 4, 5, 3)
    target = OnnxClassifier(session(dtype, shape))
    assert (target.layout, target.size, target.classes) == (layout, (4, 5), 4)
    levels = np.round(inputs * 255)
    images = levels if dtype == "UINT8" else levels / 255
    images = images if layout == "NCHW" else images.transpose(0, 2, 3, 1)
    found = target.logits(inputs)
    assert found.dtype == np.float32
    tolerance = 2e-2 if dtype == "FLOAT16" else 1e-4
    np.testing.assert_allclose(found, images.reshape(7, -1) @ weights(), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(target.logits(levels.astype(np.float32) / 255), found)  # snapped to the grid
    assert target.logits(inputs[:0]).shape == (0, 4)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_preprocessing_is_per_channel(inputs: np.ndarray, layout: str) -> None:
    shape = ("N", 3, 4, 5) if layout == "NCHW" else ("N", 4, 5, 3)
    inputs = np.round(inputs * 255).astype(np.float32) / 255
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (MEAN, STD))
    for arguments, images in (
        ({"mean": MEAN, "std": STD}, (inputs - mean) / std),
        ({"mean": 0.5, "std": 0.5}, 2 * inputs - 1),
        ({"scale": 255.0}, 255 * inputs),
        ({"scale": 255.0, "mean": 127.5, "std": 127.5}, 2 * inputs - 1),
    ):
        flat = (images if layout == "NCHW" else images.transpose(0, 2, 3, 1)).reshape(7, -1)
        found = OnnxClassifier(session("FLOAT", shape), **arguments).logits(inputs)
        np.testing.assert_allclose(found, flat @ weights(), rtol=1e-4, atol=1e-3)


def test_the_caller_names_one_of_several_outputs(inputs: np.ndarray) -> None:
    two = session(names=("logits", "probabilities"))
    assert OnnxClassifier(two, output="logits").logits(inputs).min() < 0
    np.testing.assert_allclose(OnnxClassifier(two, output="probabilities").logits(inputs).sum(1), 1, rtol=1e-5)


def test_the_caller_says_what_the_graph_leaves_open(inputs: np.ndarray) -> None:
    free = small("MatMul", ("N", "K"))
    target = OnnxClassifier(free, layout="NHWC", size=(4, 5))
    assert (target.classes, target.size) == (4, (4, 5))
    levels = np.round(inputs * 255) / 255
    expected = levels.transpose(0, 2, 3, 1).reshape(7, -1) @ weights()
    np.testing.assert_allclose(target.logits(inputs), expected, rtol=1e-4, atol=1e-4)
    assert OnnxClassifier(free, layout="NCHW", size=(5, 4)).size == (5, 4)
    for arguments, reason in (
        ({}, "layout must be given"),
        ({"layout": "NCHW"}, r"size must be given, \(H, W\), for an input \['N', 'A', 'B', 'C'\]"),
        ({"layout": "NCHW", "size": (6, 6)}, r"cannot classify a grey image of size \(6, 6\)"),
        ({"layout": "HWC"}, "layout must be one of NCHW, NHWC; got 'HWC'"),
    ):
        with pytest.raises(ValueError, match=reason):
            OnnxClassifier(free, **arguments)


@pytest.mark.parametrize(
    ("model", "arguments", "reason"),
    [
        ({"shape": ("N", PIXELS)}, {}, "input 'images' must have 4 dimensions"),
        ({"shape": ("N", 1, 4, 5)}, {}, r"layout must be given for an input \['N', 1, 4, 5\], .* 3 channels"),
        ({"shape": ("N", 1, 4, 5)}, {"layout": "NCHW"}, "layout must give 3 channels"),
        ({"shape": ("N", 3, 4, 3)}, {}, "layout must be given"),
        ({"dtype": "INT64"}, {}, r"must be one of tensor\(uint8\), .*; got tensor\(int64\)"),
        ({"names": ("a", "b")}, {}, "output must be given for a model with several: a, b"),
        ({"names": ("a", "b")}, {"output": "c"}, "output must be one of a, b; got 'c'"),
        ({}, {"size": (5, 4)}, r"size must be that of the input \['N', 3, 4, 5\]; got \(5, 4\)"),
        ({}, {"std": 0.0}, "scale and std must be > 0"),
        ({}, {"scale": -1.0}, "scale and std must be > 0"),
        ({}, {"mean": (0.5, 0.5)}, "mean must be one finite number, or one for each of 3 channels"),
        ({"dtype": "UINT8"}, {"scale": 255.0}, "must be left out for a model that takes uint8"),
        ({"classes": 1}, {}, "must hold at least 2 classes; got 1"),
    ],
)
def test_what_does_not_fit_is_named(model: dict[str, Any], arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OnnxClassifier(session(**model), **arguments)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (small("ArgMax", ["N"], TensorProto.INT64, axis=1, keepdims=0), r"got int64 \(1,\) for 1 images"),
        (small("ReduceMax", [], keepdims=0), r"got float32 \(\) for 1 images"),
    ],
)
def test_an_output_that_is_no_logits_is_named(model: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r"output 'answer' must be floats \(N, classes\); " + reason):
        OnnxClassifier(model, layout="NCHW", size=(4, 5))


def test_two_inputs_are_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 4, 5]) for name in "ab"],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["N", 3, 4, 5])],
    )
    with pytest.raises(ValueError, match="the model must take one input, images; it takes a, b"):
        OnnxClassifier(load(graph))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 3, 4, 5\) for this model; got \(2, 3, 5, 5\)"):
        OnnxClassifier(session()).logits(np.zeros((2, 3, 5, 5), np.float32))


def test_it_has_no_gradients(inputs: np.ndarray) -> None:
    target = OnnxClassifier(session())
    assert not has_gradients(target)
    assert not has_gradients(CountingTarget(target).target)
    labels = target.logits(inputs).argmax(1)
    with pytest.raises(ValueError, match=r"no gradients: .* \(square, rays, hopskipjump\) or a surrogate"):
        ATTACKS["pgd"].run(target, inputs, labels, eps=0.1, norm="linf", rng=rng())


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.knowledge == "black-box"])
@pytest.mark.parametrize("batch", ["N", 4])
def test_black_box_attacks_break_it(inputs: np.ndarray, name: str, batch: Any) -> None:
    target = CountingTarget(OnnxClassifier(session("UINT8", (batch, 4, 5, 3))))
    labels = target.logits(inputs).argmax(1)
    attack = ATTACKS[name].override(queries=400)
    found = attack.run(target, inputs, labels, eps=0.25, norm="linf", rng=rng())
    assert (target.logits(found).argmax(1) != labels).mean() > 0.8
