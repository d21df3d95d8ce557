from collections.abc import Callable

import numpy as np
import pytest

from f2at.attacks.transformations.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from f2at.images.pixels import Images


def flat(value: int) -> Images:
    return np.full((4, 60, 60, 3), value, np.uint8)


def change(function: Callable[..., Images], value: int, **parameters: float) -> np.ndarray:
    return function(flat(value), np.random.default_rng(0), **parameters).astype(float) - value


@pytest.mark.parametrize("sigma", [0.04, 0.1])
@pytest.mark.parametrize("value", [90, 128])
def test_gaussian_noise_has_its_deviation(sigma: float, value: int) -> None:
    found = change(gaussian_noise, value, sigma=sigma)
    assert found.std() == pytest.approx(255 * sigma, rel=0.02)
    assert abs(found.mean()) < 0.3


@pytest.mark.parametrize("photons", [60, 500])
@pytest.mark.parametrize("value", [60, 128])
def test_shot_noise_is_poissons(photons: float, value: int) -> None:
    """The variance is the mean number of photons, value / 255 times `photons`; each is 255 / photons levels."""
    found = change(shot_noise, value, photons=photons)
    assert found.std() == pytest.approx(np.sqrt(value / 255 * photons) * 255 / photons, rel=0.02)
    assert abs(found.mean()) < 0.4
    assert not change(shot_noise, 0, photons=photons).any()


def test_shot_noise_counts() -> None:
    found = shot_noise(flat(128), np.random.default_rng(0), photons=3)
    assert set(np.unique(found)) == {0, 85, 170, 255}


def test_impulse_noise_is_salt_and_pepper() -> None:
    """Half black, half white, in every channel by itself."""
    found = impulse_noise(flat(100), np.random.default_rng(0), share=0.2)
    assert set(np.unique(found)) == {0, 100, 255}
    for value, share in ((0, 0.1), (255, 0.1), (100, 0.8)):
        assert (found == value).mean() == pytest.approx(share, abs=0.01)
    spoiled = found != 100
    assert spoiled.all(axis=3).mean() == pytest.approx(0.2**3, abs=0.004)


@pytest.mark.parametrize("value", [50, 128])
def test_speckle_noise_is_a_share(value: int) -> None:
    found = change(speckle_noise, value, sigma=0.2)
    assert found.std() == pytest.approx(0.2 * value, rel=0.02)
    assert abs(found.mean()) < 0.3
    assert not change(speckle_noise, 0, sigma=0.2).any()


@pytest.mark.parametrize(
    ("function", "parameters"),
    [(gaussian_noise, {"sigma": 0.4}), (speckle_noise, {"sigma": 0.6}), (shot_noise, {"photons": 3})],
)
def test_what_is_too_bright_is_white(function: Callable[..., Images], parameters: dict[str, float]) -> None:
    """And does not come out dark, as it would if it ran over."""
    found = function(flat(250), np.random.default_rng(0), **parameters)
    assert (found == 255).mean() > 0.4
