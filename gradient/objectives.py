"""The objectives of attacks as an ONNX graph: the array code of `f2at.attacks.objectives`, traced."""

from types import ModuleType, SimpleNamespace
from typing import Any

import onnx

from f2at.attacks.objectives import objectives

LOGITS, LABELS, TARGETS, OBJECTIVES = "logits", "labels", "targets", "objectives"
_NEAR = 0.5


def objectives_graph(classes: int) -> onnx.ModelProto:
    """The graph of logits float32 (N, C), labels and targets int64 (N,) -> objectives float32 (N, J)."""
    import ndonnx  # half a second, which is spent only where a graph is made

    logits = ndonnx.argument(shape=("N", classes), dtype=ndonnx.float32)
    labels, targets = (ndonnx.argument(shape=("N",), dtype=ndonnx.int64) for _ in range(2))
    values = objectives(logits, labels, targets, _smooth(ndonnx))
    return ndonnx.build({LOGITS: logits, LABELS: labels, TARGETS: targets}, {OBJECTIVES: values})


def _smooth(xp: ModuleType) -> SimpleNamespace:
    """ndonnx with two functions that ONNX has not.

    What it writes for them is exact, too, but divides by what may round to 0, and although the quotient is not taken
    then, its gradient would be 0 / 0.
    """

    def expm1(x: Any) -> Any:
        return xp.tanh(x / 2) * (xp.exp(x) + 1)

    def log1p(x: Any) -> Any:
        small = xp.where(xp.abs(x) < _NEAR, x, 0.0)
        return xp.where(xp.abs(x) < _NEAR, 2 * xp.atanh(small / (2 + small)), xp.log(1 + x))

    return SimpleNamespace(**{**vars(xp), "expm1": expm1, "log1p": log1p})
