"""Any classifier in an ONNX file as a target: logits alone, for the attacks that need no gradients."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.registry import ATTACKS
from f2at.images.pixels import LEVELS, to_images

LAYOUTS = ("NCHW", "NHWC")
_DTYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_CHANNELS = 3


class OnnxClassifier:
    """An ONNX Runtime session of a classifier, on numpy arrays; inputs are snapped to the uint8 grid (see Target).

    What the graph says of its one input decides how images are passed: uint8 pixels, or floats, as
    (scale x - mean) / std with x in [0, 1]; channels first or last; batches of any size, or of the size that the
    graph fixes, the last one filled up.

    Args:
        session: has `run`, `get_inputs` and `get_outputs`.
        output: name of the output that holds the logits; may be left out where there is only one.
        layout: "NCHW" or "NHWC"; needed only where the graph does not tell which dimension has 3 channels.
        size: (H, W) of the images; needed only where the graph leaves them free.
        mean, std: of all channels, or one number for each; of a float input only.
        scale: 255 for a float input that counts levels; of a float input only.

    Raises:
        ValueError: the graph is no classifier of RGB images, or leaves open what the arguments do not say.

    Attributes:
        classes: the number of classes, C; found by classifying a grey image.
        layout, size: as found.
        gradients: False; see `f2at.attacks.target.has_gradients`.
    """

    gradients = False

    def __init__(
        self,
        session: Any,
        *,
        output: str | None = None,
        layout: str | None = None,
        size: tuple[int, int] | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        scale: float = 1.0,
    ) -> None:
        self._session = session
        self._input = _only_input(session)
        self._output = _output_name(session, output)
        self._dtype = _DTYPES[self._input.type]
        shape = self._input.shape
        self._batch = shape[0] if isinstance(shape[0], int) else None
        self.layout = _layout(shape, layout)
        self.size = _size(shape, self.layout, size)
        self._mean, self._std = _per_channel("mean", mean), _per_channel("std", std)
        self._scale = scale
        if not scale > 0 or not (self._std > 0).all():
            raise ValueError(f"scale and std must be > 0; got {scale} and {std}")
        if self._dtype is np.uint8 and (scale != 1 or (self._mean != 0).any() or (self._std != 1).any()):
            raise ValueError("mean, std and scale must be left out for a model that takes uint8 pixels")
        self.classes = self._probe()
        if self.classes < 2:
            raise ValueError(f"output {self._output!r} must hold at least 2 classes; got {self.classes}")

    def logits(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Logits (N, C) of inputs (N, 3, H, W) in [0, 1]."""
        if inputs.shape[1:] != (_CHANNELS, *self.size):
            wanted = f"(N, 3, {self.size[0]}, {self.size[1]})"
            raise ValueError(f"inputs must have shape {wanted} for this model; got {inputs.shape}")
        if len(inputs) == 0:
            return np.zeros((0, self.classes), np.float32)
        images = self._encode(to_images(inputs))
        size = self._batch or len(images)
        return np.concatenate([self._run(images[i : i + size], size) for i in range(0, len(images), size)])

    def gradient(self, *_: Any) -> NoReturn:
        """Always raises ValueError: there are no gradients in a classifier's file."""
        able = ", ".join(name for name, attack in ATTACKS.items() if attack.knowledge == "black-box")
        raise ValueError(f"this model has no gradients: use attacks that need none ({able}) or a surrogate model")

    def _probe(self) -> int:
        """The number of classes."""
        grey = np.full((1, _CHANNELS, *self.size), 0.5, np.float32)
        try:
            return int(self.logits(grey).shape[1])
        except ValueError:
            raise
        except Exception as error:  # the runtime's exceptions have no base class of their own
            raise ValueError(f"the model cannot classify a grey image of size {self.size}: {error}") from error

    def _encode(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """8-bit images (N, H, W, 3) as the graph takes them."""
        found: NDArray[Any] = images
        if self._dtype is not np.uint8:
            found = ((self._scale * (images / LEVELS) - self._mean) / self._std).astype(self._dtype)
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2) if self.layout == "NCHW" else found)

    def _run(self, images: NDArray[Any], size: int) -> NDArray[np.float32]:
        """One call for at most `size` images; fewer are filled up with the last of them."""
        n = len(images)
        filled = np.concatenate([images, np.repeat(images[-1:], size - n, axis=0)])
        (logits,) = self._session.run([self._output], {self._input.name: filled})
        if logits.ndim != 2 or len(logits) != size or logits.dtype.kind != "f":
            got = f"{logits.dtype} {logits.shape} for {size} images"
            raise ValueError(f"output {self._output!r} must be floats (N, classes); got {got}")
        return np.asarray(logits[:n], np.float32)


def _only_input(session: Any) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError(f"the model must take one input, images; it takes {', '.join(i.name for i in inputs)}")
    (found,) = inputs
    if found.type not in _DTYPES:
        raise ValueError(f"input {found.name!r} must be one of {', '.join(_DTYPES)}; got {found.type}")
    if len(found.shape) != 4:
        raise ValueError(f"input {found.name!r} must have 4 dimensions, a batch of images; got {found.shape}")
    return found


def _output_name(session: Any, name: str | None) -> str:
    names = [output.name for output in session.get_outputs()]
    if name is None and len(names) > 1:
        raise ValueError(f"output must be given for a model with several: {', '.join(names)}")
    if name is not None and name not in names:
        raise ValueError(f"output must be one of {', '.join(names)}; got {name!r}")
    return str(names[0] if name is None else name)


def _layout(shape: Sequence[Any], layout: str | None) -> str:
    """Where the 3 channels are, from the graph or, where it does not tell, from the caller."""
    if layout is None:
        fitting = [name for name in LAYOUTS if shape[name.index("C")] == _CHANNELS]
        if len(fitting) != 1:
            raise ValueError(f"layout must be given for an input {list(shape)}, which must have 3 channels")
        return fitting[0]
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    channels = shape[layout.index("C")]
    if isinstance(channels, int) and channels != _CHANNELS:
        raise ValueError(f"layout must give 3 channels to an input {list(shape)}; got {layout!r}")
    return layout


def _size(shape: Sequence[Any], layout: str, size: tuple[int, int] | None) -> tuple[int, int]:
    """(H, W), from the graph or from the caller, who must not contradict it."""
    stated = [shape[layout.index(side)] for side in "HW"]
    if size is None and not all(isinstance(side, int) for side in stated):
        raise ValueError(f"size must be given, (H, W), for an input {list(shape)}")
    height, width = (side if size is None else size[i] for i, side in enumerate(stated))
    for asked, side in zip((height, width), stated, strict=True):
        if isinstance(side, int) and asked != side:
            raise ValueError(f"size must be that of the input {list(shape)}; got {size}")
    return height, width


def _per_channel(name: str, values: float | Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.shape not in ((), (_CHANNELS,)) or not np.isfinite(found).all():
        raise ValueError(f"{name} must be one finite number, or one for each of 3 channels; got {values}")
    return found
