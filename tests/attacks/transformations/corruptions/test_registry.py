import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from f2at.attacks.transformations.corruptions import CORRUPTIONS, SEVERITIES, apply
from f2at.images.pixels import Images

Paint = Callable[[int, int, int], Images]
# What draws nothing: the same pixels whatever the generator.
FIXED = {
    *("defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast", "saturate", "pixelate"),
    "jpeg_compression",
}
# Whose published strengths do not raise the mean change of pixels at every step, and why.
UNEVEN = {
    "glass_blur": "less blur twice follows more blur once",
    "elastic_transform": "large and smooth comes first, small and rough last: other errors, not more change",
    "frost": "from the second on it keeps less of the image as it adds more ice",
    "pixelate": "blocks meet edges or miss them",
    "saturate": "the first two take colour away, the others add it",
    "snow": "of ImageNet-C: larger flakes above a higher threshold follow smaller ones",
    "spatter": "water brightens, then mud covers",
}
ANYHOW = {"elastic_transform", "pixelate"}  # not even from the first to the last


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_there_are_nineteen() -> None:
    assert len(CORRUPTIONS) == 19
    assert {name for name, corruption in CORRUPTIONS.items() if corruption.extra} == {
        *("speckle_noise", "gaussian_blur", "spatter", "saturate")
    }
    families = Counter(corruption.family for corruption in CORRUPTIONS.values() if not corruption.extra)
    assert families == {"noise": 3, "blur": 4, "weather": 4, "digital": 4}  # Figure 1 of the paper
    assert len({corruption.title for corruption in CORRUPTIONS.values()}) == 19


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_parameters_are_the_functions(name: str) -> None:
    corruption = CORRUPTIONS[name]
    assert corruption.name == name
    signature = inspect.signature(corruption.function).parameters.values()
    keywords = [parameter.name for parameter in signature if parameter.kind is parameter.KEYWORD_ONLY]
    for strengths in (corruption.small, corruption.large):
        assert sorted(strengths) == sorted(keywords)
        assert all(len(values) == len(SEVERITIES) for values in strengths.values())


# The third severity of CIFAR-10-C and of ImageNet-C, as published.
THIRD: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "gaussian_noise": ((0.08,), (0.18,)),
    "shot_noise": ((100,), (12,)),
    "impulse_noise": ((0.03,), (0.09,)),
    "defocus_blur": ((0.5, 0.6), (6, 0.5)),
    "glass_blur": ((0.4, 1, 1), (1, 2, 3)),
    "motion_blur": ((6, 2), (15, 8)),
    "zoom_blur": ((1.16, 0.01), (1.21, 0.02)),
    "snow": ((0.15, 0.3, 1.75, 0.55, 10, 4, 0.9), (0.55, 0.3, 4, 0.9, 12, 8, 0.7)),
    "frost": ((0.9, 0.4, 8), (0.7, 0.7, 40)),
    "fog": ((0.75, 2.5), (2.5, 1.7)),
    "brightness": ((0.15,), (0.3,)),
    "contrast": ((0.4,), (0.2,)),
    "elastic_transform": ((0.08, 0.06, 0.06), (12.2 / 224, 2.44 / 224, 4.88 / 224)),
    "pixelate": ((0.85,), (0.4,)),
    "jpeg_compression": ((58,), (15,)),
    "speckle_noise": ((0.12,), (0.35,)),
    "gaussian_blur": ((0.7,), (3,)),
    "spatter": ((0.65, 0.3, 1, 0.69, 0.5, False), (0.65, 0.3, 2, 0.68, 0.5, False)),
    "saturate": ((1.5, 0), (2, 0)),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_strengths_by_size(name: str) -> None:
    small, large = THIRD[name]
    for size in ((32, 32), (64, 64), (28, 36)):
        assert tuple(CORRUPTIONS[name].parameters(3, *size).values()) == pytest.approx(small)
    for size in ((65, 20), (20, 65), (224, 224)):
        assert tuple(CORRUPTIONS[name].parameters(3, *size).values()) == pytest.approx(large)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 28, 36), (2, 1, 5)])
def test_images_in_and_out(paint: Paint, name: str, severity: int, shape: tuple[int, int, int]) -> None:
    images = paint(*shape)
    before = images.copy()
    one, same, other = (apply(name, images, severity, rng(seed)) for seed in (0, 0, 1))
    assert one.shape == images.shape
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(images, before)
    if name in FIXED:
        np.testing.assert_array_equal(one, other)
    elif shape != (2, 1, 5):
        assert (one != other).any()
    assert apply(name, images[:0], severity, rng()).shape == (0, *images.shape[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_photographs(paint: Paint, name: str) -> None:
    images = paint(1, 224, 224)
    for severity in (1, 5):
        found = apply(name, images, severity, rng())
        assert found.shape == (1, 224, 224, 3)
        assert (found != images).mean() > 0.01


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_draw_by_themselves(paint: Paint, name: str) -> None:
    found = apply(name, np.repeat(paint(1, 32, 32), 2, axis=0), 5, rng())
    assert (found[0] == found[1]).all() == (name in FIXED)


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_change_rises_with_the_severity(paint: Paint, name: str, size: int) -> None:
    images = paint(4, size, size)
    changes = [float(np.abs(apply(name, images, s, rng()).astype(int) - images).mean()) for s in SEVERITIES]
    assert min(changes) > 0
    if name not in UNEVEN:
        assert changes == sorted(changes)
    if name not in ANYHOW:
        assert changes[0] < changes[-1]


def test_what_is_unknown_is_named(paint: Paint) -> None:
    images = paint(1, 8, 8)
    with pytest.raises(ValueError, match=r"name must be one of gaussian_noise, .*, saturate; got 'rain'"):
        apply("rain", images, 1, rng())
    for severity in (0, 6, 2.5):
        with pytest.raises(ValueError, match=f"severity must be from 1 to 5; got {severity}"):
            apply("fog", images, severity, rng())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, H, W, 3\); got float64 \(1, 8, 8, 3\)"):
        apply("fog", images / 255, 1, rng())  # type: ignore[arg-type]
