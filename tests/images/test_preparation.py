"""How pictures fit, against torchvision's transforms and pictures worked out by hand."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from f2at.images.preparation import FITS, INTERPOLATIONS, Preparation

RNG = np.random.default_rng(0)


def picture(width: int, height: int) -> Image.Image:
    coarse = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(80, 33), (33, 80), (50, 50), (20, 31), (32, 32)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic", "nearest"])
def test_crop_is_torchvisions(size: tuple[int, int], name: str) -> None:
    image = picture(*size)
    interpolation = v2.InterpolationMode(name)
    reference = v2.Compose([v2.Resize(32, interpolation=interpolation, antialias=True), v2.CenterCrop(32)])(image)
    found = Preparation((32, 32), "crop", name).fitted(image)
    difference = np.abs(np.asarray(found).astype(int) - np.asarray(reference))
    if name == "nearest":  # a pixel's centre may lie on the border of two
        assert (difference > 0).any(axis=2).mean() < 0.05
    else:
        assert difference.max() <= 1


def test_crop_to_a_size_that_is_not_square() -> None:
    image = picture(80, 40)
    found = Preparation((20, 30), "crop").fitted(image)
    expected = image.resize((40, 20), Image.Resampling.BILINEAR).crop((5, 0, 35, 20))
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_squash_is_a_plain_resize(name: str) -> None:
    image = picture(80, 33)
    expected = image.resize((24, 16), INTERPOLATIONS[name])
    np.testing.assert_array_equal(np.asarray(Preparation((16, 24), "squash", name).fitted(image)), np.asarray(expected))


@pytest.mark.parametrize(
    ("size", "inside"), [((40, 20), (slice(4, 12), slice(0, 16))), ((2, 4), (slice(0, 16), slice(4, 12)))]
)
def test_pad_keeps_all_of_it_between_black(size: tuple[int, int], inside: tuple[slice, slice]) -> None:
    found = np.asarray(Preparation((16, 16), "pad").fitted(Image.new("RGB", size, "red")))
    assert (found[inside] == (255, 0, 0)).all()
    assert (found != 0).any(axis=2).sum() == 128


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (100_000, 1), (16, 16)])
def test_the_thinnest_pictures_are_of_the_size(fit: str, size: tuple[int, int]) -> None:
    preparation = Preparation((16, 12), fit)
    assert preparation.fitted(Image.new("RGB", size)).size == (12, 16)
    width, height = preparation.enough(size)
    assert min(width, height) >= 2


def test_what_is_decoded_small_is_still_large_enough() -> None:
    assert Preparation((32, 64), "crop").enough((4000, 3000)) == (128, 64)
    assert Preparation((32, 32), "pad").enough((4000, 2000)) == (64, 32)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"fit must be one of squash, crop, pad; got 'stretch'"):
        Preparation((8, 8), "stretch")
    with pytest.raises(ValueError, match=r"interpolation must be one of nearest, .*; got 'area'"):
        Preparation((8, 8), "crop", "area")
    with pytest.raises(ValueError, match=r"size must be \(height, width\), .*; got \(8, 0\)"):
        Preparation((8, 0))


def test_fields_are_read_as_written() -> None:
    preparation = Preparation((8, 9), "pad", "bicubic")
    assert Preparation.of((8, 9), {"mean": [0.0], **preparation.describe()}) == preparation
    assert Preparation.of((8, 9), {"mean": [0.0]}) == Preparation((8, 9), "squash", "bilinear")
    with pytest.raises(ValueError, match="given together; got fit alone"):
        Preparation.of((8, 9), {"fit": "crop"})
