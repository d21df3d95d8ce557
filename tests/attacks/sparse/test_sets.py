import math
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.attacks.sparse.sets import (
    changed_pixels,
    keep_patch,
    keep_pixels,
    patch_places,
    patch_side,
    smallest_square,
)
from f2at.images.pixels import to_inputs

CLEAN = hnp.arrays(np.uint8, (2, 4, 5, 3))
WILD = hnp.arrays(
    np.float32, (2, 3, 4, 5), elements=st.floats(-2, 3, width=32) | st.sampled_from([math.nan, math.inf, -math.inf])
)


@given(CLEAN, WILD, st.integers(1, 25))
def test_whatever_comes_differs_in_few_pixels(clean: np.ndarray, wild: np.ndarray, pixels: int) -> None:
    images = keep_pixels(wild, clean, pixels=pixels)
    assert images.dtype == np.uint8
    assert changed_pixels(images, clean).max() <= pixels


@given(CLEAN, WILD, st.integers(1, 4))
def test_whatever_comes_differs_inside_a_square(clean: np.ndarray, wild: np.ndarray, side: int) -> None:
    images = keep_patch(wild, clean, side=side)
    assert images.dtype == np.uint8
    assert smallest_square(images, clean).max() <= side
    for image, reverted, (top, left) in zip(images, clean, patch_places(images, clean, side=side), strict=True):
        changed = np.argwhere((image != reverted).any(2))
        assert (changed >= (top, left)).all()
        assert (changed < (top + side, left + side)).all()
        assert top + side <= 4
        assert left + side <= 5


@given(CLEAN, CLEAN, st.integers(0, 20), st.randoms(use_true_random=False))
def test_images_of_few_pixels_do_not_move(clean: np.ndarray, other: np.ndarray, pixels: int, random: object) -> None:
    kept = np.zeros((2, 20), bool)
    for row in kept:
        row[random.sample(range(20), pixels)] = True  # type: ignore[attr-defined]
    member = np.where(kept.reshape(2, 4, 5, 1), other, clean)
    np.testing.assert_array_equal(keep_pixels(to_inputs(member), clean, pixels=max(pixels, 1)), member)


@given(CLEAN, CLEAN, st.data())
def test_images_with_a_patch_do_not_move(clean: np.ndarray, other: np.ndarray, data: st.DataObject) -> None:
    side = data.draw(st.integers(1, 4))
    member = clean.copy()
    for image, colours in zip(member, other, strict=True):
        top, left = data.draw(st.integers(0, 4 - side)), data.draw(st.integers(0, 5 - side))
        image[top : top + side, left : left + side] = colours[top : top + side, left : left + side]
    np.testing.assert_array_equal(keep_patch(to_inputs(member), clean, side=side), member)


def test_the_pixels_that_change_most_stay() -> None:
    clean = np.full((1, 2, 2, 3), 100, np.uint8)
    found = clean.copy()
    found[0, 0, 0] = (101, 101, 101)  # 3 levels in sum
    found[0, 0, 1] = (100, 104, 100)  # 4
    found[0, 1, 0] = (98, 100, 97)  # 5
    images = keep_pixels(to_inputs(found), clean, pixels=2)
    assert images[0, 0, 0].tolist() == [100, 100, 100]
    assert images[0, 0, 1].tolist() == [100, 104, 100]
    assert images[0, 1, 0].tolist() == [98, 100, 97]
    assert changed_pixels(found, clean).tolist() == [3]
    assert changed_pixels(images, clean).tolist() == [2]


def test_the_square_of_most_change_stays() -> None:
    clean = np.full((1, 4, 4, 3), 100, np.uint8)
    found = clean.copy()
    found[0, 0, 0] = 120  # 60 alone
    found[0, 2, 3], found[0, 3, 2] = 90, 111  # 30 + 33 in the lower right square of 2
    assert smallest_square(found, clean).tolist() == [4]
    images = keep_patch(to_inputs(found), clean, side=2)
    assert patch_places(images, clean, side=2).tolist() == [[2, 2]]
    assert images[0, 0, 0].tolist() == [100] * 3
    assert (images[0, 2:, 2:] == found[0, 2:, 2:]).all()
    assert smallest_square(images, clean).tolist() == [2]


def test_smallest_square_spans_the_longer_way() -> None:
    clean = np.zeros((3, 5, 5, 3), np.uint8)
    images = clean.copy()
    images[1, 2, 3, 0] = 1
    images[2, 1, 1:4, 2] = 7
    assert smallest_square(images, clean).tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("area", "height", "width", "side"),
    [
        (0.02, 32, 32, 4),  # 20.48 pixels
        (0.09, 10, 10, 3),  # as a binary fraction, 0.09 is a little less
        (Fraction(16, 1024), 32, 32, 4),
        (Fraction(16, 1025), 32, 32, 3),
        (1, 32, 32, 32),
        (0.9, 4, 40, 4),  # no larger than the image is high
        (0.02, 224, 224, 31),
    ],
)
def test_patch_side(area: float | Fraction, height: int, width: int, side: int) -> None:
    assert patch_side(area, height, width) == side


@pytest.mark.parametrize(
    ("area", "reason"),
    [
        (0.0, r"area must lie in \(0, 1\], a share of the image; got 0.0"),
        (1.5, r"area must lie in \(0, 1\]"),
        (math.nan, r"area must lie in \(0, 1\]"),
        (0.009, "area must be at least 1/100, a pixel of 10 x 10; got 0.009"),
    ],
)
def test_areas_that_no_patch_has(area: float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        patch_side(area, 10, 10)


def test_sizes_that_no_image_has() -> None:
    clean = np.zeros((1, 4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="pixels must be an integer of at least 1; got 0"):
        keep_pixels(to_inputs(clean), clean, pixels=0)
    with pytest.raises(ValueError, match="side must be at most 4, for images of 4 x 5; got 5"):
        keep_patch(to_inputs(clean), clean, side=5)


def test_no_images() -> None:
    none = np.zeros((0, 4, 5, 3), np.uint8)
    assert keep_pixels(to_inputs(none), none, pixels=2).shape == none.shape
    assert keep_patch(to_inputs(none), none, side=2).shape == none.shape
    assert smallest_square(none, none).shape == changed_pixels(none, none).shape == (0,)
    assert patch_places(none, none, side=2).shape == (0, 2)
