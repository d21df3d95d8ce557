"""Every rule against central differences of ONNX's own reference implementation, in float64, in every element."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from f2at.gradient.builder import UnsupportedOperationError
from f2at.gradient.reverse import vector_jacobian
from f2at.gradient.rules import RULES

RNG = np.random.default_rng(7)
IMAGE = (2, 4, 6, 5)  # a batch of two


def weights(*shape: int) -> NDArray[np.float64]:
    return RNG.normal(size=shape)


@dataclass(frozen=True)
class Case:
    """One operation on images x: its inputs are "x", "other" (cos(x) + 1.5), "" or constants."""

    operation: str
    inputs: tuple[Any, ...] = ("x",)
    shape: tuple[int, ...] = IMAGE
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    positive: bool = False
    span: tuple[float, float] | None = None  # where x lies
    fixed: bool = False  # the batch of the graph's input
    step: float = 1e-5  # larger where the reference rounds to float32
    opset: int = 20

    def __str__(self) -> str:
        return "-".join([self.operation, *(f"{name}={value}" for name, value in self.attributes.items())])

    def model(self, dtype: type) -> onnx.ModelProto:
        """The graph in float32 or float64; its output is the sum of all outputs, each scaled otherwise."""
        real = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        names, constants, nodes = [], [], []
        for index, value in enumerate(self.inputs):
            name = value if isinstance(value, str) else f"constant_{index}"
            if isinstance(value, np.ndarray):
                array = value.astype(dtype) if value.dtype == np.float64 else value
                constants.append(numpy_helper.from_array(array, name))
            names.append(name)
        if "other" in names:
            constants.append(numpy_helper.from_array(np.asarray(1.5, dtype), "shift"))
            nodes.append(helper.make_node("Cos", ["x"], ["cosine"]))
            nodes.append(helper.make_node("Add", ["cosine", "shift"], ["other"]))
        attributes = dict(self.attributes)
        if self.operation == "GroupNormalization":
            attributes["stash_type"] = real  # it would round to float32
        results = ["y", *(f"y_{index}" for index in range(1, self.outputs))]
        nodes.append(helper.make_node(self.operation, names, results, **attributes))
        if self.operation == "Split":
            nodes[-1].output[0] = "y_0"
            constants.append(numpy_helper.from_array(np.asarray(2, dtype), "two"))
            nodes.append(helper.make_node("Mul", [results[1], "two"], ["twice"]))
            nodes.append(helper.make_node("Concat", ["y_0", "twice"], ["y"], axis=self.attributes["axis"]))
        graph = helper.make_graph(
            nodes,
            "case",
            [helper.make_tensor_value_info("x", real, [self.shape[0] if self.fixed else "N", *self.shape[1:]])],
            [helper.make_tensor_value_info("y", real, None)],
            constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)


def cases() -> list[Case]:
    elementwise = [
        "Identity Relu LeakyRelu ThresholdedRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign",
        "Mish Neg Abs Exp Reciprocal Sin Cos Sinh Cosh Atan Asinh GlobalAveragePool GlobalMaxPool Softmax LogSoftmax",
    ]
    vector = weights(4, 1, 1)
    integers = np.array
    return [
        *(Case(name) for name in " ".join(elementwise).split()),
        Case("Dropout"),
        Case("Erf", step=3e-3),
        Case("Gelu", step=3e-3),
        Case("Gelu", attributes={"approximate": "tanh"}),
        Case("PRelu", ("x", vector)),
        Case("Clip", ("x", np.array(-0.5), np.array(0.7))),
        Case("Clip", ("x", "", np.array(0.7))),
        *(Case(name, positive=True) for name in ("Log", "Sqrt")),
        *(Case(name, span=(-0.9, 0.9)) for name in ("Tan", "Asin", "Acos", "Atanh")),
        Case("Acosh", span=(1.1, 4)),
        *(Case(name, ("x", "other")) for name in ("Add", "Sum", "Mean", "Sub", "Mul", "Div", "Max", "Min")),
        *(Case(name, ("x", vector)) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
        *(Case(name, (weights(3, 1, 1, 1, 1), "x")) for name in ("Add", "Sub", "Mul", "Div")),
        Case("Mod", ("x", np.array(2.5)), attributes={"fmod": 1}, span=(0.1, 2.4)),
        Case("Pow", ("x", np.array(2.0))),
        Case("Pow", ("x", np.array([0.0, 1.0, 2.5, -1.5]).reshape(4, 1, 1)), positive=True),
        Case("Where", (RNG.random((4, 1, 1)) > 0.5, "x", "other")),
        Case("Softmax", attributes={"axis": 1}),
        Case("LogSoftmax", attributes={"axis": 1}),
        Case("MatMul", ("x", weights(5, 3))),
        Case("MatMul", (weights(3, 6), "x")),
        Case("MatMul", (weights(7, 1, 1, 3, 6), "x")),
        Case("MatMul", ("x", weights(5))),
        Case("MatMul", (weights(6), "x")),
        Case("MatMul", ("x", "other"), shape=(2, 4, 3, 3)),
        Case("Gemm", ("x", weights(6, 3), weights(3)), shape=(2, 6), attributes={"alpha": 0.5}),
        Case("Gemm", ("x", weights(3, 6), weights(3)), shape=(2, 6), attributes={"transB": 1}),
        Case("Einsum", ("x", weights(4, 5, 3)), attributes={"equation": "nchw, cwk -> nhk"}),
        Case("Einsum", ("x", "other"), attributes={"equation": "nchw,ndhw->ncd"}),
        Case("Conv", ("x", weights(6, 4, 3, 3), weights(6)), attributes={"pads": [1, 1, 1, 1]}),
        Case("Conv", ("x", weights(6, 4, 3, 2)), attributes={"strides": [2, 2]}),
        Case("Conv", ("x", weights(6, 4, 3, 2)), attributes={"strides": [3, 2], "pads": [2, 0, 1, 1]}),
        Case("Conv", ("x", weights(6, 2, 3, 3)), attributes={"group": 2, "pads": [1, 0, 1, 0], "strides": [2, 1]}),
        Case("Conv", ("x", weights(4, 1, 3, 3)), attributes={"group": 4, "pads": [0, 2, 1, 2]}),
        Case("Conv", ("x", weights(6, 4, 1, 1)), attributes={"pads": [1, 1, 1, 1]}),
        Case("Conv", ("x", weights(3, 4, 2, 2)), attributes={"dilations": [2, 3], "pads": [1, 1, 1, 1]}),
        Case("Conv", ("x", weights(3, 4, 3, 3)), attributes={"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        Case("Conv", ("x", weights(3, 4, 2, 3)), attributes={"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
        Case("Conv", ("x", weights(3, 4, 3)), shape=(2, 4, 9), attributes={"strides": [2]}),
        Case("ConvTranspose", ("x", weights(4, 3, 3, 3)), attributes={"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        Case("ConvTranspose", ("x", weights(4, 3, 2, 2)), attributes={"strides": [2, 2], "output_padding": [1, 1]}),
        Case("AveragePool", attributes={"kernel_shape": [2, 3], "strides": [2, 1]}),
        Case("AveragePool", attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
        Case("AveragePool", attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        Case("AveragePool", attributes={"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
        Case("MaxPool", attributes={"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
        Case("MaxPool", attributes={"kernel_shape": [3, 3], "strides": [1, 1]}),
        Case("LpPool", attributes={"kernel_shape": [2, 2], "strides": [2, 1]}),
        Case("LpPool", attributes={"kernel_shape": [2, 2], "p": 3}),
        *(
            Case(name, ("x", integers([1, -1])), attributes={"keepdims": keep}, positive=name == "ReduceLogSumExp")
            for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSumExp")
            for keep in (0, 1)
        ),
        Case("ReduceSumSquare", ("x", integers([2]))),
        Case("ReduceMean", attributes={"axes": [2, 3]}, opset=13),
        Case("BatchNormalization", ("x", weights(4), weights(4), weights(4), np.abs(weights(4)))),
        Case("LayerNormalization", ("x", weights(5), weights(5))),
        Case("LayerNormalization", ("x", weights(6, 5)), attributes={"axis": 2}),
        Case("InstanceNormalization", ("x", weights(4), weights(4))),
        Case("GroupNormalization", ("x", weights(4), weights(4)), attributes={"num_groups": 2}, opset=21),
        # The reference counts channels by the batch, so that both must be as many.
        Case("LRN", attributes={"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.2}, shape=(4, 4, 3, 2)),
        Case("LpNormalization", attributes={"axis": 1}),
        Case("LpNormalization", attributes={"axis": 1, "p": 1}, positive=True),
        Case("Reshape", ("x", integers([0, -1]))),
        Case("Flatten"),
        Case("Unsqueeze", ("x", integers([1, 3]))),
        Case("Squeeze", ("x", integers([1])), shape=(2, 1, 3)),
        Case("Transpose", attributes={"perm": [0, 3, 1, 2]}),
        Case("Transpose", shape=(2, 3)),
        Case("Expand", ("x", integers([3, 1, 4, 1, 5])), shape=(2, 4, 1, 5)),
        Case("Expand", ("x", integers([1, 4, 3, 5])), shape=(2, 4, 1, 5)),
        Case("Tile", ("x", integers([1, 2, 1, 3]))),
        Case("Concat", ("x", "other", weights(2, 1, 6, 5)), attributes={"axis": 1}, fixed=True),
        Case("Split", ("x", integers([1, 3])), attributes={"axis": 1}, outputs=2),
        Case("Slice", ("x", integers([1, 0]), integers([3, 9]), integers([1, 2]))),
        Case("Slice", ("x", integers([0, -1]), integers([4, -9]), integers([1, 2]), integers([2, -2]))),
        Case("Col2Im", ("x", integers([5, 6]), integers([2, 3])), shape=(2, 12, 16)),
        Case(
            "Col2Im",
            ("x", integers([6, 5]), integers([2, 2])),
            shape=(2, 4, 15),
            attributes={"strides": [2, 1], "dilations": [2, 1], "pads": [1, 0, 1, 1]},
        ),
        Case("Pad", ("x", integers([0, 0, 1, 2, 0, 0, 0, 1]))),
        Case("Pad", ("x", integers([1, 1, 0, 2]), "", integers([2, 3]))),
        Case("Pad", ("x", integers([0, 0, 1, 2, 0, 0, 2, 1])), attributes={"mode": "reflect"}),
        Case("Pad", ("x", integers([0, 1, 1, 0, 0, 0, 2, 1])), attributes={"mode": "edge"}),
        Case("DepthToSpace", attributes={"blocksize": 2}, shape=(2, 8, 2, 3)),
        Case("DepthToSpace", attributes={"blocksize": 2, "mode": "CRD"}, shape=(2, 8, 2, 3)),
        Case("SpaceToDepth", attributes={"blocksize": 2}, shape=(2, 2, 4, 6)),
        Case("CumSum", ("x", integers(1))),
        Case("CumSum", ("x", integers(2)), attributes={"reverse": 1, "exclusive": 1}),
        Case("Trilu", attributes={"upper": 0}),
        Case("Gather", ("x", integers(-2)), attributes={"axis": 1}),
        Case("Gather", ("x", integers([2, 0])), attributes={"axis": 1}),
        Case("Gather", ("x", integers([[2, 0, 2], [1, -1, 0]])), attributes={"axis": 2}),
        Case("GatherElements", ("x", RNG.integers(0, 4, (2, 3, 6, 5))), attributes={"axis": 1}),
        Case("GatherND", ("x", integers([[0, 1], [1, 2], [0, 1]]))),
        Case("GatherND", ("x", integers([[[0, 1], [2, -1], [0, 1]]] * 2)), attributes={"batch_dims": 1}, fixed=True),
        Case("GatherND", ("x", integers([[[1], [-2], [0], [5]]] * 2)), attributes={"batch_dims": 2}, fixed=True),
        Case("ScatterND", ("x", integers([[0, 1], [1, 2]]), weights(2, 6, 5))),
        Case("ScatterND", (weights(2, 4, 6, 5), integers([[1], [0]]), "x"), fixed=True),
        Case("ScatterElements", ("x", RNG.integers(0, 1, (2, 1, 6, 5)), weights(2, 1, 6, 5)), attributes={"axis": 1}),
        Case("TopK", ("x", integers([2])), attributes={"axis": 1}, outputs=2),
        *(
            Case("Resize", ("x", "", "", integers([2, 4, 9, 4])), attributes={"mode": mode}, fixed=True)
            for mode in ("nearest", "linear", "cubic")
        ),
        Case(
            "Resize",
            ("x", "", np.array([1, 1, 2, 1.6], np.float32)),
            attributes={"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        ),
        Case(
            "Resize", ("x", "", "", integers([2, 4, 4, 9])), attributes={"mode": "linear", "antialias": 1}, fixed=True
        ),
    ]


FLAT = {
    *("Sign", "Floor", "Ceil", "Round", "ArgMax", "ArgMin", "Equal"),
    *("Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    *("Bernoulli", "Multinomial"),
    *("And", "Or", "Xor", "Not", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "IsNaN", "IsInf"),
}
# Operations without a rule of their own, which ONNX defines by others.
COMPOSED = [
    Case("Attention", ("x", "other", "x"), opset=23),
    Case("Attention", ("x", "other", "x"), attributes={"is_causal": 1}, opset=23),
    Case("Attention", ("x", "other", "other", weights(6, 6)), attributes={"softcap": 2.0, "scale": 0.3}, opset=23),
    Case(
        "Attention",
        ("x", "other", "x"),
        shape=(2, 6, 8),
        attributes={"q_num_heads": 2, "kv_num_heads": 2},
        opset=23,
    ),
    Case("RMSNormalization", ("x", weights(5)), attributes={"axis": -1}, opset=23),
    Case("RotaryEmbedding", ("x", weights(2, 6, 2), weights(2, 6, 2)), shape=(2, 4, 6, 4), fixed=True, opset=23),
    Case("Shrink", attributes={"lambd": 0.5, "bias": 0.5}),
    Case("ReduceLogSum", ("x", np.array([2])), positive=True),
    Case("CenterCropPad", ("x", np.array([4, 7])), attributes={"axes": [2, 3]}),
    Case("CastLike", ("x", weights(1))),
    Case("Swish", attributes={"alpha": 1.5}, opset=24),
]
# Passed straight through, where no difference can follow.
ROUNDING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}
RECURRENT = {"LSTM", "GRU", "RNN"}  # in test_recurrent


def run(model: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


@pytest.mark.parametrize("case", [*cases(), *COMPOSED], ids=str)
def test_the_gradient_is_that_of_central_differences(case: Case) -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=case.shape)
    if case.positive:
        x = np.abs(x) + 0.1
    if case.span:
        x = rng.uniform(*case.span, case.shape)
    graph = vector_jacobian(case.model(np.float32))
    onnx.checker.check_model(graph)
    reference = ReferenceEvaluator(case.model(np.float64))

    def forward(images: NDArray[np.float64]) -> NDArray[np.float64]:
        outputs: list[Any] = list(reference.run(["y"], {"x": images}))
        return np.asarray(outputs[0])

    y = forward(x)
    v = rng.normal(size=y.shape)
    _, gradient = run(graph, {"x": x.astype(np.float32), "cotangent": v.astype(np.float32)})

    expected, h = np.empty(x.size), case.step
    for index in range(x.size):
        step = np.zeros(x.size)
        step[index] = h
        above, below = (forward(x + sign * step.reshape(x.shape)) for sign in (1, -1))
        expected[index] = ((above - below) * v).sum() / (2 * h)
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(gradient.ravel(), expected, atol=2e-5 * scale, rtol=1e-4)


@pytest.mark.parametrize(
    "case",
    [
        Case("ConvTranspose", ("x", weights(4, 2, 3, 3)), attributes={"group": 2}),
        Case("ConvTranspose", ("x", weights(4, 2, 3, 2)), attributes={"strides": [2, 3], "group": 2}),
        Case("Pad", ("x", np.array([1, -1, -2, 2]), "", np.array([2, 3]))),
        Case("Conv", ("x", weights(6, 2, 3, 3)), attributes={"group": 2, "dilations": [2, 1], "strides": [2, 2]}),
    ],
    ids=str,
)
def test_of_a_linear_operation_it_is_the_adjoint(case: Case) -> None:
    """What ONNX's reference cannot run: <v, A x> = <A^T v, x> for every x and v."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=case.shape).astype(np.float32)
    (y,) = run(case.model(np.float32), {"x": x})
    v = rng.normal(size=y.shape).astype(np.float32)
    _, gradient = run(vector_jacobian(case.model(np.float32)), {"x": x, "cotangent": v})
    np.testing.assert_allclose((gradient * x).sum(), (v * y).sum(), rtol=1e-4)


_ADDED = {"MaxPool", "Gather", "GatherElements", "GatherND", "TopK"}  # their gradients are added up at places


@pytest.mark.parametrize("case", [case for case in cases() if case.operation in _ADDED], ids=str)
def test_gradients_that_are_added_up_are_so_in_float16_too(case: Case) -> None:
    """ONNX Runtime loads such a sum, and fails when it runs."""
    rng = np.random.default_rng(3)
    levels = np.arange(np.prod(case.shape)) / 64  # no ties, and nothing to round
    x = rng.permutation(levels).reshape(case.shape).astype(np.float16)
    v = rng.normal(size=run(case.model(np.float32), {"x": x.astype(np.float32)})[0].shape).astype(np.float16)
    found, expected = (
        run(vector_jacobian(case.model(real)), {"x": x.astype(real), "cotangent": v.astype(real)})[1]
        for real in (np.float16, np.float32)
    )
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_a_cast_is_undone_to_the_type_of_the_images(dtype: type) -> None:
    """Of w cast(x) it is v w, in the images' own type or, for 8-bit images, in float32."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    w = weights(4, 1, 1).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["real", "w"], ["y"]),
        ],
        "case",
        [helper.make_tensor_value_info("x", kind, ["N", *IMAGE[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    v = np.random.default_rng(2).normal(size=IMAGE).astype(np.float32)
    _, gradient = run(vector_jacobian(model), {"x": np.ones(IMAGE, dtype), "cotangent": v})
    assert gradient.dtype == (np.float32 if dtype is np.uint8 else dtype)
    np.testing.assert_allclose(gradient, (v * w).astype(gradient.dtype), rtol=1e-6)


def test_softmax_before_opset_13_is_over_all_axes_from_its_axis_on() -> None:
    rng = np.random.default_rng(5)
    x, v = (rng.normal(size=IMAGE).astype(np.float32) for _ in range(2))
    graph = vector_jacobian(Case("Softmax", attributes={"axis": 1}, opset=11).model(np.float32))
    _, gradient = run(graph, {"x": x, "cotangent": v})
    flat, weight = x.reshape(2, -1).astype(np.float64), v.reshape(2, -1)
    y = np.exp(flat) / np.exp(flat).sum(axis=1, keepdims=True)
    expected = y * (weight - (weight * y).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(gradient.reshape(2, -1), expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case("Conv", ("x", "other"), shape=(2, 2, 3, 3), fixed=True), "Conv with a kernel that is computed"),
        (Case("Einsum", ("x", weights(4, 5, 3)), attributes={"equation": "nchw,cwk->nk"}), "Einsum 'nchw,cwk->nk'"),
        (Case("Det", shape=(2, 3, 3)), "ai.onnx.Det"),
    ],
    ids=str,
)
def test_what_has_no_rule_is_named(case: Case, said: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=said):
        vector_jacobian(case.model(np.float32))


def test_what_is_constant_between_its_jumps_passes_nothing_on() -> None:
    """Of x + floor(x) the gradient is that of x alone."""
    nodes = [helper.make_node("Floor", ["x"], ["steps"]), helper.make_node("Add", ["x", "steps"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "case", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    x, v = (np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32) for seed in (1, 2))
    np.testing.assert_array_equal(run(vector_jacobian(model), {"x": x, "cotangent": v})[1], v)


def test_every_rule_has_a_case() -> None:
    assert set(RULES) - FLAT - ROUNDING - RECURRENT - {"Cast"} == {case.operation for case in cases()}


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_rounding_to_integers_passes_straight_through(kind: type, axis: int | None) -> None:
    """Inside the integers' range the gradient of round(x / s) s is that of x; outside it is none."""
    scale = np.float32(0.01) if axis is None else np.linspace(0.005, 0.02, IMAGE[1], dtype=np.float32)
    zero = np.full(np.shape(scale), 10, kind)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=axis),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *IMAGE[1:]]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(np.asarray(scale), "scale"), numpy_helper.from_array(zero, "zero")]
    graph = helper.make_graph(nodes, "case", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    x, v = (np.random.default_rng(seed).normal(size=IMAGE).astype(np.float32) for seed in (1, 2))
    _, gradient = run(vector_jacobian(model), {"x": x, "cotangent": v})
    steps, bounds = np.reshape(scale, (-1, 1, 1)), np.iinfo(kind)
    inside = (x > (bounds.min - 10) * steps) & (x <= (bounds.max - 10) * steps)
    assert 0.1 < inside.mean() < 0.95
    np.testing.assert_allclose(gradient, np.where(inside, v, 0), rtol=1e-6)


@pytest.mark.parametrize(
    ("operation", "shape", "zero", "attributes"),
    [
        ("MatMul", (5, 4), None, {}),
        ("MatMul", (5, 4), 7, {}),
        ("MatMul", (5, 4), [3, 0, 9, 1], {}),
        ("MatMul", (2, 3, 5, 4), 7, {}),
        ("Conv", (4, 3, 3, 3), None, {}),
        ("Conv", (4, 3, 3, 3), [7], {}),
        ("Conv", (4, 3, 3, 2), 7, {"strides": [2, 1], "pads": [1, 0, 1, 1]}),
        ("Conv", (6, 1, 3, 3), 7, {"group": 3, "strides": [2, 2]}),
    ],
)
def test_products_of_integers_are_those_of_what_they_stand_for(
    operation: str, shape: tuple[int, ...], zero: int | list[int] | None, attributes: dict[str, Any]
) -> None:
    """What `quantize_dynamic` writes for y = A x: the gradient is A^T v, whatever x was rounded to."""
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 16, shape, dtype=np.uint8)
    point = np.asarray(0 if zero is None else zero)
    floats = integers - point.astype(float)
    given = [] if zero is None else [numpy_helper.from_array(point.astype(np.uint8), "point")]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node(
            f"{operation}Integer", ["q", "weight", "zero", *(one.name for one in given)], ["sums"], **attributes
        ),
        helper.make_node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["y"]),
    ]
    x_shape = (2, 3, 6, 5)
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)]
    answer = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "case", values, answer, [numpy_helper.from_array(integers, "weight"), *given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    x = rng.normal(size=x_shape).astype(np.float32)
    plain = Case(operation, ("x", floats), attributes=attributes, shape=x_shape, fixed=True).model(np.float32)
    (y,) = run(plain, {"x": x})
    v = rng.normal(size=y.shape).astype(np.float32)
    _, expected = run(vector_jacobian(plain), {"x": x, "cotangent": v})
    _, gradient = run(vector_jacobian(model), {"x": x, "cotangent": v})
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
