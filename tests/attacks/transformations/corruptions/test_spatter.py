import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter  # type: ignore[import-untyped]

from f2at.attacks.transformations.corruptions.spatter import distance_to, equalized, relief, rim, spatter

DROPS = {"mean": 0.65, "deviation": 0.3, "size": 2.0, "threshold": 0.68}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def liquid(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """What lies above the threshold, drawn as `spatter` draws it."""
    noise = 0.65 + 0.3 * rng(seed).standard_normal((count, 1, height, width))
    return np.asarray(gaussian_filter(noise, 2, axes=(2, 3), mode="nearest")[:, 0] >= 0.68)


def test_mud_covers_drops_and_nothing_else() -> None:
    images = np.full((3, 64, 70, 3), 200, np.uint8)
    found = spatter(images, rng(), **DROPS, strength=0.5, mud=True)
    touched = (found != images).any(axis=3)
    cover = gaussian_filter(liquid(3, 64, 70).astype(float), 0.5, axes=(1, 2), mode="nearest")
    np.testing.assert_array_equal(touched, cover >= 0.8)
    assert 0.05 < touched.mean() < 0.5
    np.testing.assert_array_equal(np.unique(found[cover > 1 - 1e-6], axis=0), [[63, 42, 20]])


def test_water_brightens_drops_and_nothing_else() -> None:
    images = np.full((3, 64, 70, 3), 50, np.uint8)
    found = spatter(images, rng(), **DROPS, strength=0.5, mud=False)
    added = found.astype(float) - images
    wet = liquid(3, 64, 70)
    assert not added[~wet].any()
    assert (added >= 0).all()
    assert (added[wet] > 2).mean() > 0.4
    # The brightest point of each image gets half of pale turquoise.
    np.testing.assert_allclose(added.max(axis=(1, 2)), [[87.5, 119, 119]] * 3, atol=0.5 + 1e-9)
    assert np.abs(added[..., 0] / 175 - added[..., 1] / 238).max() < 0.005


def test_no_drops() -> None:
    images = rng().integers(0, 256, (2, 20, 24, 3), np.uint8)
    for mud in (True, False):
        found = spatter(images, rng(), mean=0, deviation=0.1, size=1, threshold=0.9, strength=0.5, mud=mud)
        np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("share", [0.3, 0.02, 0.002])
def test_distances_are_scipys(share: float) -> None:
    marked = rng().random((3, 1, 50, 60)) < share
    marked[0] = False
    marked[0, 0, 3, 4] = True
    expected = np.stack([distance_transform_edt(~picture[0])[None] for picture in marked])
    np.testing.assert_allclose(distance_to(marked), np.minimum(expected, 20))
    assert (distance_to(np.zeros((1, 1, 5, 5), bool)) == 20).all()


def test_a_square_drop_is_lit_from_one_side() -> None:
    drop = np.zeros((1, 1, 31, 31))
    drop[..., 8:23, 8:23] = 0.7
    ring = drop[0, 0] > 0
    ring[9:22, 9:22] = False
    np.testing.assert_array_equal(rim(drop > 0)[0, 0], ring)
    found = relief(drop)[0, 0]
    np.testing.assert_allclose(found, found.T, atol=1e-9)
    assert found[11, 11] > found[15, 15] > found[19, 19]


def test_equalized_by_hand() -> None:
    # Of four pixels above the lowest level, one is at 3, two up to 5, four up to 9.
    levels = np.array([2, 2, 3, 5, 9, 9], np.uint8).reshape(1, 1, 2, 3)
    expected = np.array([0, 0, 64, 128, 255, 255]).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(equalized(levels), expected)
    np.testing.assert_array_equal(equalized(np.full((1, 1, 2, 2), 20, np.uint8)), 20)
