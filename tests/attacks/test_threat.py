from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from f2at.attacks.threat import (
    NORMS,
    check_attack,
    check_batch,
    check_counts,
    effective_eps,
    norms,
    parse_eps,
    project,
    snap,
    sphere_start,
    steepest,
    to_grid,
    uniform_start,
    unit,
)

LINF_EPS = st.floats(1 / 255, 1)
SHAPE = (2, 3, 3, 4)
PIXELS = hnp.arrays(np.uint8, SHAPE)


def images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clean images on the grid, many of their pixels at 0 or 255, and a far away batch."""
    rng = np.random.default_rng(seed)
    clean = np.clip(rng.integers(-60, 316, SHAPE), 0, 255) / 255
    return clean, clean + rng.normal(0, 0.5, SHAPE)


@pytest.mark.parametrize(
    ("text", "exact"),
    [("8/255", Fraction(8, 255)), ("0.031", Fraction(31, 1000)), (0.5, Fraction(1, 2)), (1, Fraction(1))],
)
def test_eps_is_read_exactly(text: Any, exact: Fraction) -> None:
    assert parse_eps(text, "linf") == exact
    assert parse_eps(exact, "linf") == exact


@pytest.mark.parametrize(
    ("eps", "norm", "reason"),
    [
        ("0", "linf", "eps must be > 0"),
        ("-1/255", "linf", "eps must be a fraction"),
        (Fraction(-1, 255), "l2", "eps must be > 0"),
        ("256/255", "linf", "eps must be at most 1 for linf"),
        ("8/0", "linf", "divide by zero"),
        ("eight", "linf", "got 'eight'"),
        ("1e999999999", "l2", "eps must be a fraction"),
        (float("nan"), "linf", "eps must be a fraction"),
        (float("inf"), "l2", "eps must be a fraction"),
        ("8/255", "l0", "norm must be one of linf, l2, l1; got 'l0'"),
        ("inf", "l1", "eps must be a fraction"),
    ],
)
def test_bad_eps_is_refused(eps: Any, norm: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_eps(eps, norm)


def test_l2_and_l1_take_radii_above_one() -> None:
    assert parse_eps("2.5", "l2") == Fraction(5, 2)
    assert parse_eps("12", "l1") == 12


def test_a_float_is_the_fraction_it_was_rounded_from() -> None:
    for levels in range(1, 256):
        assert parse_eps(levels / 255, "linf") == Fraction(levels, 255)


def test_linf_eps_is_cut_to_whole_levels() -> None:
    assert effective_eps(Fraction("0.031"), "linf") == Fraction(7, 255)  # 7.905 levels
    assert effective_eps(Fraction(8, 255), "linf") == Fraction(8, 255)
    assert effective_eps(Fraction(1, 2), "l2") == Fraction(1, 2)
    assert effective_eps(Fraction("12.001"), "l1") == Fraction("12.001")
    with pytest.raises(ValueError, match="one level of a uint8 image"):
        effective_eps(Fraction(1, 256), "linf")


@given(st.integers(0, 10**6), LINF_EPS, st.sampled_from(NORMS))
def test_projection_lands_in_the_ball_and_the_box_and_stays(seed: int, eps: float, norm: str) -> None:
    clean, far = images(seed)
    inside = project(far, clean, eps=eps, norm=norm)
    assert norms(inside - clean, norm).max() <= eps * (1 + 1e-12)
    assert 0 <= inside.min() <= inside.max() <= 1
    np.testing.assert_allclose(project(inside, clean, eps=eps, norm=norm), inside, atol=1e-15)


@given(st.integers(0, 10**6), LINF_EPS, st.sampled_from(NORMS))
def test_snap_is_on_the_grid_in_the_ball(seed: int, eps: float, norm: str) -> None:
    clean, far = images(seed)
    inside = project(far, clean, eps=eps, norm=norm)
    snapped = snap(inside, clean, eps=eps, norm=norm)
    levels = np.rint(snapped * 255)
    np.testing.assert_allclose(snapped * 255, levels, atol=1e-9)
    assert 0 <= levels.min() <= levels.max() <= 255
    assert norms(snapped - clean, norm).max() <= eps + 1e-6 / 255
    assert abs(snapped - inside).max() < 1 / 255
    np.testing.assert_array_equal(np.rint(255 * snap(snapped, clean, eps=eps, norm=norm)), levels)


def test_linf_snap_is_the_nearest_image_of_the_ball() -> None:
    clean = np.array([100, 100, 100, 0, 255.0]).reshape(1, 1, 1, 5) / 255
    inside = np.array([102.4, 97.4, 102.9, 0.6, 254.4]).reshape(1, 1, 1, 5) / 255
    snapped = snap(inside, clean, eps=Fraction(29, 2550), norm="linf")  # 2.9 levels: 103 is outside
    np.testing.assert_allclose(snapped * 255, [[[[102, 98, 102, 1, 254]]]])


def test_snap_keeps_the_full_radius_whatever_its_float() -> None:
    clean = np.full((1, 1, 1, 1), 100, np.float32) / 255
    for levels in range(1, 100):
        inside = project(clean + 1, clean, eps=levels / 255, norm="linf")
        snapped = snap(inside, clean, eps=levels / 255, norm="linf")
        assert round(snapped.item() * 255) == 100 + levels


def test_l2_snap_truncates_no_more_than_it_must() -> None:
    clean = np.full((1, 1, 1, 3), 100.0) / 255
    inside = np.array([102.51, 101.9, 100.0]).reshape(1, 1, 1, 3) / 255
    radius = np.sqrt(2.51**2 + 1.9**2)  # 3.148 levels; (3, 2, 0) has 3.606, (2, 2, 0) 2.828
    snapped = snap(inside, clean, eps=radius / 255, norm="l2")
    np.testing.assert_allclose(snapped * 255, [[[[102, 102, 100]]]])


@given(st.integers(0, 10**6), st.floats(1 / 255, 12))
def test_l1_snap_is_the_nearest_image_of_the_ball(seed: int, eps: float) -> None:
    """Taking back a level costs less where rounding went further outward: no other choice of as many is nearer."""
    clean, far = images(seed)
    inside = project(far, clean, eps=eps, norm="l1")
    levels = np.rint(255 * snap(inside, clean, eps=eps, norm="l1") - 255 * clean)
    wanted = 255 * (inside - clean)
    nearest = np.rint(wanted)
    for found, want, rounded in zip(levels, wanted, nearest, strict=True):
        excess = int(abs(rounded).sum() - np.floor(255 * eps + 1e-6))
        outward = abs(rounded) - abs(want)
        cost = ((found - want) ** 2).sum() - ((rounded - want) ** 2).sum()
        # A level less of a value costs 1 - 2 outward; the cheapest of them are what the ball asks for.
        assert abs(found).sum() <= 255 * eps + 1e-6
        assert cost == pytest.approx(np.sort(1 - 2 * outward.ravel())[: max(excess, 0)].sum(), abs=1e-6)


def test_l1_snap_uses_whole_levels() -> None:
    clean = np.full((1, 1, 1, 4), 100.0) / 255
    inside = clean + np.array([1.6, -1.7, 0.4, 0.6]).reshape(clean.shape) / 255  # 4.3 levels; rounded 2, -2, 0, 1
    np.testing.assert_allclose(snap(inside, clean, eps=4.3 / 255, norm="l1") * 255 - 100, [[[[1, -2, 0, 1]]]])
    np.testing.assert_allclose(snap(inside, clean, eps=5.0 / 255, norm="l1") * 255 - 100, [[[[2, -2, 0, 1]]]])


@given(PIXELS)
def test_every_8_bit_image_is_on_the_grid(pixels: np.ndarray) -> None:
    inputs = pixels.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(to_grid(inputs), inputs)


@given(st.integers(0, 10**6), LINF_EPS, st.sampled_from(NORMS), st.sampled_from([uniform_start, sphere_start]))
def test_starts_lie_in_the_ball_and_are_the_same_in_torch(seed: int, eps: float, norm: str, start: Any) -> None:
    clean, _ = images(seed)
    found = start(clean, np.random.default_rng(seed), eps=eps, norm=norm)
    assert norms(found - clean, norm).max() <= eps * (1 + 1e-12)
    assert 0 <= found.min() <= found.max() <= 1
    same = start(torch.from_numpy(clean), np.random.default_rng(seed), eps=eps, norm=norm)
    np.testing.assert_allclose(same.numpy(), found, atol=1e-15)


def test_uniform_start_fills_the_ball_evenly() -> None:
    centre = np.full((4000, 3, 1, 1), 0.5)
    for norm, dimensions in (("linf", 3), ("l2", 3), ("l1", 3)):
        radii = norms(uniform_start(centre, np.random.default_rng(0), eps=0.2, norm=norm) - centre, norm) / 0.2
        # P(radius < r) = r^d: half of them within 0.5^(1/d); 4000 draws are within 3 standard errors of it.
        assert abs(np.mean(radii < 0.5 ** (1 / dimensions)) - 0.5) < 3 * 0.5 / np.sqrt(4000)


def test_unit_and_steepest() -> None:
    gradient = np.array([3.0, 0.0, -4.0]).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(unit(gradient, "l2").ravel(), [0.6, 0, -0.8])
    np.testing.assert_allclose(unit(gradient, "linf").ravel(), [0.75, 0, -1])
    np.testing.assert_allclose(unit(gradient, "l1").ravel(), [3 / 7, 0, -4 / 7])
    np.testing.assert_allclose(steepest(gradient, "linf").ravel(), [1, 0, -1])
    np.testing.assert_allclose(steepest(gradient, "l1").ravel(), [0, 0, -1])  # 1 % of the values, at least one
    np.testing.assert_allclose(steepest(0 * gradient, "l2").ravel(), [0, 0, 0])


@pytest.mark.parametrize(
    ("inputs", "labels", "reason"),
    [
        (np.zeros((2, 3, 4)), np.zeros(2, int), r"inputs must be floating \(N, 3, H, W\); got float64 \(2, 3, 4\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.zeros(2, int), "got uint8"),
        (np.zeros((2, 3, 4, 4)), np.zeros(3, int), r"labels must be .* got int64 \(3,\)"),
        (np.zeros((2, 3, 4, 4)), np.zeros(2), "labels must be integers"),
    ],
)
def test_shapes_and_types_are_checked(inputs: np.ndarray, labels: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_attack(inputs, labels, eps=0.1, norm="linf")


@pytest.mark.parametrize(
    ("value", "label", "reason"),
    [
        (1.5, 0, r"inputs must lie in \[0, 1\]; got \[1.5, 1.5\]"),
        (-0.1, 0, "inputs must lie in"),
        (np.nan, 0, "inputs must lie in"),
        (0.5, 3, r"labels must lie in \[0, 3\); got 3"),
        (0.5, -1, "labels must lie in .*; got -1"),
    ],
)
def test_values_are_checked(value: float, label: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_batch(np.full((1, 3, 2, 2), value), np.array([label]), classes=3)


@pytest.mark.parametrize("count", [0, -1, 2.0, "3", None])
def test_counts_are_checked(count: Any) -> None:
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        check_counts(steps=count)
