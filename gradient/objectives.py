"""The objectives of attacks as an ONNX graph: the array code of `f2at.attacks.objectives`, traced."""

from types import SimpleNamespace
from typing import Any

import ndonnx as ndx
import onnx

from f2at.attacks.objectives import objectives

LOGITS, LABELS, TARGETS, OBJECTIVES = "logits", "labels", "targets", "objectives"
_NEAR = 0.5


def objectives_graph(classes: int) -> onnx.ModelProto:
    """The graph of logits float32 (N, C), labels and targets int64 (N,) -> objectives float32 (N, J)."""
    logits = ndx.argument(shape=("N", classes), dtype=ndx.float32)
    labels, targets = (ndx.argument(shape=("N",), dtype=ndx.int64) for _ in range(2))
    values = objectives(logits, labels, targets, _SMOOTH)
    return ndx.build({LOGITS: logits, LABELS: labels, TARGETS: targets}, {OBJECTIVES: values})


def _expm1(x: Any) -> Any:
    """exp(x) - 1."""
    return ndx.tanh(x / 2) * (ndx.exp(x) + 1)


def _log1p(x: Any) -> Any:
    """log(1 + x)."""
    small = ndx.where(ndx.abs(x) < _NEAR, x, 0.0)
    return ndx.where(ndx.abs(x) < _NEAR, 2 * ndx.atanh(small / (2 + small)), ndx.log(1 + x))


# ONNX has neither function. What ndonnx writes for them is exact, too, but divides by what may round to 0, and although
# the quotient is not taken then, its gradient would be 0 / 0.
_SMOOTH = SimpleNamespace(**{**vars(ndx), "expm1": _expm1, "log1p": _log1p})
