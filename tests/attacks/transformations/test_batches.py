from typing import Any

import numpy as np
import pytest

from f2at.attacks.transformations.batches import check_images, of_each

IMAGES = np.zeros((4, 5, 6, 3), np.uint8)


def test_parameters_of_each_or_of_all() -> None:
    given = np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(of_each(IMAGES, given, "a", "b"), given)
    np.testing.assert_array_equal(of_each(IMAGES, (1, 2), "a", "b"), [[1, 2]] * 4)
    np.testing.assert_array_equal(of_each(IMAGES, 3, "a"), [[3]] * 4)
    assert of_each(IMAGES[:0], np.zeros((0, 2)), "a", "b").shape == (0, 2)


@pytest.mark.parametrize("parameters", [np.zeros((3, 2)), np.zeros((4, 3)), np.zeros(4), np.zeros((1, 4, 2))])
def test_other_shapes_are_named(parameters: Any) -> None:
    with pytest.raises(ValueError, match=r"parameters must be \(N, 2\), a, b of each of 4 images; got \("):
        of_each(IMAGES, parameters, "a", "b")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match=f"parameters must be finite; got {value}"):
        of_each(IMAGES, [[0], [1], [value], [2]], "a")


@pytest.mark.parametrize(
    "images",
    [IMAGES[0], IMAGES.astype(np.float32), IMAGES[..., :1], np.zeros((2, 0, 4, 3), np.uint8), [[1, 2]]],
)
def test_what_is_no_image_is_named(images: Any) -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, H, W, 3\); got"):
        check_images(images)
