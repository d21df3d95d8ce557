from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks.sparse.patch_ascent import _candidates, _grid, patch_ascent
from f2at.attacks.sparse.patch_rs import patch_rs, window_fraction
from f2at.attacks.sparse.squares import fitted, inside, paste, sums
from f2at.attacks.target import Evaluation


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def best_patches(model: Any, side: int) -> np.ndarray:
    """The largest margin that a patch reaches on a linear model: the best place, in corners of the colour cube."""
    gains = model.gains()
    held = sums(gains.flatten(0, 1), side).flatten(1).amax(1).reshape(gains.shape[:2])
    return np.asarray((model.differences() + held).amax(1))


@pytest.mark.parametrize("objective", ["cross_entropy", "margin"])
@pytest.mark.parametrize(("side", "confidence"), [(1, 0.1), (2, 0.2), (3, 0.3)])
def test_ascent_finds_the_optimum_of_a_linear_model(
    small: Callable[..., Any], side: int, confidence: float, objective: str
) -> None:
    model = small(classes=2, samples=60, confidence=confidence)
    most = best_patches(model, side)
    assert 5 < (most > 0).sum() < 58
    found = patch_ascent(model.target(), model.inputs, model.labels, side=side, rng=rng(), objective=objective)
    np.testing.assert_array_equal(model.broken(found), most > 0)


@pytest.mark.parametrize(("side", "confidence"), [(1, 0.1), (2, 0.2), (3, 0.3)])
def test_patch_rs_comes_near_the_optimum_of_a_linear_model(
    small: Callable[..., Any], side: int, confidence: float
) -> None:
    model = small(classes=2, samples=60, confidence=confidence)
    most = best_patches(model, side)
    found = patch_rs(model.target(), model.inputs, model.labels, side=side, rng=rng(), queries=500)
    broken = model.broken(found)
    assert not broken[most < 0].any()
    assert broken.sum() >= 0.5 * (most > 0).sum() > 3  # a search of places by whole moves is often stuck


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ascent_against_every_place_and_corner(small: Callable[..., Any], seed: int) -> None:
    model = small("network", samples=20, seed=seed)
    falls = model.falls_to_pixels(1)
    assert 3 < falls.sum() < 18
    broken = model.broken(patch_ascent(model.target(), model.inputs, model.labels, side=1, rng=rng()))
    assert not broken[~falls].any()
    assert broken[falls].sum() >= falls.sum() - 1


def test_larger_patches_break_more(small: Callable[..., Any]) -> None:
    model = small("network", samples=20)
    broken = [
        model.broken(patch_ascent(model.target(), model.inputs, model.labels, side=side, rng=rng()))
        for side in (1, 2, 3)
    ]
    for smaller, larger in pairwise(broken):
        assert (smaller & ~larger).sum() == 0
        assert smaller.sum() <= larger.sum()
    assert broken[0].sum() < broken[-1].sum()


@pytest.mark.parametrize("xp", [np, torch])
def test_squares(xp: Any) -> None:
    images = xp.zeros((2, 3, 4, 5))
    places = xp.asarray([[0, 3], [2, 1]])
    marked = inside(places, images, 2)
    assert np.argwhere(np.asarray(marked[1, 0])).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    patches = xp.reshape(xp.arange(24), (2, 3, 2, 2)) + 1
    laid = paste(images, patches, places)
    np.testing.assert_array_equal(laid[0, :, 0:2, 3:5], patches[0])
    np.testing.assert_array_equal(laid[1, :, 2:4, 1:3], patches[1])
    assert float(xp.sum(laid)) == float(xp.sum(patches))
    held = sums(laid[:, 0], 2)
    assert tuple(held.shape) == (2, 3, 4)
    assert float(held[0, 0, 3]) == 1 + 2 + 3 + 4
    assert float(held[0, 1, 2]) == 3
    assert fitted(xp.asarray([[-1, 9], [9, 2]]), images, 2).tolist() == [[0, 3], [2, 2]]


def test_places_that_the_gradient_points_to() -> None:
    """A gradient of one bright spot, one fainter: both are tried first, and no place is tried twice."""
    clean = np.full((1, 3, 6, 6), 0.5)
    gradient = np.zeros_like(clean)
    gradient[0, 0, 0:2, 0:2], gradient[0, 2, 4:6, 4:6] = 3.0, -2.0
    places, pointed = _candidates(gradient, clean, 2, 20)
    tried = [tuple(place) for place in places[0].tolist()]
    assert pointed == 10
    assert tried[0] == (0, 0)
    assert (4, 4) in tried[1:5]
    assert len(set(tried[:pointed])) == pointed
    assert len(set(tried[pointed:])) == len(tried) - pointed
    assert all(0 <= top <= 4 and 0 <= left <= 4 for top, left in tried)
    everywhere, pointed = _candidates(gradient, clean, 2, 1000)
    assert everywhere.shape[1] == 50
    assert len({tuple(place) for place in everywhere[0, :pointed].tolist()}) == 25


@pytest.mark.parametrize(
    ("rows", "columns", "count"), [(29, 29, 32), (1, 9, 4), (9, 1, 4), (5, 5, 1), (3, 3, 99), (4, 4, 0)]
)
def test_grid_of_places(rows: int, columns: int, count: int) -> None:
    places = _grid(rows, columns, count)
    assert len(set(places)) == len(places) <= min(count, rows * columns)
    assert all(0 <= top < rows and 0 <= left < columns for top, left in places)
    assert len(places) >= min(count, rows * columns) * 0.7


@pytest.mark.parametrize(
    ("query", "halvings"),
    [
        (0, 0), (10, 0), (11, 1), (50, 1), (51, 2), (200, 2), (201, 3), (500, 3), (501, 4), (1000, 4), (1001, 5),
        (4000, 5), (4001, 6), (8000, 6), (8001, 7), (9999, 7),
    ],
)  # fmt: skip
def test_schedule_of_the_paper(query: int, halvings: int) -> None:
    assert window_fraction(query, 10_000) == 0.5**halvings
    assert window_fraction(3 * query, 30_000) == 0.5**halvings


def test_patch_rs_starts_from_stripes_and_moves_every_fifth_time() -> None:
    class Rising:
        classes = 2

        def logits(self, inputs: np.ndarray) -> np.ndarray:
            seen.append(inputs)
            return np.tile([1.0, len(seen) / 1000], (len(inputs), 1))  # a margin that always improves

        def gradient(self, *_: Any) -> Any:
            raise AssertionError("a black-box attack asked for a gradient")

    seen: list[np.ndarray] = []
    clean = np.full((20, 3, 10, 10), 0.5)
    patch_rs(Rising(), clean, np.zeros(20, int), side=3, rng=rng(), queries=40)
    patches = []
    for images in seen:
        changed = (images != 0.5).all(1)
        assert (changed.sum((1, 2)) == 9).all()
        places = [tuple(np.argwhere(one)[0]) for one in changed]
        colours = [image[:, top : top + 3, left : left + 3] for image, (top, left) in zip(images, places, strict=True)]
        patches.append((np.stack(places), np.stack(colours)))
    level = (patches[0][1] == patches[0][1][:, :, :, :1]).all((1, 2, 3))
    upright = (patches[0][1] == patches[0][1][:, :, :1, :]).all((1, 2, 3))
    assert (level | upright).all()
    assert (level & ~upright).any()
    assert (upright & ~level).any()
    for query, (before, after) in enumerate(pairwise(patches), 1):
        moved, painted = ((one != other).any() for one, other in zip(before, after, strict=True))
        moves = query % 5 == 0 and query < 35  # at the end, they would reach no pixel
        assert (moved, painted) == (moves, not moves)


def test_colours_climb_the_gradient() -> None:
    """The clean image's gradient points to black, all later ones to white: that is where the runs must end."""

    class Misleading:
        classes = 2
        calls = 0

        def logits(self, inputs: np.ndarray) -> np.ndarray:
            return np.stack([np.full(len(inputs), 9.0), inputs.mean((1, 2, 3))], 1)

        def gradient(self, inputs: np.ndarray, labels: Any, targets: Any, weights: np.ndarray) -> Evaluation:
            self.calls += 1
            logits = self.logits(inputs)
            values = np.repeat(logits[:, 1:] - 9, weights.shape[1], axis=1)
            return Evaluation(logits, values, np.full_like(inputs, -1.0 if self.calls == 1 else 1.0))

    clean = np.full((2, 3, 6, 6), 0.5)
    found = patch_ascent(Misleading(), clean, np.zeros(2, int), side=2, rng=rng(), trials=1, places=1, shift_every=99)
    assert ((found == 1).all(1).sum((1, 2)) == 4).all()
