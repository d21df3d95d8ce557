from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from f2at.attacks.threat import NORMS, norms
from f2at.attacks.white_box.hyperplane import step_to_hyperplane


def problem(seed: int, pixels: int, n: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, many of them at the box's edge, normals, many entries of them zero, and values within the box's reach."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.3, 1.3, (n, 1, 1, pixels)).clip(0, 1)
    normals = rng.standard_normal(points.shape) * 10.0 ** rng.uniform(-3, 3, (n, 1, 1, 1))
    normals *= rng.random(points.shape) < 0.8
    corner = np.where(normals < 0, 0.0, 1.0) if seed % 2 else np.where(normals < 0, 1.0, 0.0)
    values = -rng.uniform(0, 1, n) * (normals * (corner - points)).sum((1, 2, 3))
    return points, normals, values


def test_one_pixel_out_of_room_by_hand() -> None:
    """x + 2y falls by 1 from (0.1, 0.9): along (1, 1) / 3 or (1, 2) / 5, but x has 0.1 only; y makes up for it."""
    points, normals = np.array([0.1, 0.9]).reshape(1, 1, 1, 2), np.array([1.0, 2.0]).reshape(1, 1, 1, 2)
    for norm in ("linf", "l2"):
        step = step_to_hyperplane(points, normals, np.array([1.0]), norm=norm)
        np.testing.assert_allclose(step.ravel(), [-0.1, -0.45])
    # For l1, y does all it can by itself; of 1.9 it does 1.8, and x the rest.
    for value, expected in ((1.0, [0, -0.5]), (1.9, [-0.1, -0.9])):
        step = step_to_hyperplane(points, normals, np.array([value]), norm="l1")
        np.testing.assert_allclose(step.ravel(), expected)
    # By 0.25 both have room: (1, 1) / 12 for linf, (1, 2) / 20 for l2.
    for norm, expected in (("linf", [-1 / 12, -1 / 12]), ("l2", [-1 / 20, -1 / 10]), ("l1", [0, -1 / 8])):
        step = step_to_hyperplane(points, normals, np.array([0.25]), norm=norm)
        np.testing.assert_allclose(step.ravel(), expected)
    # By 3 no norm gets there: the corner is as near as it gets.
    for norm in NORMS:
        step = step_to_hyperplane(points, normals, np.array([3.0]), norm=norm)
        np.testing.assert_allclose(step.ravel(), [-0.1, -0.9])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(6))
def test_as_small_as_a_general_solver_finds(norm: str, seed: int) -> None:
    """linf and l1 as linear programs, l2 by its one multiplier."""
    optimize = pytest.importorskip("scipy.optimize")
    points, normals, values = problem(seed, pixels=7)
    steps = step_to_hyperplane(points, normals, values, norm=norm).reshape(4, 7)
    for point, normal, value, step in zip(points.reshape(4, 7), normals.reshape(4, 7), values, steps, strict=True):
        bounds = list(zip(-point, 1 - point, strict=True))
        if norm == "linf":  # minimise t with -t <= d <= t, over (d, t)
            eye, ones = np.eye(7), np.ones((7, 1))
            found = optimize.linprog(
                [0] * 7 + [1],
                A_ub=np.block([[eye, -ones], [-eye, -ones]]),
                b_ub=np.zeros(14),
                A_eq=[[*normal, 0]],
                b_eq=[-value],
                bounds=[*bounds, (0, None)],
            )
            assert found.success
            assert abs(step).max() == pytest.approx(found.fun, rel=1e-6)
        elif norm == "l1":  # minimise the sum of the two signs' parts of d
            found = optimize.linprog(
                [1] * 14,
                A_eq=[[*normal, *-normal]],
                b_eq=[-value],
                bounds=[*[(0, high) for _, high in bounds], *[(0, -low) for low, _ in bounds]],
            )
            assert found.success
            assert abs(step).sum() == pytest.approx(found.fun, rel=1e-6)
        else:
            np.testing.assert_allclose(step, smallest_step_l2(optimize, point, normal, value), atol=1e-9)


def smallest_step_l2(optimize: Any, point: np.ndarray, normal: np.ndarray, value: float) -> np.ndarray:
    """clip(t * normal) to the box (KKT), for the one t at which it reaches the plane."""

    def along(t: float) -> np.ndarray:
        return (t * normal).clip(-point, 1 - point)

    reach = 1 / abs(normal[normal != 0]).min()  # where every pixel is at the box's edge
    return along(optimize.brentq(lambda t: value + normal @ along(t), -reach, reach, xtol=1e-300, rtol=1e-14))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), pixels=st.integers(1, 60), norm=st.sampled_from(NORMS))
def test_on_the_plane_in_the_box_and_optimal(seed: int, pixels: int, norm: str) -> None:
    points, normals, values = problem(seed, pixels)
    steps = step_to_hyperplane(points, normals, values, norm=norm)
    assert float((points + steps).min()) >= 0
    assert float((points + steps).max()) <= 1
    sizes = abs(normals).sum((1, 2, 3))
    np.testing.assert_allclose((values + (normals * steps).sum((1, 2, 3))) / (sizes + 1e-300), 0, atol=1e-12)
    if norm == "l1":  # optimality: what moves at all has used up its room, but for one, and none with more is left
        moved, room = abs(steps).reshape(4, -1), np.where(steps > 0, 1 - points, points).reshape(4, -1)
        weight = abs(normals).reshape(4, -1)
        for size, most, slope in zip(moved, room, weight, strict=True):
            if size.any():
                least = slope[size > 0].min()
                np.testing.assert_allclose(size[(slope > least) & (size > 0)], most[(slope > least) & (size > 0)])
                unmoved = (slope > least) & (size == 0)
                assert not (unmoved & (most > 1e-12) & (most < 1 - 1e-12)).any()
        return
    # Optimality: pixels inside the box move along the normal at one common rate, those at its edge by less.
    speed = abs(normals) if norm == "l2" else np.ones_like(normals)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.where(normals == 0, np.nan, abs(steps) / speed).reshape(4, -1)
    free = ((points + steps > 1e-12) & (points + steps < 1 - 1e-12)).reshape(4, -1) & (normals != 0).reshape(4, -1)
    for rate, inside in zip(rates, free, strict=True):
        if inside.any():
            np.testing.assert_allclose(rate[inside], np.nanmax(rate), rtol=1e-9, atol=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), norm=st.sampled_from(NORMS))
def test_beyond_reach_it_goes_to_the_corner(seed: int, norm: str) -> None:
    points, normals, _ = problem(seed, pixels=9)
    sign = 1.0 if seed % 2 else -1.0
    steps = step_to_hyperplane(points, normals, sign * 2 * abs(normals).sum((1, 2, 3)), norm=norm)
    corner = np.where(sign * normals > 0, 0.0, 1.0)
    np.testing.assert_allclose(steps, np.where(normals == 0, 0.0, corner - points))


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), norm=st.sampled_from(NORMS), scale=st.sampled_from([1e-30, 1e-6, 1e6, 1e25]))
def test_the_scale_of_the_function_does_not_matter(seed: int, norm: str, scale: float) -> None:
    points, normals, values = problem(seed, pixels=20)
    assume(bool((abs(values) > 1e-9 * abs(normals).sum((1, 2, 3))).all()))
    arrays: list[Any] = [torch.from_numpy(a).float() for a in (points, normals, values)]
    plain = step_to_hyperplane(*arrays, norm=norm)
    scaled = step_to_hyperplane(arrays[0], arrays[1] * scale, arrays[2] * scale, norm=norm)
    torch.testing.assert_close(scaled, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_to_do(norm: str) -> None:
    """On the plane already, and where the function is flat."""
    points, normals, _ = problem(0, pixels=5)
    np.testing.assert_array_equal(step_to_hyperplane(points, normals, np.zeros(4), norm=norm), 0)
    np.testing.assert_array_equal(step_to_hyperplane(points, 0 * normals, np.ones(4), norm=norm), 0)


@pytest.mark.parametrize("norm", NORMS)
def test_large_images_in_single_precision(norm: str) -> None:
    points, normals, values = problem(3, pixels=3 * 64 * 64)
    exact = step_to_hyperplane(points, normals, values, norm=norm)
    single = step_to_hyperplane(*(torch.from_numpy(a).float() for a in (points, normals, values)), norm=norm)
    np.testing.assert_allclose(norms(single, norm).numpy(), norms(exact, norm), rtol=1e-4)
