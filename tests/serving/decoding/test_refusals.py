"""The answers to refused images; tests/images/test_decode.py tests which are refused."""

import io

import numpy as np
import pytest
from PIL import Image

from f2at.images.decode import FORMATS
from f2at.images.preparation import Preparation
from f2at.serving.decoding.refusals import decode_images
from f2at.serving.problems import Problem


def png(width: int = 8, height: int = 8) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            b"GIF89a..",
            {
                "type": "urn:problem-type:f2at:unsupported-image",
                "title": "Unsupported image",
                "status": 415,
                "argument": "image",
                "accepted": list(FORMATS),
                "received": "8 bytes that begin with 4749463839612e2e",
            },
        ),
        (
            png(11, 10),
            {
                "type": "urn:problem-type:f2at:image-too-large",
                "title": "Image too large",
                "status": 413,
                "argument": "image",
                "accepted": "at most 100 pixels",
                "received": "11 x 10",
            },
        ),
        (
            png()[:100],
            {
                "type": "urn:problem-type:f2at:unreadable-image",
                "title": "Unreadable image",
                "status": 422,
                "argument": "image",
                "accepted": "a whole file",
                "received": "100 bytes",
            },
        ),
    ],
)
def test_each_refusal_is_a_problem_of_its_kind(data: bytes, expected: dict[str, object]) -> None:
    with pytest.raises(Problem) as caught:
        decode_images([data], Preparation((8, 8)), max_pixels=100, max_total=1000)
    body = dict(caught.value.body)
    assert body.pop("detail") == str(caught.value.__cause__)
    assert body == expected
    assert caught.value.status == expected["status"]


def test_what_is_read_is_of_the_models_size() -> None:
    assert decode_images([png(10, 10)] * 2, Preparation((4, 6)), max_pixels=100, max_total=200).shape == (2, 4, 6, 3)
