"""Where a graph cuts off a value by a threshold on the same value, and whether the value jumps there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from f2at.gradient.builder import Node, Tensor

_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
_LOGICAL = ("And", "Or", "Xor", "Not")
_SAME = ("Identity", "Cast")
_JUMP = 1e-6  # relative to the values at the threshold: less is a rounding error

Array = NDArray[np.float64]


class _Line(NamedTuple):
    """A tensor as scale * root + shift, or, if `even`, as the absolute value of that."""

    root: str
    scale: Array
    shift: Array
    even: bool = False
    squared: bool = False  # the square of it


class Values:
    """The tensors of a graph as functions of each other.

    Args:
        nodes: of a traced graph.
        tensors: of it.
    """

    def __init__(self, nodes: Sequence[onnx.NodeProto], tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._nodes = [Node.of(node) for node in nodes]
        self._made = {name: node for node in self._nodes for name in node.outputs if name}

    def gating(self) -> Iterator[str]:
        """The comparisons that choose between values that depend on images, or multiply one: no numbers themselves."""
        for node in self._nodes:
            for condition, others in _conditions(node):
                if any(self._tensors[name].active for name in others):
                    yield from (test.outputs[0] for test in self._tests(condition) or ())

    def cut(self, node: Node) -> int | None:
        """Which input of a Where or Mul is a value that the node cuts off with a jump, by a threshold on itself."""
        for condition, others in _conditions(node):
            active = [name for name in others if self._tensors[name].active]
            tests = self._tests(condition)
            if len(active) != 1 or not tests:
                continue
            fixed = self._constant(next(name for name in others if name != active[0])) if len(others) > 1 else 0.0
            if fixed is not None and any(self._jumps(test, self._line(active[0]), fixed) for test in tests):
                return node.inputs.index(active[0])
        return None

    def taken_from_itself(self, modulo: Node) -> bool:
        """Whether x mod c is used to be taken from x and for nothing else: what is left is x, rounded."""
        uses = [node for node in self._nodes if modulo.outputs[0] in node.inputs]
        x, y = modulo.inputs[0], modulo.outputs[0]
        return bool(uses) and all(node.operation == "Sub" and node.inputs == (x, y) for node in uses)

    def _tests(self, name: str) -> list[Node] | None:
        """The comparisons that decide on a condition, or on a mask of 0 and 1; None if something else does."""
        node = self._made.get(name)
        if node is None:
            return None
        if node.operation in _COMPARISONS:
            return [node] if self._tensors[name].active else None
        if node.operation == "Sub" and self._constant(node.inputs[0]) is not None:  # 1 - mask
            return self._tests(node.inputs[1])
        if node.operation not in (*_LOGICAL, *_SAME):
            return None
        parts = [self._tests(part) for part in node.inputs]
        return None if None in parts else [test for part in parts for test in part or ()]

    def _jumps(self, test: Node, value: _Line, fixed: Any) -> bool:
        """Whether a value is another than what stands in for it where a comparison changes its answer."""
        for one, other in (test.inputs, test.inputs[::-1]):
            threshold, line = self._constant(other), self._line(one)
            if threshold is None or line.root != value.root or value.even or value.squared:
                continue
            bounds = np.sqrt(np.maximum(threshold, 0)) if line.squared else threshold
            with np.errstate(divide="ignore", invalid="ignore"):
                for bound in (bounds, -bounds) if line.even or line.squared else (bounds,):
                    there = value.scale * (bound - line.shift) / line.scale + value.shift
                    if np.any(np.abs(there - fixed) > _JUMP * np.maximum(1, np.abs(there))):
                        return True
        return False

    def _constant(self, name: str) -> Array | None:
        value = self._tensors[name].value
        return None if value is None or value.dtype == bool else np.asarray(value, np.float64)

    def _line(self, name: str) -> _Line:
        """A tensor as a line in the tensor farthest back that it is one of."""
        node = self._made.get(name)
        alone = _Line(name, np.float64(1), np.float64(0))  # type: ignore[arg-type]
        if node is None or not np.issubdtype(self._tensors[name].dtype, np.floating):
            return alone
        if node.operation in _SAME and np.issubdtype(self._tensors[node.inputs[0]].dtype, np.floating):
            return self._line(node.inputs[0])
        if node.operation == "Neg":
            return self._scaled(node.inputs[0], -1.0, 0.0) or alone
        if node.operation == "Abs":
            inner = self._line(node.inputs[0])
            return alone if inner.squared else inner._replace(even=True)
        if node.operation == "Pow" or (node.operation == "Mul" and node.inputs[0] == node.inputs[1]):
            square = node.operation == "Mul" or np.all(self._constant(node.inputs[1]) == 2.0)
            inner = self._line(node.inputs[0])
            return inner._replace(even=False, squared=True) if square and not inner.squared else alone
        if node.operation in ("Add", "Sub", "Mul", "Div"):
            return self._arithmetic(node) or alone
        return alone

    def _arithmetic(self, node: Node) -> _Line | None:
        left, right = node.inputs
        number = self._constant(right)
        if number is not None:
            with np.errstate(divide="ignore"):
                scale, shift = {
                    "Add": (1.0, number),
                    "Sub": (1.0, -number),
                    "Mul": (number, 0.0),
                    "Div": (1 / number, 0.0),
                }[node.operation]
            return self._scaled(left, scale, shift)
        number = self._constant(left)
        if number is None or node.operation == "Div":
            return None
        scale, shift = {"Add": (1.0, number), "Sub": (-1.0, number), "Mul": (number, 0.0)}[node.operation]
        return self._scaled(right, scale, shift)

    def _scaled(self, name: str, scale: Any, shift: Any) -> _Line | None:
        inner = self._line(name)
        if inner.even or inner.squared:
            return None
        return _Line(inner.root, inner.scale * scale, inner.shift * scale + shift)


def _conditions(node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What may be a condition of a node, with what it chooses from, or multiplies."""
    if node.operation == "Where":
        yield node.inputs[0], node.inputs[1:]
    elif node.operation == "Mul":
        yield node.inputs[0], node.inputs[1:]
        yield node.inputs[1], node.inputs[:1]
