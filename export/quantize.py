"""The classifier in 8-bit integers: smaller and, on processors that multiply those, faster. Another model, so audit it.

Its gradient graph stays in float32: attacks follow the gradient of the weights before rounding, and the verdict is the
rounded classifier's.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from f2at.bundle.runtime import create_session

CALIBRATION_IMAGES = 512
_BATCH = 64
Images = NDArray[np.uint8]


def quantize(classifier: bytes, images: Images) -> bytes:
    """The classifier with weights in int8, a scale for each channel, and activations in uint8.

    Static quantisation by ONNX Runtime, written as pairs of QuantizeLinear and DequantizeLinear; the range of an
    activation is the one seen on the images.

    Args:
        classifier: serialised classifier graph in float32.
        images: uint8 (N,H,W,3), as the classifier will see them; their labels are not needed.
    """
    with tempfile.TemporaryDirectory() as name, _quiet():
        folder = Path(name)
        (folder / "float32.onnx").write_bytes(classifier)
        quantize_static(
            folder / "float32.onnx",
            folder / "int8.onnx",
            _Batches(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return (folder / "int8.onnx").read_bytes()


def compare(classifier: bytes, quantized: bytes, images: Images, labels: NDArray[np.int64]) -> dict[str, float]:
    """What rounding changed on labelled images: clean accuracy of either, and on how many the predictions agree."""
    before, after = (_predictions(model, images) for model in (classifier, quantized))
    return {
        "float32_accuracy": float((before == labels).mean()),
        "int8_accuracy": float((after == labels).mean()),
        "agreement": float((before == after).mean()),
    }


def _predictions(model: bytes, images: Images) -> NDArray[np.int64]:
    session = create_session(model, providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], {"images": part})[0].argmax(1) for part in _split(images)]
    return np.concatenate(parts)


def _split(images: Images) -> Iterator[Images]:
    return (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is untyped
    """Images as ONNX Runtime asks for them."""

    def __init__(self, images: Images) -> None:
        self._parts = _split(images)

    def get_next(self) -> dict[str, Any] | None:
        part = next(self._parts, None)
        return None if part is None else {"images": part}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to preprocess, which is for graphs with BatchNorm or unknown shapes."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
