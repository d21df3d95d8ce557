"""The natural and the perturbed pattern of an image that is predicted: `POST /predict?planes=K`."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.bitplanes import BITS, natural_pattern, perturbed_pattern
from serving.answers import Patterns, Prediction
from serving.problems import Problem


def read_planes(text: str | None) -> int | None:
    """K, the number of bit-planes that the query asks for; None where it asks for none.

    Raises:
        Problem: 422, `text` is no whole number from 1 to 8.
    """
    if text is None:
        return None
    if len(text) != 1 or text not in "12345678":
        raise Problem(
            422,
            "invalid-argument",
            f"planes must be a whole number from 1 to {BITS}: how many upper bit-planes the natural pattern keeps.",
            argument="planes",
            accepted=f"1 to {BITS}",
            received=text[:40],
        )
    return int(text)


def compare(image: NDArray[np.uint8], whole: Prediction, natural: Prediction, planes: int) -> Patterns:
    """The patterns of `image`, uint8 (H, W, 3), and how the predictions of it and of its natural pattern compare."""
    return Patterns(
        planes=planes,
        label=natural.label,
        index=natural.index,
        margin=natural.margin,
        agrees=natural.index == whole.index,
        natural=_png(natural_pattern(image, planes=planes)),
        perturbed=_png(perturbed_pattern(image, planes=planes)),
    )


def _png(image: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
