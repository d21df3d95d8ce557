import math
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.attacks.grid import clip_to_ball, distances, snap
from f2at.images.pixels import to_images, to_inputs

CLEAN = hnp.arrays(np.uint8, (2, 2, 3, 3))
WILD = hnp.arrays(np.float32, (2, 3, 2, 3), elements=st.floats(-2, 3, width=32) | st.just(math.nan))
RADII = st.fractions(Fraction(1, 255), 1, max_denominator=510)
NORMS = st.sampled_from(["linf", "l2", "l1"])


@given(CLEAN)
def test_inputs_keep_every_level(clean: np.ndarray) -> None:
    assert to_inputs(clean).dtype == np.float32
    np.testing.assert_array_equal(to_images(to_inputs(clean)), clean)


@given(CLEAN, WILD, RADII, NORMS)
def test_whatever_comes_ends_on_the_grid_inside_the_ball(
    clean: np.ndarray, wild: np.ndarray, eps: Fraction, norm: str
) -> None:
    assert distances(snap(wild, clean, eps=eps, norm=norm), clean, norm).max() <= float(255 * eps) * (1 + 1e-12)
    clipped = clip_to_ball(wild, clean, eps=eps, norm=norm)
    assert clipped.min() >= 0
    assert clipped.max() <= 1


@given(CLEAN, CLEAN, NORMS)
def test_images_inside_the_ball_do_not_move(clean: np.ndarray, other: np.ndarray, norm: str) -> None:
    eps = Fraction(math.ceil(distances(other, clean, norm).max()) + 1, 255)
    np.testing.assert_array_equal(snap(to_inputs(other), clean, eps=eps, norm=norm), other)


def test_ties_fall_as_they_do_inside_a_target() -> None:
    half = (np.arange(255, dtype=np.float32) + np.float32(0.5)) / np.float32(255)
    in_a_target = np.round(half * 255)
    assert (in_a_target != np.round(half.astype(np.float64) * 255)).any()  # or precision would not matter
    inputs = np.broadcast_to(half[:, None, None, None], (255, 3, 1, 1))
    snapped = snap(inputs, np.zeros((255, 1, 1, 3), np.uint8), eps=Fraction(1), norm="linf")
    np.testing.assert_array_equal(snapped[:, 0, 0, 0], in_a_target)


def test_an_eps_between_levels_uses_the_level_below() -> None:
    clean = np.full((1, 1, 1, 3), 100, np.uint8)
    moved = to_inputs(clean) + np.float32(0.031)  # 7.905 levels
    assert distances(snap(moved, clean, eps=Fraction("0.031"), norm="linf"), clean, "linf")[0] == 7


@pytest.mark.parametrize(("norm", "expected"), [("linf", 4), ("l2", 5.0), ("l1", 7)])
def test_distances(norm: str, expected: float) -> None:
    clean = np.full((1, 1, 2, 3), 9, np.uint8)
    other = clean.copy()
    other[0, 0, 0, 0], other[0, 0, 1, 2] = 13, 6
    assert distances(other, clean, norm).tolist() == [expected]
    assert distances(clean[:0], clean[:0], norm).tolist() == []
