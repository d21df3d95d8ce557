import colorsys
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from f2at.attacks.transformations.corruptions import apply
from f2at.attacks.transformations.corruptions.digital import (
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from f2at.images.pixels import Images

Paint = Callable[[int, int, int], Images]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_contrast_keeps_means(paint: Paint) -> None:
    images = paint(3, 28, 36)
    found = contrast(images, rng(), factor=0.3)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=0.5)
    np.testing.assert_allclose(found.std(axis=(1, 2)), 0.3 * images.std(axis=(1, 2)), rtol=0.02)


def test_contrast_by_hand() -> None:
    image = np.array([[[0, 10, 255], [100, 30, 255]]], np.uint8)[None]
    # Means 50, 20 and 255; 0.4 of the way out: 30 and 70, 16 and 24, 255.
    np.testing.assert_array_equal(contrast(image, rng(), factor=0.4)[0, 0], [[30, 16, 255], [70, 24, 255]])


@pytest.mark.parametrize(("factor", "added"), [(0.3, 0), (0.1, 0), (1.5, 0), (2.5, 0.2), (20, 0.2)])
def test_saturation_is_hsvs(paint: Paint, factor: float, added: float) -> None:
    images = paint(1, 20, 24)
    assert (np.ptp(images, axis=3) == 0).any()  # grey is among them
    found = saturate(images, rng(), factor=factor, added=added)
    for before, after in zip(images.reshape(-1, 3) / 255, found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        expected = np.array(colorsys.hsv_to_rgb(hue, min(saturation * factor + added, 1), value))
        assert np.abs(expected * 255 - after).max() <= 0.5 + 1e-9


def test_grey_is_red_of_no_saturation() -> None:
    image = np.array([[[100, 100, 100], [0, 0, 0], [250, 250, 250]]], np.uint8)[None]
    np.testing.assert_array_equal(saturate(image, rng(), factor=0.3, added=0), image)
    np.testing.assert_array_equal(
        saturate(image, rng(), factor=2, added=0.1)[0, 0], [[100, 90, 90], [0, 0, 0], [250, 225, 225]]
    )


def test_jpeg_is_pillows(paint: Paint) -> None:
    images = paint(1, 28, 36)
    buffer = io.BytesIO()
    Image.fromarray(images[0]).save(buffer, "JPEG", quality=18)
    np.testing.assert_array_equal(jpeg_compression(images, rng(), quality=18)[0], np.asarray(Image.open(buffer)))


@pytest.mark.parametrize("factor", [0.95, 0.65, 0.25])
@pytest.mark.parametrize("shape", [(32, 32), (28, 36), (224, 224)])
def test_pixels_become_blocks(shape: tuple[int, int], factor: float) -> None:
    """As many rows and columns as the smaller picture has; the others are repeated."""
    images = rng().integers(0, 256, (1, *shape, 3), np.uint8)
    found = pixelate(images, rng(), factor=factor)[0]
    for axis, size in enumerate(shape):
        borders = np.diff(found.astype(int), axis=axis).any(axis=(1 - axis, 2)).sum()
        assert borders + 1 == int(size * factor)


def test_blocks_are_means(paint: Paint) -> None:
    images = paint(2, 28, 36)
    found = pixelate(images, rng(), factor=0.25)
    means = images.reshape(2, 7, 4, 9, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found, means.repeat(4, axis=1).repeat(4, axis=2), atol=1)
    # A single pixel is left of small images.
    np.testing.assert_array_equal(pixelate(images[:, :1, :3], rng(), factor=0.25).std(axis=2), 0)


def test_elastic_without_moves_is_the_identity(paint: Paint) -> None:
    images = paint(2, 28, 36)
    np.testing.assert_array_equal(elastic_transform(images, rng(), distance=0, smoothness=0.1, affine=0), images)


@pytest.mark.parametrize("shape", [(64, 48), (48, 64)])
def test_elastic_maps_are_affine_first(shape: tuple[int, int]) -> None:
    """Of an image whose red and green say where each pixel came from, its middle is a plane again."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    image = np.stack([4 * row % 256, 4 * column % 256, 0 * row], axis=2).astype(np.uint8)[None].clip(0, 255)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    found = elastic_transform(np.repeat(image, 5, axis=0), rng(), distance=0, smoothness=0, affine=0.05)
    moved = found[inner].astype(float)[..., :2] / 4
    rows, columns = row[inner[1:]], column[inner[1:]]
    plane = np.stack([rows.ravel(), columns.ravel(), np.ones(rows.size)], axis=1)
    for origin in moved.reshape(5, -1, 2):
        solution, *_ = np.linalg.lstsq(plane, origin, rcond=None)
        assert np.abs(plane @ solution - origin).max() < 0.3
        # Three points, a third of the side from the centre, moved by 0.05 sides: slopes change by 0.3 at most.
        assert 0 < np.abs(solution[:2] - np.eye(2)).max() < 0.3
    assert np.abs(moved - image[inner].astype(float)[..., :2] / 4).max() > 1


def test_elastic_displacements_have_their_size() -> None:
    """Draws from -1 to 1 are of deviation 1 / sqrt(3); a Gaussian filter leaves 1 / (2 sigma sqrt(pi)) of it."""
    row, column = np.mgrid[:64, :64]
    image = np.stack([4 * row, 4 * column, 0 * row], axis=2).clip(0, 255).astype(np.uint8)[None]
    found = elastic_transform(np.repeat(image, 8, axis=0), rng(), distance=0.3, smoothness=0.05, affine=0)
    inner = (slice(None), slice(12, -12), slice(12, -12), slice(2))
    moved = (found[inner].astype(float) - image[inner]) / 4
    sigma = 0.05 * 64
    assert moved.std() == pytest.approx(0.3 * 64 / np.sqrt(3) / (2 * sigma * np.sqrt(np.pi)), rel=0.1)
    assert abs(moved.mean()) < 0.2
    assert abs(np.corrcoef(moved[..., 0].ravel(), moved[..., 1].ravel())[0, 1]) < 0.3  # down and right by themselves
    assert np.abs(np.diff(moved, axis=1)).mean() < 0.5 * moved.std()


def test_elastic_is_lighter_smoothed_more(paint: Paint) -> None:
    images = paint(4, 32, 32)
    rough, smooth = (
        np.abs(elastic_transform(images, rng(), distance=0.1, smoothness=s, affine=0).astype(int) - images).mean()
        for s in (0.03, 0.1)
    )
    assert rough > 1.5 * smooth > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 2)])
def test_tiny_images_are_moved_too(shape: tuple[int, int]) -> None:
    images = rng().integers(0, 256, (2, *shape, 3), np.uint8)
    for severity in (1, 5):
        assert apply("elastic_transform", images, severity, rng()).shape == images.shape
