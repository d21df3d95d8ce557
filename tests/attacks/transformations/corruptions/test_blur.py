from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter  # type: ignore[import-untyped]

from f2at.attacks.transformations.corruptions import CORRUPTIONS, SEVERITIES, apply
from f2at.attacks.transformations.corruptions.blur import disk, displaced, glass_blur, motion_blur, zoom_blur
from f2at.images.pixels import Images

Paint = Callable[[int, int, int], Images]
BLURS = [name for name, corruption in CORRUPTIONS.items() if corruption.family == "blur"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", BLURS)
@pytest.mark.parametrize("size", [32, 80])
def test_what_is_flat_stays(name: str, size: int) -> None:
    """The weights add up to one, at the edges, too."""
    for value in (0, 77, 255):
        images = np.full((2, size, size, 3), value, np.uint8)
        for severity in SEVERITIES:
            np.testing.assert_array_equal(apply(name, images, severity, rng()), images)


@pytest.mark.parametrize("name", BLURS)
def test_no_pixel_leaves_the_range_of_the_image(paint: Paint, name: str) -> None:
    images = paint(2, 32, 32) // 2 + 60
    found = apply(name, images, 5, rng())
    assert found.min() >= images.min()
    assert found.max() <= images.max()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [32, 80])
def test_gaussian_blur_is_a_gaussian_filter(paint: Paint, severity: int, size: int) -> None:
    images = paint(2, size, size)
    sigma = CORRUPTIONS["gaussian_blur"].parameters(severity, size, size)["sigma"]
    expected = gaussian_filter(images.astype(float), sigma, axes=(1, 2), mode="nearest", truncate=4)
    assert np.abs(apply("gaussian_blur", images, severity, rng()) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("radius", "softness"), [(0.3, 0.4), (1, 0.2), (1.5, 0.1), (3, 0.1), (6, 0.5), (10, 0.5)])
def test_disks(radius: float, softness: float) -> None:
    kernel = disk(radius, softness)
    assert kernel.sum() == pytest.approx(1)
    assert (kernel >= 0).all()
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1])
    # As wide as a disk: each coordinate's mean square is a quarter of the square of its radius, and the softness's.
    side = np.arange(len(kernel)) - len(kernel) // 2
    if radius >= 3:
        assert (kernel.sum(axis=0) * side**2).sum() == pytest.approx(radius**2 / 4 + softness**2, rel=0.1)


def test_disks_by_hand() -> None:
    assert disk(0.3, 0.1)[1, 1] == pytest.approx(1)
    # The centre and its four neighbours; the blur of 0.2 pixels moves e^-12.5 of each.
    np.testing.assert_allclose(disk(1, 0.2)[1:4, 1:4] * 5, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], atol=1e-4)
    np.testing.assert_allclose(disk(1.5, 0.1)[1:4, 1:4] * 9, np.ones((3, 3)), atol=1e-4)


def test_defocus_is_a_correlation_with_the_disk(paint: Paint) -> None:
    images = paint(2, 80, 70)
    expected = correlate(images.astype(float), disk(6, 0.5)[None, :, :, None], mode="mirror")
    assert np.abs(apply("defocus_blur", images, 3, rng()) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("reach", [1, 2, 4])
@pytest.mark.parametrize("shape", [(12, 9), (20, 20), (4, 3)])
def test_displaced_pixels_one_after_the_other(shape: tuple[int, int], reach: int) -> None:
    """As the authors' loop does it: from the last pixel to the first, each is overwritten by its partner."""
    height, width = shape
    moves = rng().integers(-reach, reach, (3, 2, height, width))
    found = displaced(moves, reach).reshape(3, height, width)
    for image in range(3):
        pixels = np.arange(height * width).reshape(height, width)
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                down, right = moves[image, :, row, column]
                pixels[row, column] = pixels[row + down, column + right]
        np.testing.assert_array_equal(found[image], pixels)


def test_glass_moves_pixels_and_makes_none() -> None:
    """Hardly blurred, every pixel is one of those around it, in all its channels."""
    row, column = np.mgrid[:20, :24]
    image = np.stack([8 * row, 8 * column, 255 - 8 * row], axis=2).astype(np.uint8)[None]
    found = glass_blur(image, rng(), sigma=0.05, reach=1, rounds=1)
    assert (found != image).mean() > 0.3
    np.testing.assert_array_equal(found[..., 2], 255 - found[..., 0])
    assert not (found % 8)[..., :2].any()
    down, right = ((found[..., k].astype(int) - image[..., k]) // 8 for k in (0, 1))
    assert np.unique(down).max() <= 6  # a pixel that is copied on and on
    assert abs(down.mean() + 0.5) < 0.5
    assert abs(right.mean() + 0.5) < 0.5
    twice = glass_blur(image, rng(), sigma=0.05, reach=1, rounds=2)
    assert np.abs(twice.astype(int) - image).mean() > np.abs(found.astype(int) - image).mean()


def test_motion_runs_to_one_side() -> None:
    """A white column in the middle fades out to one side, to within 45 degrees of level."""
    images = np.zeros((40, 41, 41, 3), np.uint8)
    images[:, :, 20] = 255
    found = motion_blur(images, rng(), radius=6, sigma=2)[:, 20, :, 0].astype(int)
    assert (found.sum(axis=1) >= 254 - 6).all()
    assert not found[:, 21:].any()
    assert (found[:, 20] > 0).all()
    assert (found[:, 18] > 0).all()
    assert not found[:, :8].any()
    images = np.zeros((40, 41, 41, 3), np.uint8)
    images[:, 20, 20] = 255
    found = motion_blur(images, rng(), radius=6, sigma=4)[..., 0]
    rows, columns = (found.any(axis=axis).sum(axis=1) for axis in (2, 1))
    assert (rows <= columns + 1).all()
    assert rows.max() > 5
    assert rows.min() <= 2


def test_zooming_by_hand() -> None:
    """A sharp spot in the middle stays there and fades outwards: it is the mean of the image and its enlargements."""
    image = np.zeros((1, 33, 33, 3), np.uint8)
    image[0, 12:21, 12:21] = 240
    found = zoom_blur(image, rng(), stop=1.26, step=0.01)[0, ..., 0]
    np.testing.assert_allclose(found, found.T, atol=1)
    assert (found[14:19, 14:19] == 240).all()
    assert (np.diff(found[16, 16:].astype(int)) <= 0).all()
    assert found[16, 21] > 0
    # With a stop at once, there are the image and its enlargement by 1: itself.
    np.testing.assert_array_equal(zoom_blur(image, rng(), stop=1.005, step=0.01), image)
