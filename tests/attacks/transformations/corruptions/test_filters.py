import math
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import correlate as scipys_correlate  # type: ignore[import-untyped]
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.ndimage import zoom as scipys_zoom

from f2at.attacks.transformations.corruptions.filters import correlate, mirrored, sample, smooth, streak, zoom


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize(("edge", "mode", "reach"), [("nearest", "nearest", 4.0), ("symmetric", "reflect", 3.0)])
@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.1, 6.4, 40.0])
def test_smooth_is_a_gaussian_filter(edge: str, mode: str, reach: float, sigma: float) -> None:
    inputs = noise(2, 3, 20, 24)
    expected = gaussian_filter(inputs, sigma, axes=(2, 3), mode=mode, truncate=reach)
    np.testing.assert_allclose(smooth(inputs, sigma, edge=edge, reach=reach), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(12, 17), (5, 4), (1, 6)])
def test_correlate_is_a_correlation(shape: tuple[int, int]) -> None:
    """With a kernel that is not symmetric, larger than some of the images."""
    inputs, kernel = noise(2, 3, *shape), noise(5, 5, seed=1)
    expected = scipys_correlate(inputs, kernel[None, None], mode="mirror")
    np.testing.assert_allclose(correlate(inputs, kernel), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("degrees", "down", "right"), [(0, 0, 1), (90, 1, 0), (180, 0, -1), (-90, -1, 0), (45, None, None)]
)
def test_streak_by_hand(degrees: float, down: int | None, right: int | None) -> None:
    """Each pixel sees what lies on its way: itself, then its neighbours, with half of a Gaussian's weights."""
    inputs = np.zeros((1, 1, 15, 15))
    inputs[0, 0, 7, 7] = 1
    found = streak(inputs, np.array([degrees]), radius=2, sigma=1.5)[0, 0]
    weights = np.exp(-(np.arange(5) ** 2) / 4.5)
    weights /= weights.sum()
    expected = np.zeros((15, 15))
    for step, weight in enumerate(weights):
        # At 45 degrees, steps of 1 are 0.71 to each side: pixels 0, 1, 1, 2 and 3.
        diagonal = (0, 1, 1, 2, 3)[step]
        row, column = (diagonal, diagonal) if down is None or right is None else (step * down, step * right)
        expected[7 - row, 7 - column] += weight
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_streak_repeats_the_edge() -> None:
    inputs = noise(1, 1, 1, 4)
    found = streak(inputs, np.array([0.0]), radius=8, sigma=100)
    assert found[0, 0, 0, 3] == pytest.approx(inputs[0, 0, 0, 3])
    np.testing.assert_allclose(streak(np.ones((3, 2, 5, 6)), np.array([3.0, 77, 200]), radius=4, sigma=2), 1)


@pytest.mark.parametrize("factor", [1.0, 1.07, 1.25, 2.25, 4.0])
@pytest.mark.parametrize("size", [32, 9, 224, 1])
def test_zoom_is_scipys(size: int, factor: float) -> None:
    """Of the middle, of which the middle is kept."""
    inputs = noise(1, 1, size, size)
    seen = math.ceil(size / factor)
    start = (size - seen) // 2
    middle = inputs[0, 0, start : start + seen, start : start + seen]
    expected = scipys_zoom(middle, factor, order=1)
    trim = (len(expected) - size) // 2
    expected = expected[trim : trim + size, trim : trim + size]
    np.testing.assert_allclose(zoom(inputs, factor)[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize(("edge", "mode"), [("reflect", "mirror"), ("symmetric", "reflect")])
def test_sample_is_scipys(edge: str, mode: str) -> None:
    inputs = noise(2, 3, 7, 9)
    rows, columns = (noise(2, 5, 6, seed=seed) * 40 - 15 for seed in (1, 2))
    found = sample(inputs, rows, columns, edge=edge)
    assert found.shape == (2, 3, 5, 6)
    for image in range(2):
        for channel in range(3):
            expected = map_coordinates(inputs[image, channel], (rows[image], columns[image]), order=1, mode=mode)
            np.testing.assert_allclose(found[image, channel], expected, atol=1e-12)


@pytest.mark.parametrize("edge", ["reflect", "symmetric"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_mirrors_are_numpys(edge: Any, size: int) -> None:
    expected = np.pad(np.arange(size), 12, mode=edge)
    np.testing.assert_array_equal(mirrored(np.arange(-12, size + 12), size, edge), expected)
