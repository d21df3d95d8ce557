import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from f2at.attacks.transformations.pipeline import BRIGHTNESS_FACTORS, QUALITIES, SIZE_FACTORS, brightness, jpeg, resize
from f2at.images.pixels import Images
from f2at.images.preparation import Preparation

Paint = Callable[[int, int, int], Images]
ALL: list[tuple[Callable[..., Images], tuple[float, ...]]] = [
    (jpeg, QUALITIES),
    (brightness, BRIGHTNESS_FACTORS),
    (resize, SIZE_FACTORS),
]


@pytest.mark.parametrize(("function", "candidates"), ALL)
@pytest.mark.parametrize("shape", [(32, 32), (28, 36), (1, 5)])
def test_each_image_has_its_own(
    paint: Paint, function: Callable[..., Images], candidates: tuple[float, ...], shape: tuple[int, int]
) -> None:
    images = paint(3, *shape)
    before = images.copy()
    parameters = np.array([candidates[:3]]).T
    found = function(images, parameters)
    assert found.shape == images.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    for row in range(3):
        np.testing.assert_array_equal(found[row], function(images[row : row + 1], candidates[row])[0])
    assert function(images[:0], np.zeros((0, 1))).shape == (0, *shape, 3)


def test_photographs(paint: Paint) -> None:
    for function, candidates in ALL:
        assert function(paint(1, 224, 224), candidates[-1]).shape == (1, 224, 224, 3)


def test_what_is_tried_from_the_weakest_on() -> None:
    assert list(QUALITIES) == [95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10]
    assert BRIGHTNESS_FACTORS == (1.05, 0.95, 1.1, 0.9, 1.15, 0.85, 1.2, 1.25, 0.8, 1.3, 0.75, 0.7)
    assert SIZE_FACTORS[:6] == (0.95, 1.1, 0.9, 0.85, 1.2, 0.8)
    assert SIZE_FACTORS[-2:] == (2, 0.5)
    assert set(SIZE_FACTORS) >= {0.5, 0.75, 1.5, 2.0}


@pytest.mark.parametrize(
    ("function", "candidates"),
    [
        (jpeg, QUALITIES),
        (brightness, [factor for factor in BRIGHTNESS_FACTORS if factor < 1]),
        (brightness, [factor for factor in BRIGHTNESS_FACTORS if factor > 1]),
        (resize, [0.95, 0.75, 0.5]),  # between them it goes up and down with how pixels meet
    ],
)
def test_change_rises(paint: Paint, function: Callable[..., Images], candidates: tuple[float, ...]) -> None:
    images = paint(2, 32, 32)
    changes = [np.abs(function(images, candidate).astype(int) - images).mean() for candidate in candidates]
    assert 0 < changes[0] < changes[-1]
    assert changes == sorted(changes)


@pytest.mark.parametrize("quality", [10, 75, 95])
def test_jpeg_is_pillows(paint: Paint, quality: int) -> None:
    images = paint(1, 28, 36)
    buffer = io.BytesIO()
    Image.fromarray(images[0]).save(buffer, "JPEG", quality=quality)
    np.testing.assert_array_equal(jpeg(images, quality)[0], np.asarray(Image.open(buffer)))


def test_brightness_by_hand() -> None:
    image = np.array([[[0, 1, 100], [200, 250, 255]]], np.uint8)[None]
    np.testing.assert_array_equal(brightness(image, 1.3)[0, 0], [[0, 1, 130], [255, 255, 255]])
    np.testing.assert_array_equal(brightness(image, 0.7)[0, 0], [[0, 1, 70], [140, 175, 178]])
    np.testing.assert_array_equal(brightness(image, 1), image)
    assert not brightness(image, 0).any()


def test_resizing_by_hand() -> None:
    """Halved, four pixels of a row become two; antialiased, each of them also sees the next beyond its own two."""
    image = np.repeat(np.array([0, 0, 240, 240], np.uint8)[:, None], 3, axis=1)[None, None]
    # Triangles two pixels to either side of 1 and 3: weights 3/8, 3/8, 1/8 of (0, 0, 240), cut off at the end.
    small = np.asarray(Image.fromarray(image[0]).resize((2, 1), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(small[0, :, 0], [34, 206])
    # And back, at 1/4, 3/4, 5/4 and 7/4 of a pixel: 34, 3/4 of 34 with 1/4 of 206, and the other way round.
    np.testing.assert_array_equal(resize(image, 0.5)[0, 0, :, 0], [34, 77, 163, 206])


def test_resizing_leaves_what_it_must(paint: Paint) -> None:
    images = paint(2, 28, 36)
    np.testing.assert_array_equal(resize(images, 1), images)
    np.testing.assert_array_equal(resize(images, 1.001), images)  # sides are rounded to the same ones
    flat = np.full((1, 9, 7, 3), 77, np.uint8)
    for factor in (0.01, *SIZE_FACTORS):
        np.testing.assert_array_equal(resize(flat, factor), flat)
    mean = images[0].astype(float).mean(axis=(0, 1))
    assert np.abs(resize(images, 0.01)[0] - mean).max() < 12  # a single pixel is the whole image's
    assert (resize(images, 0.01)[0] == resize(images, 0.01)[0, 0, 0]).all()


@pytest.mark.parametrize(
    ("function", "value", "message"),
    [
        (jpeg, 0, "quality must be whole numbers from 1 to 100; got 0"),
        (jpeg, 101, "quality must be whole numbers from 1 to 100; got 101"),
        (jpeg, 50.5, "quality must be whole numbers from 1 to 100; got 50.5"),
        (brightness, -0.1, "factor must be at least 0; got -0.1"),
        (resize, 0, "factor must be above 0 and at most 8; got 0"),
        (resize, 8.1, "factor must be above 0 and at most 8; got 8.1"),
        (resize, np.nan, "parameters must be finite; got nan"),
        (jpeg, [1, 2], r"parameters must be \(N, 1\), quality of each of 1 images; got \(2,\)"),
    ],
)
def test_parameters_that_are_none(function: Callable[..., Images], value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(np.zeros((1, 4, 4, 3), np.uint8), value)


def test_resizing_is_the_services(paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    """There and back by Preparation: its default is what models without a say are served with."""
    sizes = []
    original = Preparation.fitted

    def fitted(self: Any, image: Image.Image) -> Image.Image:
        sizes.append(self.size)
        return original(self, image)

    monkeypatch.setattr(Preparation, "fitted", fitted)
    resize(paint(1, 28, 36), 1.5)
    assert sizes == [(42, 54), (28, 36)]
