"""How 8-bit RGB images become what a classifier's graph takes, written as ONNX nodes, and the gradient's way back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from f2at.gradient.builder import Builder
from f2at.gradient.trace import input_of
from f2at.images.pixels import LEVELS

LAYOUTS = ("NCHW", "NHWC")
CHANNELS = ("rgb", "bgr", "grey")
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow makes grey
_DTYPES = ("uint8", "float16", "float32", "float64")


@dataclass(frozen=True)
class Entry:
    """What a graph takes: pixels x in [0, 1] as (scale x - mean) / std, or 8-bit pixels as they are.

    Attributes:
        dtype: of the input: uint8, float16, float32 or float64.
        size: (H, W) in pixels.
        layout: NCHW or NHWC.
        channels: rgb, bgr or, where there is one, grey.
        mean, std: in the order red, green, blue, whatever `channels` says; of one number for grey.
        scale: 1, or 255 for a graph that takes levels as floats.
    """

    dtype: str
    size: tuple[int, int]
    layout: str = "NCHW"
    channels: str = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image as the graph takes it."""
        channels = 1 if self.channels == "grey" else 3
        return (channels, *self.size) if self.layout == "NCHW" else (*self.size, channels)

    def from_levels(self, b: Builder, images: str) -> str:
        """Nodes from uint8 (N, H, W, 3) to the graph's input."""
        if (self.dtype, self.layout, self.channels) == ("uint8", "NHWC", "rgb"):
            return images
        pixels = b("Transpose", images, perm=[0, 3, 1, 2])
        if self.dtype == "uint8" and self.channels != "grey":
            return self._arranged(b, pixels)
        levels = b("Cast", pixels, to=onnx.TensorProto.FLOAT)
        if self.dtype == "uint8":
            return self._to_levels(b, levels)
        # Levels stay as they are for a graph of levels: (k / 255) * 255 is not always k.
        scaled = levels if self.scale == LEVELS else b("Div", levels, b.scalar(LEVELS))
        return self._normalised(b, scaled, 1.0 if self.scale == LEVELS else self.scale)

    def from_unit(self, b: Builder, images: str) -> str:
        """Nodes from float32 (N, 3, H, W) in [0, 1] to the graph's input."""
        if self.dtype == "uint8":
            return self._to_levels(b, b("Mul", images, b.scalar(LEVELS)))
        return self._normalised(b, images, self.scale)

    def backward(self, b: Builder, gradient: str) -> str:
        """Nodes from the gradient by the graph's input to that by images float32 (N, 3, H, W) in [0, 1].

        It passes straight through the rounding to 8 bits.
        """
        if self.dtype in ("float16", "float64"):
            gradient = b("Cast", gradient, to=onnx.TensorProto.FLOAT)
        if self.layout == "NHWC":
            gradient = b("Transpose", gradient, perm=[0, 3, 1, 2])
        if self.channels == "bgr":
            gradient = _reversed(b, gradient)
        scale = LEVELS if self.dtype == "uint8" else self.scale
        factors = scale / np.array((1.0,) if self.dtype == "uint8" else self.std)
        if (factors != 1).any():
            gradient = b("Mul", gradient, b.matrix(factors.reshape(1, -1, 1, 1)))
        return b("Mul", gradient, b.matrix(np.array(LUMA).reshape(1, 3, 1, 1))) if self.channels == "grey" else gradient

    def _normalised(self, b: Builder, pixels: str, scale: float) -> str:
        if self.channels == "grey":
            pixels = _grey(b, pixels)
        if scale != 1:
            pixels = b("Mul", pixels, b.scalar(scale))
        if any(self.mean):
            pixels = b("Sub", pixels, b.matrix(np.array(self.mean).reshape(1, -1, 1, 1)))
        if any(value != 1 for value in self.std):
            pixels = b("Div", pixels, b.matrix(np.array(self.std).reshape(1, -1, 1, 1)))
        pixels = self._arranged(b, pixels)
        return pixels if self.dtype == "float32" else b("Cast", pixels, to=_type(self.dtype))

    def _to_levels(self, b: Builder, levels: str) -> str:
        """Of floats (N, 3, H, W) that are levels, up to rounding errors."""
        grey = _grey(b, levels) if self.channels == "grey" else levels
        return self._arranged(b, b("Cast", b("Round", grey), to=onnx.TensorProto.UINT8))

    def _arranged(self, b: Builder, pixels: str) -> str:
        if self.channels == "bgr":
            pixels = _reversed(b, pixels)
        return b("Transpose", pixels, perm=[0, 2, 3, 1]) if self.layout == "NHWC" else pixels


def find_entry(
    model: onnx.ModelProto,
    *,
    layout: str | None = None,
    channels: str | None = None,
    size: Sequence[int] | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    scale: float = 1.0,
) -> Entry:
    """What the one input of a classifier takes, as far as the graph tells, the rest as given.

    Args:
        model: the graph.
        layout: "NCHW" or "NHWC"; needed only where the graph does not tell which axis has the channels.
        channels: "rgb" (usual), "bgr" or "grey"; a single channel is grey.
        size: (H, W); needed only where the graph leaves them open.
        mean, std, scale: see `Entry`; one number is meant for every channel.

    Raises:
        ValueError: it is no graph of images, or the arguments contradict it, or leave something open.
    """
    images = input_of(model)
    tensor = images.type.tensor_type
    return entry_of(
        images.name,
        helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        [axis.dim_value or None for axis in tensor.shape.dim],
        layout=layout,
        channels=channels,
        size=size,
        mean=mean,
        std=std,
        scale=scale,
    )


def entry_of(
    name: str,
    dtype: str,
    shape: Sequence[int | None],
    *,
    layout: str | None = None,
    channels: str | None = None,
    size: Sequence[int] | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    scale: float = 1.0,
) -> Entry:
    """The same of an input of which name, numpy's name of its type, and shape are known; None: of any length."""
    if dtype not in _DTYPES:
        raise ValueError(f"input {name!r} must be one of {', '.join(_DTYPES)}; got {dtype}")
    if len(shape) != 4:
        raise ValueError(f"input {name!r} must have 4 dimensions, a batch of images; got {_text(shape)}")
    layout = _layout(shape, layout)
    there = shape[layout.index("C")]
    fitting = {1: ("grey",), 3: ("rgb", "bgr"), None: CHANNELS}[there]
    channels = fitting[0] if channels is None else channels
    if channels not in fitting:
        raise ValueError(f"channels must be {' or '.join(fitting)} for an input {_text(shape)}; got {channels!r}")
    count = 1 if channels == "grey" else 3
    found = Entry(
        dtype,
        _size(shape, layout, size),
        layout,
        channels,
        _per_channel("mean", mean, count),
        _per_channel("std", std, count),
        scale,
    )
    if not scale > 0 or min(found.std) <= 0:
        raise ValueError(f"scale and std must be > 0; got {scale} and {std}")
    if dtype == "uint8" and (scale != 1 or any(found.mean) or any(value != 1 for value in found.std)):
        raise ValueError("mean, std and scale must be left out for a model that takes uint8 pixels")
    return found


def _layout(shape: Sequence[int | None], layout: str | None) -> str:
    """Where the channels are, from the graph or, where it does not tell, from the caller."""
    if layout is None:
        for count in (3, 1):
            fitting = [name for name in LAYOUTS if shape[name.index("C")] == count]
            if len(fitting) == 1:
                return fitting[0]
        raise ValueError(f"layout must be given, {' or '.join(LAYOUTS)}, for an input {_text(shape)}")
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    if shape[layout.index("C")] not in (None, 1, 3):
        raise ValueError(f"layout must give 1 or 3 channels to an input {_text(shape)}; got {layout!r}")
    return layout


def _size(shape: Sequence[int | None], layout: str, size: Sequence[int] | None) -> tuple[int, int]:
    """(H, W), from the graph or from the caller, who must not contradict it."""
    stated = [shape[layout.index(side)] for side in "HW"]
    for asked, side in zip(size or stated, stated, strict=True):
        if side is not None and asked != side:
            raise ValueError(f"size must be that of the input {_text(shape)}; got {tuple(size or ())}")
    height, width = size or stated
    if height is None or width is None:
        raise ValueError(f"size must be given, (H, W), for an input {_text(shape)}")
    return height, width


def _per_channel(name: str, values: float | Sequence[float], count: int) -> tuple[float, ...]:
    found = np.atleast_1d(np.asarray(values, np.float64))
    if found.shape not in ((1,), (count,)) or not np.isfinite(found).all():
        wanted = "one finite number" + (f", or one for each of {count} channels" if count > 1 else "")
        raise ValueError(f"{name} must be {wanted}; got {values}")
    return tuple(float(value) for value in np.broadcast_to(found, (count,)))


def _grey(b: Builder, pixels: str) -> str:
    weighted = b("Mul", pixels, b.matrix(np.array(LUMA).reshape(1, 3, 1, 1)))
    return b("ReduceSum", weighted, b.integers(1), keepdims=1)


def _reversed(b: Builder, pixels: str) -> str:
    """Blue first, or red first again."""
    return b("Gather", pixels, b.integers(2, 1, 0), axis=1)


def _type(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _text(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"
