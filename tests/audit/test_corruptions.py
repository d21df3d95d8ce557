import io
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

from f2at.attacks.grid import distances
from f2at.audit.corruptions import CORRUPTIONS, SEVERITIES, noise_in_ball

BALL: dict[str, Any] = {"eps": Fraction(8, 255), "norm": "linf"}
NATURAL = [name for name, corruption in CORRUPTIONS.items() if not corruption.in_ball]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth images of 20 x 24 pixels with a sharp edge."""
    row, column = np.mgrid[:20, :24]
    waves = [np.sin(row / a + k) * np.cos(column / b) for k, (a, b) in enumerate([(3, 4), (5, 2), (7, 9)])]
    found = 128 + 100 * np.stack([np.stack(waves, axis=2), np.stack(waves[::-1], axis=2)])
    found[:, 8:14, 5:11] = 230
    return found.astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(3, 8, 8, 3), (1, 1, 5, 3)])
def test_images_in_and_out(name: str, shape: tuple[int, ...]) -> None:
    before = rng().integers(0, 256, shape, np.uint8)
    given = before.copy()
    one, same, other = (CORRUPTIONS[name].apply(given, rng(seed), **BALL) for seed in (0, 0, 1))
    assert one.shape == shape
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(given, before)
    if "noise" in name:
        assert (one != other).any()
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NATURAL)
def test_severities_rise(images: np.ndarray, name: str) -> None:
    corruption = CORRUPTIONS[name]
    assert corruption.severity == 3
    assert corruption.at(3) == corruption
    change = [
        float(np.abs(corruption.at(severity).apply(images, rng(), **BALL).astype(int) - images).mean())
        for severity in SEVERITIES
    ]
    assert change == sorted(change)
    assert 0 < change[0] < change[-1]


def test_strengths_of_cifar_10_c() -> None:
    """The authors' own, for 32 x 32 pixels."""
    assert {name: CORRUPTIONS[name].parameters for name in NATURAL} == {
        "gaussian-noise": {"sigma": 0.08},
        "gaussian-blur": {"sigma": 0.7},
        "contrast": {"factor": 0.4},
        "jpeg": {"quality": 58},
    }
    for name, values in (
        ("gaussian-noise", (0.04, 0.06, 0.08, 0.09, 0.1)),
        ("gaussian-blur", (0.4, 0.6, 0.7, 0.8, 1)),
        ("contrast", (0.75, 0.5, 0.4, 0.3, 0.15)),
        ("jpeg", (80, 65, 58, 50, 40)),
    ):
        assert tuple(*zip(*(CORRUPTIONS[name].at(s).parameters.values() for s in SEVERITIES), strict=True)) == values


@pytest.mark.parametrize(("name", "severity"), [("jpeg", 0), ("jpeg", 6), ("noise-in-ball", 3)])
def test_unknown_severities_are_named(name: str, severity: int) -> None:
    with pytest.raises(ValueError, match=f"severity must be .* for {name}; got {severity}"):
        CORRUPTIONS[name].at(severity)


def test_gaussian_noise_has_its_deviation() -> None:
    grey = np.full((4, 50, 50, 3), 128, np.uint8)
    change = CORRUPTIONS["gaussian-noise"].apply(grey, rng(), **BALL).astype(float) - 128
    assert np.std(change) == pytest.approx(0.08 * 255, rel=0.02)
    assert abs(change.mean()) < 0.3


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_is_a_gaussian_filter(images: np.ndarray, severity: int) -> None:
    corruption = CORRUPTIONS["gaussian-blur"].at(severity)
    expected = gaussian_filter(
        images.astype(float), corruption.parameters["sigma"], axes=(1, 2), mode="nearest", truncate=4
    )
    assert np.abs(corruption.apply(images, rng(), **BALL) - expected).max() <= 0.5 + 1e-9


def test_contrast_by_hand() -> None:
    image = np.array([[[0, 10, 255], [100, 30, 255]]], np.uint8)[None]
    # Means 50, 20 and 255; 0.4 of the way out: 30 and 70, 16 and 24, 255.
    found = CORRUPTIONS["contrast"].apply(image, rng(), **BALL)
    np.testing.assert_array_equal(found[0, 0], [[30, 16, 255], [70, 24, 255]])


def test_jpeg_is_pillows(images: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(images[1]).save(buffer, "JPEG", quality=58)
    found = CORRUPTIONS["jpeg"].apply(images, rng(), **BALL)
    np.testing.assert_array_equal(found[1], np.asarray(Image.open(buffer)))


def test_noise_in_the_ball_spends_the_whole_radius() -> None:
    grey = np.full((3, 8, 8, 3), 128, np.uint8)
    found = noise_in_ball(grey, rng(), eps=Fraction(8, 255), norm="linf").astype(int) - 128
    assert set(found.ravel()) == {-8, 8}
    assert abs(found.mean()) < 1
    found = noise_in_ball(grey, rng(), eps=Fraction(1, 2), norm="l2")
    size = distances(grey, found, "l2")
    assert (size <= 127.5).all()
    assert (size > 120).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), levels=st.integers(1, 255), norm=st.sampled_from(["linf", "l2"]))
def test_noise_in_the_ball_stays_there(seed: int, levels: int, norm: str) -> None:
    pixels = rng(seed).integers(-100, 356, (3, 5, 4, 3)).clip(0, 255).astype(np.uint8)  # many at the box's edge
    found = CORRUPTIONS["noise-in-ball"].apply(pixels, rng(seed), eps=Fraction(levels, 255), norm=norm)
    assert (distances(pixels, found, norm) <= levels).all()
