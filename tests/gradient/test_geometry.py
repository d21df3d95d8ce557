"""Convolutions of any geometry, and what is written to keep ONNX Runtime in its blocked layout."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from f2at.gradient.reverse import vector_jacobian
from tests.gradient.test_rules import run

_PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=80)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    strides=_PAIRS,
    dilations=_PAIRS,
    groups=st.sampled_from([1, 2, 8]),
)
def test_the_gradient_of_a_convolution_is_its_adjoint(
    size: tuple[int, int],
    kernel: tuple[int, int],
    pads: tuple[int, int, int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    groups: int,
) -> None:
    """<v, A x> = <A^T v, x>, for channels that fill a block and others."""
    reach = [(kernel[k] - 1) * dilations[k] for k in range(2)]
    free = [size[k] + pads[k] + pads[2 + k] - reach[k] - 1 for k in range(2)]
    assume(min(free) >= 0)
    assume(all(free[k] // strides[k] * strides[k] + reach[k] + 1 > pads[k] for k in range(2)))  # it sees the image
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 8 // groups, *kernel)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=pads, strides=strides, dilations=dilations, group=groups)],
        "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    x = rng.normal(size=(2, 8, *size)).astype(np.float32)
    (y,) = run(model, {"x": x})
    v = rng.normal(size=y.shape).astype(np.float32)
    _, gradient = run(vector_jacobian(model), {"x": x, "cotangent": v})
    scale = np.linalg.norm(gradient) * np.linalg.norm(x)
    pairs = float(np.vdot(gradient, x)), float(np.vdot(v, y))
    np.testing.assert_allclose(*pairs, atol=1e-6 * float(scale))


@pytest.mark.parametrize("channels", [3, 16])
def test_the_gradient_of_relu_is_exact_from_the_smallest_activations_to_the_largest(channels: int) -> None:
    x = np.array([-1, 0.0, 1e-28, 1e-7, 1.0, 1e8, 3e38], np.float32)
    images = np.broadcast_to(x, (1, channels, 1, len(x)))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *images.shape[1:]]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "case", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    _, gradient = run(vector_jacobian(model), {"x": images, "cotangent": np.full_like(images, 5)})
    assert np.array_equal(gradient, np.broadcast_to([0, 0, 5, 5, 5, 5, 5], images.shape))
