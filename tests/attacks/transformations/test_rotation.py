import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform  # type: ignore[import-untyped]

from f2at.attacks.transformations import rotation
from f2at.attacks.transformations.rotation import around, grid, random_candidates, rotate_translate, spacing, strength
from f2at.images.pixels import Images

SHAPES = [(32, 32), (7, 8), (28, 36), (1, 5)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(*shape: int) -> Images:
    return rng().integers(0, 256, (*shape, 3), np.uint8)


def torchs(images: Images, parameters: np.ndarray, fill: str) -> np.ndarray:
    """The same by PyTorch's grids, whose coordinates go from -1 to 1 over the image."""
    height, width = images.shape[1:3]
    degrees, right, down = (torch.from_numpy(column) for column in np.asarray(parameters, float).T)
    cosine, sine = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
    ratio = height / width
    matrix = torch.stack(
        [
            torch.stack([cosine, -sine * ratio, -2 * (cosine * right - sine * ratio * down)], 1),
            torch.stack([sine / ratio, cosine, -2 * (sine / ratio * right + cosine * down)], 1),
        ],
        1,
    )
    inputs = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(float))
    points = F.affine_grid(matrix, list(inputs.shape), align_corners=False)
    padding = "zeros" if fill == "black" else "border"
    found = F.grid_sample(inputs, points, mode="bilinear", padding_mode=padding, align_corners=False)
    return found.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("fill", rotation.FILLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_identity(shape: tuple[int, int], fill: str) -> None:
    images = noise(3, *shape)
    np.testing.assert_array_equal(rotate_translate(images, np.zeros((3, 3)), fill=fill), images)
    np.testing.assert_array_equal(rotate_translate(images, (360, 0, 0), fill=fill), images)


@pytest.mark.parametrize("fill", rotation.FILLS)
@pytest.mark.parametrize("size", [1, 7, 8, 32])
@pytest.mark.parametrize("quarters", [-1, 1, 2, 3])
def test_quarter_turns_of_squares(size: int, quarters: int, fill: str) -> None:
    images = noise(2, size, size)
    found = rotate_translate(images, (90 * quarters, 0, 0), fill=fill)
    np.testing.assert_array_equal(found, np.rot90(images, quarters, axes=(1, 2)))


def test_whole_pixels() -> None:
    """Three to the right and two up, of 20 x 30 pixels; what comes in is black or the edge's."""
    images = noise(2, 20, 30)
    moved = rotate_translate(images, (0, 3 / 30, -2 / 20))
    np.testing.assert_array_equal(moved[:, :-2, 3:], images[:, 2:, :-3])
    assert not moved[:, -2:].any()
    assert not moved[:, :, :3].any()
    moved = rotate_translate(images, (0, 3 / 30, -2 / 20), fill="edge")
    np.testing.assert_array_equal(moved, np.pad(images, ((0, 0), (0, 2), (3, 0), (0, 0)), mode="edge")[:, 2:, :-3])


def test_rotation_comes_before_the_shift() -> None:
    images = noise(1, 9, 9)
    turned = rotate_translate(images, (90, 0, 0))
    np.testing.assert_array_equal(rotate_translate(images, (90, 2 / 9, 0)), rotate_translate(turned, (0, 2 / 9, 0)))


def test_half_a_pixel_by_hand() -> None:
    image = np.array([[[10, 0, 255], [20, 100, 255], [40, 60, 255]]], np.uint8)[None]
    np.testing.assert_array_equal(
        rotate_translate(image, (0, 1 / 6, 0))[0, 0], [[5, 0, 128], [15, 50, 255], [30, 80, 255]]
    )
    np.testing.assert_array_equal(
        rotate_translate(image, (0, 1 / 6, 0), fill="edge")[0, 0], [[10, 0, 255], [15, 50, 255], [30, 80, 255]]
    )


@pytest.mark.parametrize("fill", rotation.FILLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_against_torch(shape: tuple[int, int], fill: str) -> None:
    images = noise(40, *shape)
    parameters = random_candidates(rng(1), 180, 0.6, 40)
    found = rotate_translate(images, parameters, fill=fill)
    assert np.abs(found - torchs(images, parameters, fill)).max() < 0.51
    assert (found != images).any()


@pytest.mark.parametrize("degrees", [-30.0, 17.0, 123.0])
def test_against_scipy(degrees: float) -> None:
    """Rotation alone, of an image that is not square, in (row, column) coordinates about the centre."""
    image = noise(1, 24, 33)[0]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([23, 32]) / 2
    expected = np.stack(
        [
            affine_transform(channel.astype(float), matrix, centre - matrix @ centre, order=1, mode="grid-constant")
            for channel in np.moveaxis(image, 2, 0)
        ],
        axis=2,
    )
    assert np.abs(rotate_translate(image[None], (degrees, 0, 0))[0] - expected).max() < 0.51


def test_each_image_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are rendered in parts."""
    images, parameters = noise(7, 8, 9), random_candidates(rng(2), 30, 0.1, 7)
    alone = [rotate_translate(images[i : i + 1], parameters[i]) for i in range(7)]
    np.testing.assert_array_equal(rotate_translate(images, parameters), np.concatenate(alone))
    monkeypatch.setattr(rotation, "_PIXELS", 3 * 72)
    np.testing.assert_array_equal(rotate_translate(images, parameters), np.concatenate(alone))
    assert rotate_translate(images[:0], np.zeros((0, 3))).shape == (0, 8, 9, 3)


def test_photographs(paint: Callable[[int, int, int], Images]) -> None:
    images = paint(2, 224, 224)
    parameters = np.array([[30, 0.1, -0.1], [-7, 0, 0.05]])
    assert np.abs(rotate_translate(images, parameters) - torchs(images, parameters, "black")).max() < 0.51


@settings(max_examples=40)
@given(degrees=st.floats(-180, 180), right=st.floats(-1.5, 1.5), down=st.floats(-1.5, 1.5), value=st.integers(0, 255))
def test_the_edge_goes_on(degrees: float, right: float, down: float, value: int) -> None:
    """A flat image stays flat if its edge is repeated, and never gets brighter if it is not."""
    images = np.full((1, 6, 9, 3), value, np.uint8)
    assert (rotate_translate(images, (degrees, right, down), fill="edge") == value).all()
    assert (rotate_translate(images, (degrees, right, down)) <= value).all()


def test_unknown_fills_are_named() -> None:
    with pytest.raises(ValueError, match="fill must be one of black, edge; got 'white'"):
        rotate_translate(noise(1, 4, 4), (0, 0, 0), fill="white")


def test_the_papers_grid() -> None:
    found = grid(30, 0.1)
    assert found.shape == (775, 3)
    assert (found[0] == 0).all()
    assert len(np.unique(found, axis=0)) == 775
    np.testing.assert_allclose(np.unique(found[:, 0]), np.linspace(-30, 30, 31), atol=1e-12)
    for axis in (1, 2):
        np.testing.assert_allclose(np.unique(found[:, axis]), [-0.1, -0.05, 0, 0.05, 0.1])
    strengths = strength(found, 30, 0.1)
    assert (np.diff(strengths) >= 0).all()
    assert strengths[0] == 0
    assert strengths[-1] == pytest.approx(math.sqrt(3))
    assert set(map(tuple, np.abs(found[-8:]))) == {(30, 0.1, 0.1)}


def test_strength_by_hand() -> None:
    # A third of the angles and two thirds of the shifts to the left: the root of 1/9 + 4/9.
    assert strength(np.array([10, -0.1, 0]), 30, 0.15) == pytest.approx(math.sqrt(5) / 3)
    assert strength(np.array([10, 0, 0]), 20, 0) == 0.5


@pytest.mark.parametrize(
    ("ranges", "counts", "expected"),
    [((30, 0.1), (5, 3), 45), ((0, 0.1), (31, 5), 25), ((30, 0), (31, 5), 31), ((30, 0.1), (1, 1), 1)],
)
def test_other_grids(ranges: tuple[float, float], counts: tuple[int, int], expected: int) -> None:
    found = grid(*ranges, angles=counts[0], shifts=counts[1])
    assert found.shape == (expected, 3)
    assert (found[0] == 0).all()
    assert (np.abs(found).max(axis=0) <= (ranges[0], ranges[1], ranges[1])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"degrees": 181, "shift": 0.1}, r"degrees must lie in \[0, 180\]; got 181"),
        ({"degrees": math.nan, "shift": 0.1}, r"degrees must lie in \[0, 180\]; got nan"),
        ({"degrees": 30, "shift": -0.1}, r"shift must lie in \[0, 1\], in widths and heights; got -0.1"),
        ({"degrees": 30, "shift": 0.1, "angles": 30}, "angles must be an odd number, .*; got 30"),
        ({"degrees": 30, "shift": 0.1, "shifts": 0}, "shifts must be an odd number, .*; got 0"),
    ],
)
def test_grids_that_are_none(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(**arguments)


def test_random_candidates_fill_the_range() -> None:
    found = random_candidates(rng(), 30, 0.1, 4000)
    assert found.shape == (4000, 3)
    assert (np.abs(found) <= (30, 0.1, 0.1)).all()
    np.testing.assert_allclose(found.std(axis=0), np.array([30, 0.1, 0.1]) / math.sqrt(3), rtol=0.05)
    np.testing.assert_array_equal(found[:10], random_candidates(rng(), 30, 0.1, 10))
    assert (random_candidates(rng(), 0, 0, 3) == 0).all()


def test_around_by_hand() -> None:
    found = around([[10, 0, 0.1], [0, 0, 0]], [2, 0.05, 0.05], degrees=11, shift=0.1)
    assert found.shape == (2, 8, 3)
    # 12 degrees are beyond the range, and so is a shift of 0.15.
    expected = {(d, r, b) for d in (8, 11) for r in (-0.05, 0.05) for b in (0.05, 0.1)}
    assert {tuple(row) for row in found[0].round(9).tolist()} == expected
    assert (np.abs(found[1]) == (2, 0.05, 0.05)).all()
    assert len(np.unique(found[1], axis=0)) == 8


def test_halving_steps_reach_every_point_between_neighbours() -> None:
    """What a search finds that always goes to the corner nearest to a point, from the nearest of the grid."""
    candidates, step = grid(30, 0.1), spacing(30, 0.1)
    np.testing.assert_allclose(step, [2, 0.05, 0.05])
    for point in random_candidates(rng(3), 30, 0.1, 20):
        best = candidates[np.argmin(strength(candidates - point, 30, 0.1))]
        half = step / 2
        for _ in range(6):
            half = half / 2
            corners = around(best, half, degrees=30, shift=0.1)
            best = corners[np.argmin(strength(corners - point, 30, 0.1))]
        assert (np.abs(best - point) <= half + 1e-12).all()
