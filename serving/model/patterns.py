"""The natural and perturbed patterns of an image, for `POST /predict?planes=K`."""

import numpy as np
from numpy.typing import NDArray

from f2at.images.bitplanes import natural_pattern, perturbed_pattern
from f2at.images.png import data_url
from f2at.serving.answers import Patterns, Prediction


def compare(image: NDArray[np.uint8], whole: Prediction, natural: Prediction, planes: int) -> Patterns:
    """The patterns of `image`, uint8 (H, W, 3), and how the predictions of it and of its natural pattern compare."""
    return Patterns(
        planes=planes,
        label=natural.label,
        index=natural.index,
        margin=natural.margin,
        agrees=natural.index == whole.index,
        natural=data_url(natural_pattern(image, planes=planes)),
        perturbed=data_url(perturbed_pattern(image, planes=planes)),
    )
