"""Graphs as others export them, made the two graphs of a bundle, against the same network in numpy."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from f2at.attacks.objectives import OBJECTIVES
from f2at.bundle.weights import Slim
from f2at.gradient.batch import chunks
from f2at.gradient.classifier import Classifier, classifier_graph, gradient_graph, read_classifier
from f2at.gradient.trace import quiet_session
from tests.gradient.networks import CLASSES, HEAD, SIDE, logits_of, network

MEAN, STD = np.array([0.4, 0.5, 0.3]), np.array([0.2, 0.3, 0.25])
IMAGES = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
LEVELS = IMAGES.transpose(0, 3, 1, 2).astype(np.float64)  # (N, 3, H, W)
LABELS, TARGETS = np.array([0, 1, 2, 3]), np.array([1, 2, 3, 0])
MARGIN = OBJECTIVES.index("logit_difference")


def run(graph: Slim, feeds: dict[str, NDArray[Any]], batch: int | None) -> list[NDArray[Any]]:
    onnx.checker.check_model(graph.whole())
    session = quiet_session(graph)
    parts = zip(*(chunks(value, batch or len(value)) for value in feeds.values()), strict=True)
    answers = [session(None, dict(zip(feeds, part, strict=True))) for part in parts]
    return [np.concatenate(one)[: len(IMAGES)] for one in zip(*answers, strict=True)]


def check(classifier: Classifier, forward: Any, tolerance: float = 1e-5) -> None:
    """Logits and the gradient of z_t - z_y against `forward`, from levels (N, 3, H, W) to logits in float64."""
    expected = forward(LEVELS)
    (logits,) = run(classifier_graph(classifier), {"images": IMAGES}, classifier.batch)
    np.testing.assert_allclose(logits, expected, rtol=tolerance, atol=tolerance)
    labels, targets = (values % classifier.classes for values in (LABELS, TARGETS))
    weights = np.zeros((len(IMAGES), len(OBJECTIVES)), np.float32)
    weights[:, MARGIN] = 1
    feeds = {"images": (LEVELS / 255).astype(np.float32), "labels": labels, "targets": targets, "weights": weights}
    again, _, gradient = run(gradient_graph(classifier), feeds, classifier.batch)
    np.testing.assert_allclose(again, expected, rtol=tolerance, atol=tolerance)

    def objective(levels: NDArray[np.float64]) -> NDArray[np.float64]:
        z, rows = forward(levels), np.arange(len(levels))
        return np.asarray(z[rows, targets] - z[rows, labels])

    step = 1e-3
    for place in ((0, 0, 0), (1, 2, 3), (2, 5, 5), (0, 3, 1)):
        change = np.zeros_like(LEVELS)
        change[:, *place] = step
        slope = 255 * (objective(LEVELS + change) - objective(LEVELS - change)) / (2 * step)
        np.testing.assert_allclose(gradient[:, *place], slope, rtol=50 * tolerance, atol=50 * tolerance)


def normalised(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((levels / 255 - MEAN[:, None, None]) / STD[:, None, None])


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(TensorProto.FLOAT, 1e-5), (TensorProto.FLOAT16, 4e-3)],
    ids=["float32", "float16"],
)
def test_floats(dtype: int, tolerance: float) -> None:
    classifier = read_classifier(network(dtype=dtype), mean=MEAN.tolist(), std=STD.tolist())
    check(classifier, lambda levels: logits_of(normalised(levels)), tolerance)


def test_doubles() -> None:
    """ONNX Runtime has no convolution of them on a CPU."""
    weight = np.random.default_rng(3).normal(size=(3 * SIDE * SIDE, CLASSES)) / 10
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    check(read_classifier(model), lambda levels: (levels / 255).reshape(len(levels), -1) @ weight)


def test_channels_last_blue_first() -> None:
    model = network(shape=("N", SIDE, SIDE, 3))
    classifier = read_classifier(model, channels="bgr", mean=MEAN.tolist(), std=STD.tolist())
    check(classifier, lambda levels: logits_of(normalised(levels)[:, ::-1]))


def test_levels_as_floats() -> None:
    classifier = read_classifier(network(), scale=255, mean=[100, 110, 120], std=60)
    check(classifier, lambda levels: logits_of((levels - np.array([100, 110, 120])[:, None, None]) / 60))


@pytest.mark.parametrize("shape", [("N", 3, SIDE, SIDE), ("N", SIDE, SIDE, 3)])
def test_8_bit_pixels(shape: tuple[Any, ...]) -> None:
    head = HEAD / 255
    check(
        read_classifier(network(dtype=TensorProto.UINT8, shape=shape, head=head)),
        lambda levels: logits_of(levels, head),
    )


def test_grey_images() -> None:
    """A graph of one channel, which repeats it, gets red, green and blue as Pillow weighs them."""
    model = network()
    shape = onnx.numpy_helper.from_array(np.array([1, 3, 1, 1]), "three")
    model.graph.initializer.append(shape)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    model.graph.node[0].input[0] = "all"
    model.graph.node.insert(0, helper.make_node("Tile", ["x", "three"], ["all"]))

    def forward(levels: NDArray[np.float64]) -> NDArray[np.float64]:
        grey = np.tensordot([0.299, 0.587, 0.114], levels / 255, axes=(0, 1))[:, None]
        return logits_of(np.repeat((grey - 0.5) / 0.2, 3, axis=1))

    check(read_classifier(model, mean=0.5, std=0.2), forward)


@pytest.mark.parametrize(
    ("tail", "last"),
    [
        ([], None),
        ([("Softmax", {"axis": 1})], "Softmax"),
        ([("LogSoftmax", {"axis": -1})], "LogSoftmax"),
        ([("Softmax", {}), ("Identity", {})], "Softmax"),
        ([("Softmax", {}), ("Cast", {"to": TensorProto.DOUBLE})], "Softmax"),
    ],
)
@pytest.mark.parametrize("opset", [9, 13, 22])
def test_a_last_softmax_is_taken_off(tail: list[tuple[str, dict[str, Any]]], last: str | None, opset: int) -> None:
    model = network(tail=[(name, {"axis": 1, **kept} if name.endswith("max") else kept) for name, kept in tail])
    model.graph.output[0].type.tensor_type.elem_type = tail[-1][1].get("to", TensorProto.FLOAT) if tail else 1
    model.opset_import[0].version = opset
    classifier = read_classifier(model)
    assert classifier.reading.last == last
    check(classifier, lambda levels: logits_of(levels / 255))


def test_a_softmax_behind_a_reshape_is_taken_off() -> None:
    model = network(tail=[("Softmax", {"axis": 1})])
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, CLASSES, 1, 1]), "wide"))
    model.graph.node.append(helper.make_node("Reshape", ["y1", "wide"], ["last"]))
    model.graph.output[0].name = "last"
    classifier = read_classifier(model)
    assert classifier.reading.last == "Softmax"
    check(classifier, lambda levels: logits_of(levels / 255))


def test_a_softmax_that_is_written_out_is_undone() -> None:
    """Logits are known up to a number for each image: here they are logarithms of probabilities."""
    model = network()
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axes"))
    model.graph.node.extend(
        [
            helper.make_node("Exp", ["y0"], ["e"]),
            helper.make_node("ReduceSum", ["e", "axes"], ["sum"], keepdims=1),
            helper.make_node("Div", ["e", "sum"], ["share"]),
        ]
    )
    model.graph.output[0].name = "share"
    classifier = read_classifier(model)
    assert classifier.reading.inverted

    def forward(levels: NDArray[np.float64]) -> NDArray[np.float64]:
        z = logits_of(levels / 255)
        return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))

    check(classifier, forward)


@pytest.mark.parametrize("tail", [[], [("Sigmoid", {})]])
def test_one_score_is_that_of_the_second_of_two_classes(tail: list[tuple[str, dict[str, Any]]]) -> None:
    head = 20 * HEAD[:, :1]
    classifier = read_classifier(network(tail=tail, head=head))
    assert classifier.classes == 2

    def forward(levels: NDArray[np.float64]) -> NDArray[np.float64]:
        z = logits_of(levels / 255, head)
        return np.concatenate([np.zeros_like(z), z], axis=1)

    check(classifier, forward)


@pytest.mark.parametrize(
    "tail",
    [
        [("HardSigmoid", {})],
        [("Sigmoid", {}), ("Identity", {})],
        [("Sigmoid", {}), ("Flatten", {}), ("Transpose", {"perm": [1, 0]}), ("Transpose", {"perm": [1, 0]})],
    ],
)
def test_several_sigmoids_are_refused_whatever_is_behind_them(tail: list[tuple[str, dict[str, Any]]]) -> None:
    with pytest.raises(ValueError, match="has a sigmoid for each of 4 classes: an image may have several labels"):
        read_classifier(network(tail=tail))


def test_sigmoids_that_are_put_together_are_refused_too() -> None:
    model = network()
    del model.graph.output[:]
    for name in "ab":
        model.graph.node.append(helper.make_node("Sigmoid", ["y0"], [name]))
    model.graph.node.append(helper.make_node("Concat", ["a", "b"], ["both"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("both", TensorProto.FLOAT, None))
    with pytest.raises(ValueError, match="has a sigmoid for each of 8 classes"):
        read_classifier(model)
    assert read_classifier(model, scores="logits").classes == 8  # who insists


def test_a_sigmoid_for_each_class_that_is_written_out_is_asked_about() -> None:
    model = network(tail=[("Neg", {}), ("Exp", {}), ("Add", {}), ("Reciprocal", {})])
    add = next(node for node in model.graph.node if node.op_type == "Add" and len(node.input) == 1)
    add.input.append("one")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    with pytest.raises(ValueError, match=r"scores must be given, logits.* an image may have several labels"):
        read_classifier(model)
    assert read_classifier(model, scores="logits").classes == CLASSES


def test_logits_that_happen_to_lie_between_0_and_1_are_logits() -> None:
    """A network that ends in a ReLU, or whose last layer is zero still."""
    assert read_classifier(network(head=HEAD * 0)).reading.describe() == "as it is"
    assert read_classifier(network(head=HEAD * 1e-3, tail=[("Relu", {})])).reading.describe() == "as it is"


def test_several_outputs_are_named_with_their_shapes() -> None:
    model = network(tail=[("Identity", {})])
    model.graph.node.append(helper.make_node("Concat", ["y0", "y0"], ["features"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 2 * CLASSES]))
    with pytest.raises(ValueError, match=r"\(--output-name\), one of y\d.*, features \(N, 8\); got none"):
        read_classifier(model)


def test_several_sigmoids_are_refused() -> None:
    with pytest.raises(ValueError, match="an image may have several labels"):
        read_classifier(network(tail=[("Sigmoid", {})]))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_of_one_size_is_opened_up(batch: int) -> None:
    classifier = read_classifier(network(shape=(batch, 3, SIDE, SIDE), batch=batch))
    assert classifier.batch is None
    check(classifier, lambda levels: logits_of(levels / 255))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_reshape_that_fixes_the_batch_behind_an_open_input_is_opened_up(batch: int) -> None:
    classifier = read_classifier(network(batch=batch))
    assert classifier.batch is None
    check(classifier, lambda levels: logits_of(levels / 255))


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_that_cannot_be_opened_is_kept(batch: int, stated: bool) -> None:
    """Scores are laid in a line, whose length is that of one batch."""
    model = network(shape=(batch if stated else "N", 3, SIDE, SIDE))
    model.graph.initializer.append(numpy_helper.from_array(np.array([batch, CLASSES]), "wide"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([batch * CLASSES]), "line"))
    model.graph.node.append(helper.make_node("Reshape", ["y0", "line"], ["l"]))
    model.graph.node.append(helper.make_node("Reshape", ["l", "wide"], ["last"]))
    model.graph.output[0].name = "last"
    classifier = read_classifier(model)
    assert classifier.batch == batch
    check(classifier, lambda levels: logits_of(levels / 255))


def test_the_gradient_graph_holds_the_classifiers_weights() -> None:
    classifier = read_classifier(network(shape=("N", SIDE, SIDE, 3)), mean=0.5, std=0.25)
    served, attacked = classifier_graph(classifier), gradient_graph(classifier)

    def forward(graph: Slim) -> dict[str, bytes]:
        return {
            tensor.name: numpy_helper.to_array(tensor).tobytes()
            for tensor in onnx.load_model_from_string(graph.whole()).graph.initializer
            if tensor.name.startswith("model/") and tensor.data_type == TensorProto.FLOAT
        }

    assert forward(served) == forward(attacked)
    assert len(forward(served)) == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"layout": "NCWH"}, "layout must be one of NCHW, NHWC; got 'NCWH'"),
        ({"layout": "NHWC"}, r"layout must give 1 or 3 channels to an input \(any, 3, 6, 6\); got 'NHWC'"),
        ({"channels": "cmyk"}, r"channels must be rgb or bgr for an input \(any, 3, 6, 6\); got 'cmyk'"),
        ({"channels": "grey"}, "channels must be rgb or bgr"),
        ({"size": (5, 6)}, r"size must be that of the input \(any, 3, 6, 6\); got \(5, 6\)"),
        ({"mean": [0.5, 0.5]}, "mean must be one finite number, or one for each of 3 channels"),
        ({"std": float("nan")}, "std must be one finite number"),
        ({"std": 0}, "scale and std must be > 0"),
        ({"scale": -1}, "scale and std must be > 0"),
        ({"output": "other"}, "must be named .--output-name., one of y0.*; got 'other'"),
        ({"scores": "odds"}, "scores must be logits or probabilities; got 'odds'"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_classifier(network(), **arguments)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (network(shape=("N", 3, "H", "W")), r"size must be given, \(H, W\), for an input \(any, 3, any, any\)"),
        (network(shape=("N", "A", "B", "C")), "layout must be given, NCHW or NHWC"),
        (network(dtype=TensorProto.UINT8), None),
        (network(tail=[("ArgMax", {"axis": 1})], answer=TensorProto.INT64), "output 'y1' must be floats"),
        (network(tail=[("Identity", {}), ("Relu", {})], head=HEAD[:, :1] * 0), "scores must be given"),
    ],
)
def test_graphs_that_do_not_fit(model: onnx.ModelProto, reason: str | None) -> None:
    if reason is None:
        with pytest.raises(ValueError, match="mean, std and scale must be left out"):
            read_classifier(model, mean=0.5)
        return
    with pytest.raises(ValueError, match=reason):
        read_classifier(model)


def test_a_size_that_is_open_is_the_caller_s() -> None:
    classifier = read_classifier(network(shape=("N", 3, "H", "W")), size=(SIDE, SIDE))
    check(classifier, lambda levels: logits_of(levels / 255))
