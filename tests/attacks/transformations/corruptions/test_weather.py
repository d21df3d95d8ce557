import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from f2at.attacks.transformations.corruptions.frost import crystals, frost, frozen
from f2at.attacks.transformations.corruptions.plasma import plasma
from f2at.attacks.transformations.corruptions.weather import brightness, fog, snow
from f2at.images.pixels import Images

Paint = Callable[[int, int, int], Images]
SNOW: dict[str, Any] = {"deviation": 0.3, "size": 1.75, "threshold": 0.55, "radius": 10, "sigma": 4}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_brightness_is_value(paint: Paint) -> None:
    images = paint(1, 20, 24)
    found = brightness(images, rng(), added=0.2)
    for before, after in zip(images.reshape(-1, 3) / 255, found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1)))
        assert np.abs(expected * 255 - after).max() <= 0.5 + 1e-9


def test_brightness_by_hand() -> None:
    image = np.array([[[0, 0, 0], [60, 102, 0], [255, 51, 0]]], np.uint8)[None]
    np.testing.assert_array_equal(brightness(image, rng(), added=0.2)[0, 0], [[51, 51, 51], [90, 153, 0], [255, 51, 0]])


@pytest.mark.parametrize(("side", "size"), [(1, 2), (2, 2), (32, 32), (33, 64), (224, 256)])
def test_plasma_fills_its_range(side: int, size: int) -> None:
    found = plasma(rng(), 3, side, 2)
    assert found.shape == (3, 1, size, size)
    np.testing.assert_array_equal(found.min(axis=(1, 2, 3)), 0)
    np.testing.assert_array_equal(found.max(axis=(1, 2, 3)), 1)
    assert (found[0] != found[1]).any()


def test_plasma_of_two_by_hand() -> None:
    """One corner, 0; its middle, a quarter of four times the corner and a draw; then the two between."""

    class Draws:
        def __init__(self) -> None:
            self.values = iter([0.8, -0.4, 0.2])

        def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
            assert (low, high, shape) == (-1, 1, (1, 1, 1))
            return np.full(shape, next(self.values))

    # Middle: 0.8. Between, in the row: (0 + 0 + 0.8 + 0.8) / 4 - 0.4 = 0; in the column: 0.4 + 0.2 = 0.6.
    found = plasma(Draws(), 1, 2, 3)[0, 0]  # type: ignore[arg-type]
    np.testing.assert_allclose(found, np.array([[0, 0], [0.6, 0.8]]) / 0.8, atol=1e-12)


def test_plasma_decays_with_the_square() -> None:
    class Draws:
        amplitudes: list[float] = []  # noqa: RUF012

        def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
            self.amplitudes.append(high)
            return np.full(shape, high)

    plasma(Draws(), 1, 8, 3)  # type: ignore[arg-type]
    np.testing.assert_allclose(Draws.amplitudes, [1] * 3 + [1 / 9] * 3 + [1 / 81] * 3)


def test_plasma_is_rougher_the_slower_it_decays() -> None:
    rough, smooth = (np.abs(np.diff(plasma(rng(), 6, 64, decay), axis=3)).mean() for decay in (1.4, 3))
    assert rough > 2 * smooth
    wrapped = plasma(rng(), 6, 64, 3)  # on a torus: no seam
    assert np.abs(wrapped[..., 0] - wrapped[..., -1]).mean() < 2 * np.abs(np.diff(wrapped, axis=3)).mean()


def test_fog_by_hand() -> None:
    """On grey of 0.6 the fog is the fractal itself: (0.6 + d p) 0.6 / (0.6 + d)."""
    images = np.full((2, 28, 30, 3), 153, np.uint8)
    found = fog(images, rng(3), density=1.5, decay=2)
    cloud = plasma(rng(3), 2, 30, 2)[:, 0, :28, :30]
    expected = (0.6 + 1.5 * cloud) * 0.6 / 2.1 * 255
    assert np.abs(found - expected[..., None]).max() <= 0.5 + 1e-9
    assert not fog(np.zeros_like(images), rng(), density=1.5, decay=2).any()


def test_fog_leaves_the_brightest_value_at_most(paint: Paint) -> None:
    images = paint(3, 32, 32) // 2
    found = fog(images, rng(), density=0.75, decay=2.5)
    assert (found.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3))).all()


def test_ice_looks_as_the_authors_pictures_do() -> None:
    """Bluish, 0.57, 0.65 and 0.7 bright on average, as bright in one picture as in another within a quarter."""
    ice = frozen(rng(), 24, (64, 64), length=20)
    assert ice.shape == (24, 3, 64, 64)
    assert (ice >= 0).all()
    assert (ice <= 1).all()
    np.testing.assert_allclose(ice.mean(axis=(0, 2, 3)), [0.57, 0.655, 0.7], atol=0.05)
    levels = ice.mean(axis=(1, 2, 3)) / ice.mean()
    assert levels.min() > 0.7
    assert levels.max() < 1.3
    assert levels.std() > 0.08
    assert 0.07 < ice.std(axis=(2, 3)).mean() < 0.11


def test_crystals_are_slender_and_lie_in_every_direction() -> None:
    found = crystals(rng(), 4, (48, 60), length=20)
    assert found.shape == (4, 1, 48, 60)
    assert found.min() == 0
    assert 0.8 < found.max() <= 1
    covered = (found > 0).mean()
    assert 0.3 < covered < 0.95
    across, down = (np.abs(np.diff(found, axis=axis)).mean() for axis in (3, 2))
    assert across == pytest.approx(down, rel=0.15)
    # As many at the edges as within.
    assert found[:, :, :4].mean() == pytest.approx(found.mean(), rel=0.3)
    assert found[:, :, :, -4:].mean() == pytest.approx(found.mean(), rel=0.3)


def test_frost_by_hand() -> None:
    images = np.full((2, 20, 24, 3), 102, np.uint8)
    found = frost(images, rng(2), kept=0.75, ice=0.45, length=8)
    ice = frozen(rng(2), 2, (20, 24), length=8).transpose(0, 2, 3, 1)
    assert np.abs(found - (0.75 * 102 + 0.45 * 255 * ice)).max() <= 0.5 + 1e-9


def test_snow_without_flakes_makes_pale() -> None:
    """Black becomes grey, white stays; red has the grey 0.299: max(red, 0.9485) in every channel."""
    image = np.zeros((1, 4, 6, 3), np.uint8)
    image[0, :, 2:4] = (255, 0, 0)
    image[0, :, 4:] = 255
    found = snow(image, rng(), mean=-9, kept=0.9, **SNOW)
    np.testing.assert_array_equal(found[0, 0, ::2], [[13, 13, 13], [255, 24, 24], [255, 255, 255]])


def test_snow_falls_on_both_halves_alike() -> None:
    """All that is not the picture itself is the same upside down; flakes are streaks along the way down."""
    images = np.zeros((30, 40, 40, 3), np.uint8)
    found = snow(images, rng(), mean=0.15, kept=1, **SNOW)[..., 0].astype(float)
    np.testing.assert_array_equal(found, found[:, ::-1, ::-1])
    assert found.max() > 60
    assert 0.2 < (found == 0).mean() < 0.95
    down, across = (np.abs(np.diff(found, axis=axis)).mean() for axis in (1, 2))
    assert across > 1.2 * down
    assert snow(images, rng(), mean=0.3, kept=1, **SNOW).mean() > found.mean()
