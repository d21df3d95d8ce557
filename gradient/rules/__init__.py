"""A rule per ONNX operation: from the gradient of its output, the gradients of its inputs."""

from f2at.gradient.rules import (  # noqa: F401  (importing them registers their rules)
    activations,
    arithmetic,
    convolution,
    linear,
    moving,
    normalisation,
    pooling,
    recurrent,
    reductions,
    resampling,
    rounding,
    selecting,
    trigonometry,
)
from f2at.gradient.rules.registry import RULES

__all__ = ["RULES"]
