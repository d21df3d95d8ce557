import base64
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from f2at.serving.answers import Prediction
from f2at.serving.model.patterns import compare


def prediction(index: int) -> Prediction:
    return Prediction(label=f"class {index}", index=index, probabilities={}, margin=0.5, model="sha256:0")


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))))


@given(arrays(np.uint8, (3, 5, 3)), st.integers(1, 8))
def test_the_two_patterns_add_up_to_the_image(image: np.ndarray, planes: int) -> None:
    found = compare(image, prediction(1), prediction(1), planes)
    assert np.array_equal(pixels(found.natural) + pixels(found.perturbed), image)
    assert not (pixels(found.natural) & pixels(found.perturbed)).any()


def test_agreement_is_of_the_labels() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    assert compare(image, prediction(1), prediction(1), 2).agrees
    found = compare(image, prediction(1), prediction(3), 2)
    assert (found.agrees, found.index, found.label, found.margin) == (False, 3, "class 3", 0.5)
