from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks import CountingTarget
from f2at.attacks.black_box.square import _bump, _pattern, _window, square, window_fraction
from f2at.attacks.threat import norms


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Bright:
    """A target that calls bright images class 1, but none that these tests make."""

    classes = 2

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return np.stack([np.ones(len(inputs)), inputs.mean((1, 2, 3)) / 2], 1)

    def gradient(self, *_: Any) -> Any:
        raise AssertionError("a black-box attack asked for a gradient")


@pytest.mark.parametrize(
    ("query", "halvings"),
    [
        (0, 0), (10, 0), (11, 1), (50, 1), (51, 2), (200, 2), (201, 3), (500, 3), (501, 4), (1000, 4), (1001, 5),
        (2000, 5), (2001, 6), (4000, 6), (4001, 7), (6000, 7), (6001, 8), (8000, 8), (8001, 9), (9999, 9),
    ],
)  # fmt: skip
def test_schedule_of_the_paper(query: int, halvings: int) -> None:
    assert window_fraction(query, 10_000) == 0.5**halvings
    assert window_fraction(3 * query, 30_000) == 0.5**halvings


def test_linf_windows_follow_the_schedule() -> None:
    """With all windows accepted, each proposal differs from the last image by one square of the scheduled size."""

    class Rising:
        classes = 2

        def logits(self, inputs: np.ndarray) -> np.ndarray:
            seen.append(inputs)
            return np.tile([1.0, len(seen) / 1000], (len(inputs), 1))  # a margin that always improves

        def gradient(self, *_: Any) -> Any:
            raise AssertionError("a black-box attack asked for a gradient")

    seen: list[np.ndarray] = []
    square(Rising(), np.full((1, 3, 10, 10), 0.5), np.zeros(1, int), eps=0.1, rng=rng(), queries=100)
    assert len(seen) == 100
    sizes = []
    for before, after in pairwise(seen):
        changed = np.argwhere((before != after).any((0, 1)))
        sizes.append(int(np.ptp(changed, axis=0).max()) + 1 if len(changed) else 0)
    # p = 0.8 / 2^k: round(sqrt(100 p)) = 9, 6, 4, 3, 2, 2, 1, 1, 1, 1 for k = 0..9; a query counts for 100 of 10,000.
    scheduled = [9] + [4] * 2 + [3] * 3 + [2] * 5 + [2] * 10 + [1] * 78
    assert all(found <= size for found, size in zip(sizes, scheduled, strict=True))
    assert all(size in sizes for size in (9, 4, 3, 2, 1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_spends_the_whole_radius(linear: Callable[..., Any], norm: str) -> None:
    model = linear(classes=3, samples=4)
    eps = 0.3 * float(model.distances(norm).min())
    target = CountingTarget(model.target())
    found = square(target, model.inputs, model.labels, eps=eps, norm=norm, rng=rng(), queries=50)
    change = (found - model.inputs).abs()
    if norm == "linf":
        torch.testing.assert_close(change, torch.full_like(change, eps))  # every pixel at +-eps
    torch.testing.assert_close(norms(change, norm), torch.full((4,), eps, dtype=change.dtype))
    assert (target.forward_evaluations, target.gradient_evaluations) == (4 * 50, 0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_margin_rises_towards_the_optimum(linear: Callable[..., Any], norm: str) -> None:
    """On a binary linear model the optimum is eps |w|_dual; random search must come near, and never fall back."""
    model = linear(classes=2, samples=3)
    eps = 0.5 * float(model.distances(norm).min())
    sign = 1 - 2 * model.labels
    normal = float(torch.linalg.vector_norm(model.weight[1] - model.weight[0], ord=1 if norm == "linf" else 2))

    def gain(queries: int) -> torch.Tensor:
        found = square(model.target(), model.inputs, model.labels, eps=eps, norm=norm, rng=rng(), queries=queries)
        change = model.logits(found) - model.logits(model.inputs)
        gained: torch.Tensor = sign * (change[:, 1] - change[:, 0]) / (eps * normal)
        return gained

    assert float(gain(1000).min()) > (0.9 if norm == "linf" else 0.6)
    assert bool((gain(1) < gain(1000)).all())
    assert float(gain(1000).max()) <= 1 + 1e-9


def test_windows_are_squares_anywhere_in_the_image() -> None:
    inside, top, left = _window(np.zeros((300, 3, 5, 6)), 2, rng())
    assert inside.shape == (300, 1, 5, 6)
    np.testing.assert_array_equal(inside.sum((1, 2, 3)), 4)
    assert set(top.ravel()) == set(range(4))
    assert set(left.ravel()) == set(range(5))
    assert all(inside[i, 0, top[i, 0, 0], left[i, 0, 0]] for i in range(300))


def test_l2_windows_are_odd_and_at_least_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(clean: Any, size: int, rng: np.random.Generator) -> Any:
        sizes.append(size)
        return _window(clean, size, rng)

    sizes: list[int] = []
    monkeypatch.setattr("f2at.attacks.black_box.square._window", record)
    inputs = np.full((1, 3, 10, 10), 0.5)
    square(Bright(), inputs, np.zeros(1, int), eps=0.01, norm="l2", rng=rng(), queries=100)
    # round(sqrt(80 / 2^k)) = 9, 6, 4, 3, 2, ... for k = 0, 1, 2, 3, 4, ...; then the next odd number, and 3.
    assert sizes[::2] == [9] + [5] * 2 + [3] * 96
    assert sizes[::2] == sizes[1::2]


def test_bump_by_hand() -> None:
    # 3 x 3: the centre lies in the rectangles of height 1 and 1/4, the rim in the second alone.
    expected = np.full((3, 3), 0.25)
    expected[1, 1] = 1.25
    np.testing.assert_allclose(_bump(3, 3, "l2"), expected / np.sqrt(8 / 16 + 1.25**2))
    # 2 x 5: centre at (1, 2); distances 2 1 1 1 2 and 2 1 0 1 2; heights 1, 1/4, 1/9.
    far, near, centre = 1 / 9, 1 / 9 + 1 / 4, 1 / 9 + 1 / 4 + 1
    rows = np.array([[far, near, near, near, far], [far, near, centre, near, far]])
    np.testing.assert_allclose(_bump(2, 5, "l2"), rows / np.linalg.norm(rows))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8])
def test_pattern_is_of_norm_one_in_two_opposite_halves(size: int) -> None:
    pattern = _pattern(size, "l2")
    assert pattern.shape == (size, size)
    assert np.linalg.norm(pattern) == pytest.approx(1)
    assert (pattern[: size // 2] > 0).all()
    assert (pattern[size // 2 :] < 0).all()
    if size > 1:
        assert np.linalg.norm(pattern[: size // 2]) == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_l1_pattern_has_half_its_mass_in_either_half(size: int) -> None:
    pattern = _pattern(size, "l1")
    assert abs(pattern).sum() == pytest.approx(1)
    assert pattern[: size // 2].sum() == pytest.approx(0.5)
    # 2 x 5: the centre, and what is 1 and 2 from it, of heights 1, 1/16 and 1/81.
    assert _bump(2, 5, "l1")[1, 2] / _bump(2, 5, "l1")[0, 0] == pytest.approx(81 * (1 + 1 / 16 + 1 / 81))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 7), (1, 4, 4), (3, 9, 6)])
def test_odd_image_sizes(norm: str, shape: tuple[int, ...]) -> None:
    inputs = np.full((2, *shape), 0.5)
    found = square(Bright(), inputs, np.zeros(2, int), eps=0.05, norm=norm, rng=rng(), queries=30)
    assert found.shape == inputs.shape
    assert norms(found - inputs, norm).max() <= 0.05 + 1e-12
    assert (found.mean((1, 2, 3)) > 0.5).all()


def test_stops_where_broken(linear: Callable[..., Any]) -> None:
    model = linear(classes=2, samples=3)
    target = CountingTarget(model.target())
    wrong = 1 - model.labels
    found = square(target, model.inputs, wrong, eps=1e-6, rng=rng(), queries=100)
    assert target.forward_evaluations == 3  # the start, and no more
    assert float((found - model.inputs).abs().max()) <= 1.0001e-6


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"queries": 0}, "queries must be an integer of at least 1"),
        ({"initial_fraction": 0.0}, r"initial_fraction must lie in \(0, 1\]; got 0.0"),
    ],
)
def test_bad_parameters_are_named(linear: Callable[..., Any], parameters: dict[str, Any], reason: str) -> None:
    model = linear(classes=3)
    with pytest.raises(ValueError, match=reason):
        square(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)
