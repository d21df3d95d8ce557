"""ONNX Runtime's blocked (NCHWc) layout, in which convolutions on a CPU are fast.

It enters that layout at convolutions, and keeps it in sums and products of equal shapes, in pooling, and in activations
that it fuses into convolutions. Comparisons, selections and moves make it leave. What is written here says the same
in depthwise convolutions of one tap; where a graph is not laid out in blocks, they cost what a product costs.
"""

import numpy as np

from f2at.gradient.builder import Builder

_BLOCK = 8  # ONNX Runtime lays out in blocks where channels fill them
_STEEP = 2.0**100


def blocks(b: Builder, name: str) -> bool:
    """Whether a forward tensor is an image that ONNX Runtime may lay out in blocks."""
    shape = b.tensors[name].shape
    return b.real == np.float32 and len(shape) == 4 and shape[1] % _BLOCK == 0


def entered(b: Builder, name: str, channels: int) -> str:
    """The same images, in blocks."""
    if b.real != np.float32 or channels % _BLOCK:
        return name
    return b("Conv", name, b.matrix(np.ones((channels, 1, 1, 1))), kernel_shape=[1, 1], group=channels)


def step(b: Builder, name: str) -> str:
    """1 where a forward tensor is > 0 and 0 where it is 0, for one that is >= 0; exactly, from 2^-100 on."""
    channels = b.tensors[name].shape[1]
    steep = b("Conv", name, b.matrix(np.full((channels, 1, 1, 1), _STEEP)), kernel_shape=[1, 1], group=channels)
    return b("HardSigmoid", steep, alpha=1.0, beta=0.0)
