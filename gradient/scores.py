"""From what a classifier's output says to logits (N, C): a final softmax or sigmoid is taken off or undone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

READ = "scores/logits"  # the output of graphs whose scores have been read; what a file calls its own does not matter
SCORES = ("logits", "probabilities")
_SAME = ("Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze")  # values stay as they are
_MOVED = ("Concat", "Transpose", "Slice", "Gather", "Split")  # values stay, but are elsewhere
_SIGMOIDS = ("Sigmoid", "HardSigmoid")
_BOUNDED = {*_SIGMOIDS, "Exp", "Tanh", "Erf", "Clip"}  # what sigmoids are written with
_EACH = {*_BOUNDED, "Add", "Sub", "Mul", "Div", "Neg", "Reciprocal"}  # of each number by itself
_ROUNDED = ("QuantizeLinear", "DequantizeLinear")
_LARGEST = 1e-3  # how far probabilities may sum up to another number than 1
_SMALLEST = 1e-30  # a probability below it is taken for it: its logarithm would be infinite


@dataclass(frozen=True)
class Reading:
    """How logits come from an output.

    Attributes:
        last: the operation that was taken off: Softmax, LogSoftmax or Sigmoid; None if none was.
        inverted: whether logits are taken from probabilities by a logarithm.
        binary: whether one score was made two, those of "no" and of "yes".
        step: of the integers that the file rounds its scores to behind `last`, which is taken off as well; 0: of none.
    """

    last: str | None = None
    inverted: bool = False
    binary: bool = False
    step: float = 0.0

    def describe(self) -> str:
        """In words."""
        taken = f"what {self.last} is taken of" if self.last else "its logarithm" if self.inverted else "as it is"
        return f"{taken}, as the score of the second of two classes" if self.binary else taken

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the file's output says if these are its logits (N, C), as (N, C) or, if binary, (N, 1)."""
        exact = logits.astype(np.float64)
        if self.binary:
            exact = exact[:, 1:]
            return np.asarray(1 / (1 + np.exp(-exact))) if self.last or self.inverted else exact
        if not (self.last or self.inverted):
            return exact
        logarithms = exact - exact.max(axis=1, keepdims=True)
        logarithms -= np.log(np.exp(logarithms).sum(axis=1, keepdims=True))
        return np.asarray(logarithms if self.last == "LogSoftmax" else np.exp(logarithms))


def choose_output(model: onnx.ModelProto, name: str | None) -> str:
    """The output that holds the scores.

    Raises:
        ValueError: there are several and none is named, or it has another name.
    """
    names = [output.name for output in model.graph.output]
    if (name is None and len(names) > 1) or (name is not None and name not in names):
        several = ", ".join(f"{output.name}{_shape(output)}" for output in model.graph.output)
        got = "none" if name is None else repr(name)
        raise ValueError(f"the output with the scores must be named (--output-name), one of {several}; got {got}")
    return names[0] if name is None else name


def _shape(output: onnx.ValueInfoProto) -> str:
    """As far as the graph states it, in brackets."""
    if not output.type.tensor_type.HasField("shape"):
        return ""
    sizes = [str(axis.dim_value or axis.dim_param or "any") for axis in output.type.tensor_type.shape.dim]
    return f" ({', '.join(sizes)})"


def with_logits(
    model: onnx.ModelProto, output: str, said: NDArray[np.floating], scores: str | None = None
) -> tuple[onnx.ModelProto, Reading]:
    """The graph with READ, float32 (N, C), as its only output.

    Args:
        model: the graph.
        output: the output of it that holds the scores.
        said: what it says of some images.
        scores: "logits" or "probabilities" where the graph would be read wrongly; None reads the graph.

    Raises:
        ValueError: these are no scores of one class each: not floats, of several axes, or one sigmoid for each class.
    """
    if scores not in (None, *SCORES):
        raise ValueError(f"scores must be {' or '.join(SCORES)}; got {scores!r}")
    classes = int(np.prod(said.shape[1:]))
    if said.dtype.kind != "f" or max(said.shape[1:], default=1) != classes or classes < 1:
        raise ValueError(f"output {output!r} must be floats (N, classes); got {said.dtype} {said.shape[1:]} per image")
    found = onnx.ModelProto()
    found.CopyFrom(model)
    nodes = found.graph.node
    last, behind = (None, []) if scores == "logits" else _last_activation(found, output)
    if classes > 1 and scores != "logits" and _all_sigmoids(found, output):
        raise ValueError(
            f"output {output!r} has a sigmoid for each of {classes} classes: an image may have several labels, and the "
            "attacks here are on classifiers whose labels exclude each other"
        )
    operation = None if last is None else last.op_type
    step = max((_step(found, node) for node in behind), default=0.0)
    for node in (*behind, *([] if last is None else [last])):
        node.op_type = "Identity"
        del node.attribute[:], node.input[1:]
    inverted = last is None and _are_probabilities(said, classes, output, scores, squashed=_squashed(found, output))
    raw, flat = output, "scores/flat"
    nodes.append(helper.make_node("Cast", [raw], ["scores/real"], to=onnx.TensorProto.FLOAT))
    nodes.append(
        helper.make_node("Reshape", ["scores/real", _constant(found, "shape", np.array([-1, classes]))], [flat])
    )
    if inverted:
        flat = _inverted(found, flat, classes)
    if classes == 1:
        nodes.append(helper.make_node("Mul", [flat, _constant(found, "zero", np.float32(0))], ["scores/no"]))
        nodes.append(helper.make_node("Concat", ["scores/no", flat], [READ], axis=1))
    else:
        nodes.append(helper.make_node("Identity", [flat], [READ]))
    del found.graph.output[:]
    found.graph.output.append(helper.make_tensor_value_info(READ, onnx.TensorProto.FLOAT, ["N", max(classes, 2)]))
    return found, Reading(operation, inverted, classes == 1, step)


def _last_activation(model: onnx.ModelProto, output: str) -> tuple[onnx.NodeProto | None, list[onnx.NodeProto]]:
    """The softmax or sigmoid that the output is, in another shape perhaps, and the rounding behind it."""
    makers: Mapping[str, onnx.NodeProto] = {name: node for node in model.graph.node for name in node.output}
    node, rounding = makers.get(output), []
    while node is not None and node.op_type in (*_SAME, *_ROUNDED):
        rounding += [node] if node.op_type in _ROUNDED else []
        node = makers.get(node.input[0])
    if node is not None and node.op_type in ("Softmax", "LogSoftmax", "Sigmoid"):
        return node, rounding
    return None, []


def _all_sigmoids(model: onnx.ModelProto, output: str) -> bool:
    """Whether the output is a sigmoid for each number, made by one node or put together from several."""
    makers: Mapping[str, onnx.NodeProto] = {name: node for node in model.graph.node for name in node.output}
    waiting = [output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.op_type not in (*_SAME, *_ROUNDED, *_MOVED, *_SIGMOIDS):
            return False
        if node.op_type not in _SIGMOIDS:
            waiting += node.input if node.op_type == "Concat" else node.input[:1]
    return True


def _step(model: onnx.ModelProto, node: onnx.NodeProto) -> float:
    """What one more is worth in the integers of a node of rounding."""
    scales = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == node.input[1]]
    return float(scales[0].max()) if scales else 0.0


def _squashed(model: onnx.ModelProto, output: str) -> bool:
    """Whether the last operations, on each number by itself, bound it."""
    makers: Mapping[str, onnx.NodeProto] = {name: node for node in model.graph.node for name in node.output}
    waiting, seen = [output], set[str]()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.op_type not in (*_SAME, *_EACH) or node.output[0] in seen:
            continue
        if node.op_type in _BOUNDED:
            return True
        seen.add(node.output[0])
        waiting += node.input
    return False


def _are_probabilities(
    said: NDArray[np.floating], classes: int, output: str, scores: str | None, *, squashed: bool
) -> bool:
    """Whether the numbers are probabilities, although no softmax or sigmoid is the last operation."""
    if scores is not None:
        return scores == "probabilities"
    inside = bool(((said >= 0) & (said <= 1)).all())
    if classes == 1 and inside:
        raise ValueError(
            f"scores must be given, logits or probabilities: the one output {output!r} lies between 0 and 1 and is not "
            "made by a Sigmoid"
        )
    one = bool(np.all(np.abs(said.reshape(len(said), -1).sum(axis=1) - 1) < _LARGEST))
    if inside and squashed and not one:
        raise ValueError(
            f"scores must be given, logits, if these are: all that output {output!r} says of images lies between 0 and "
            "1, but does not add up to 1. Where each number is the probability of its own label, an image may have "
            "several labels, and the attacks here are on classifiers whose labels exclude each other"
        )
    return inside and one


def _inverted(model: onnx.ModelProto, name: str, classes: int) -> str:
    """The logarithm of probabilities, or of the odds of one."""
    nodes = model.graph.node
    smallest = _constant(model, "smallest", np.float32(_SMALLEST))
    nodes.append(helper.make_node("Max", [name, smallest], ["scores/positive"]))
    nodes.append(helper.make_node("Log", ["scores/positive"], ["scores/log"]))
    if classes > 1:
        return "scores/log"
    nodes.append(helper.make_node("Sub", [_constant(model, "one", np.float32(1)), name], ["scores/other"]))
    nodes.append(helper.make_node("Max", ["scores/other", smallest], ["scores/other_positive"]))
    nodes.append(helper.make_node("Log", ["scores/other_positive"], ["scores/other_log"]))
    nodes.append(helper.make_node("Sub", ["scores/log", "scores/other_log"], ["scores/odds"]))
    return "scores/odds"


def _constant(model: onnx.ModelProto, name: str, value: object) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"scores/{name}"))
    return f"scores/{name}"
