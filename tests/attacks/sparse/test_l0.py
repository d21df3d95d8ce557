from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks.sparse.sparse_pgd import _State, _step, largest, sparse_pgd
from f2at.attacks.sparse.sparse_rs import set_fraction, sparse_rs


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("objective", ["cross_entropy", "margin"])
@pytest.mark.parametrize(("pixels", "confidence"), [(1, 0.1), (3, 0.2), (6, 0.4)])
def test_sparse_pgd_finds_the_optimum_of_a_linear_model(
    small: Callable[..., Any], pixels: int, confidence: float, objective: str
) -> None:
    """z_i - z_y rises by the sum of the k largest gains; what crosses by that must be found."""
    model = small(classes=2, samples=60, confidence=confidence)
    reach = model.differences() + model.gains().flatten(2).sort(2, descending=True)[0][:, :, :pixels].sum(2)
    most = reach.amax(1).numpy()
    assert 5 < (most > 0).sum() < 55
    found = sparse_pgd(model.target(), model.inputs, model.labels, pixels=pixels, rng=rng(), objective=objective)
    np.testing.assert_array_equal(model.broken(found), most > 0)


def test_sparse_pgd_reaches_classes_that_are_not_the_nearest_at_first(small: Callable[..., Any]) -> None:
    """With four classes, the gradient points to one of three; a small slack is left to the attack."""
    model = small(classes=4, samples=60, confidence=0.2)
    reach = model.differences() + model.gains().flatten(2).sort(2, descending=True)[0][:, :, :3].sum(2)
    most = reach.amax(1).numpy()
    found = model.broken(sparse_pgd(model.target(), model.inputs, model.labels, pixels=3, rng=rng()))
    assert not found[most < 0].any()
    assert found[most > 0.05].all()
    assert found.sum() > 10


@pytest.mark.parametrize(("pixels", "confidence"), [(1, 0.1), (3, 0.2), (6, 0.4)])
def test_sparse_rs_comes_near_the_optimum_of_a_linear_model(
    small: Callable[..., Any], pixels: int, confidence: float
) -> None:
    model = small(classes=2, samples=60, confidence=confidence)
    reach = model.differences() + model.gains().flatten(2).sort(2, descending=True)[0][:, :, :pixels].sum(2)
    most = reach.amax(1).numpy()
    found = sparse_rs(model.target(), model.inputs, model.labels, pixels=pixels, rng=rng(), queries=1500)
    broken = model.broken(found)
    assert not broken[most < 0].any()
    assert broken.sum() >= 0.8 * (most > 0).sum() > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_one_pixel_against_every_pixel_and_corner(small: Callable[..., Any], seed: int) -> None:
    """A single pixel is the hardest case for ascent, which may stay at a pixel that is nearly the best."""
    model = small("network", samples=20, seed=seed)
    falls = model.falls_to_pixels(1)
    assert 3 < falls.sum() < 18
    ascended = model.broken(sparse_pgd(model.target(), model.inputs, model.labels, pixels=1, rng=rng()))
    searched = model.broken(
        sparse_rs(model.target(), model.inputs, model.labels, pixels=1, rng=rng(), queries=1500, initial_fraction=1.0)
    )
    assert ascended[falls].sum() >= 0.75 * falls.sum()
    assert searched[falls].sum() >= 0.75 * falls.sum()  # it cannot recolour a pixel without leaving it first
    assert (ascended | searched)[falls].sum() >= falls.sum() - 1


@pytest.mark.slow
def test_two_pixels_against_every_pair_and_corner(small: Callable[..., Any]) -> None:
    model = small("network", samples=12)
    falls = model.falls_to_pixels(2)
    assert 3 < falls.sum() < 12
    batch = (model.target(), model.inputs, model.labels)
    ascended = model.broken(sparse_pgd(*batch, pixels=2, rng=rng()))
    searched = model.broken(sparse_rs(*batch, pixels=2, rng=rng(), queries=2000))
    assert ascended[falls].sum() >= 0.75 * falls.sum()
    assert searched[falls].sum() >= 0.75 * falls.sum()


def test_more_pixels_break_more(small: Callable[..., Any]) -> None:
    model = small("network", samples=20)
    broken = [
        model.broken(sparse_pgd(model.target(), model.inputs, model.labels, pixels=pixels, rng=rng()))
        for pixels in (1, 2, 3)
    ]
    for fewer, more in pairwise(broken):
        assert (fewer & ~more).sum() == 0
        assert fewer.sum() < more.sum()


def test_largest_marks_as_many_as_asked_among_equals() -> None:
    scores = np.zeros((2, 3, 3))
    scores[1, 2, 1], scores[1, 0, 0] = 5, 4
    marked = largest(scores, 2)
    assert marked.sum((1, 2)).tolist() == [2, 2]
    assert np.argwhere(marked[1]).tolist() == [[0, 0], [2, 1]]
    assert torch.equal(largest(torch.tensor(scores), 99), torch.ones(2, 3, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("query", "divisor"),
    [
        (0, 1), (1, 2), (50, 2), (51, 4), (200, 4), (201, 5), (500, 5), (501, 6), (1000, 6), (1001, 8), (2000, 8),
        (2001, 10), (4000, 10), (4001, 12), (6000, 12), (6001, 15), (8000, 15), (8001, 20), (9999, 20),
    ],
)  # fmt: skip
def test_schedule_of_the_paper(query: int, divisor: int) -> None:
    assert set_fraction(query, 10_000) == 1 / divisor
    assert set_fraction(3 * query, 30_000) == 1 / divisor


def test_sparse_rs_swaps_as_many_pixels_as_scheduled() -> None:
    """With all proposals accepted, each image differs from the last by a swap of the scheduled size."""

    class Rising:
        classes = 2

        def logits(self, inputs: np.ndarray) -> np.ndarray:
            seen.append(inputs)
            return np.tile([1.0, len(seen) / 1000], (len(inputs), 1))  # a margin that always improves

        def gradient(self, *_: Any) -> Any:
            raise AssertionError("a black-box attack asked for a gradient")

    seen: list[np.ndarray] = []
    clean = np.full((1, 3, 10, 10), 0.5)
    sparse_rs(Rising(), clean, np.zeros(1, int), pixels=40, rng=rng(), queries=100)
    assert len(seen) == 100
    for query, (before, after) in enumerate(pairwise(seen), 1):
        assert (after != clean).any(1).sum() == 40
        assert set(np.unique(after)) == {0.0, 0.5, 1.0}
        swapped = int(0.3 * set_fraction(query, 100) * 40)
        assert (((before != clean) & (after == clean)).all(1)).sum() == max(swapped, 1)


@pytest.mark.parametrize("projected", [False, True])
def test_a_step_by_hand(projected: bool) -> None:
    """Two pixels, one of them chosen; what both would gain is 0.3 and 0.6, at sigmoid'(0) = 1/4 each."""
    magnitude = np.zeros((1, 3, 1, 2))
    magnitude[0, 0, 0] = 0.1, 0.2
    gradient = np.zeros_like(magnitude)
    gradient[0, 0, 0] = 3.0, 3.0
    zero = np.zeros((1, 1, 2))
    chosen, clean, one = np.array([[[True, False]]]), np.full_like(magnitude, 0.5), np.zeros(1)
    state = _State(clean, one, magnitude, zero, chosen, one, gradient, clean, one)
    moved = _step(state, 1, 0.35, 0.1, projected=projected)
    np.testing.assert_allclose(moved.magnitude[0, 0, 0], [0.45, 0.2 if projected else 0.5])  # 0.55 leaves [0, 1]
    np.testing.assert_allclose(moved.mask[0, 0], 0.1 * 2**0.5 * np.array([1, 2]) / 5**0.5)
    assert moved.chosen.tolist() == [[[False, True]]]
    assert moved.waited.tolist() == [0]
