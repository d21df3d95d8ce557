"""Attacks that read nothing but the predicted class: what they ask, and where it leads."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks import CountingTarget
from f2at.attacks.black_box.hard_label import HardLabel
from f2at.attacks.black_box.hopskipjump import _bisect, _normal, hopskipjump
from f2at.attacks.black_box.rays import _blocks, rays
from f2at.attacks.survivors import Survivors
from f2at.attacks.threat import norms, unit

ATTACKS = (rays, hopskipjump)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Halves:
    """Class 1 where <w, x> > b, else 0; says which images it was asked about, and nothing but the class."""

    classes = 2

    def __init__(self, weight: np.ndarray, threshold: float) -> None:
        self.weight, self.threshold = weight, threshold
        self.seen: list[np.ndarray] = []

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        self.seen.extend(inputs)
        bright = self._score(inputs) > self.threshold
        return np.stack([~bright, bright], axis=1).astype(float)

    def gradient(self, *_: Any) -> Any:
        raise AssertionError("a black-box attack asked for a gradient")

    def distance(self, inputs: np.ndarray, norm: str) -> np.ndarray:
        """To the boundary, by Hoelder."""
        dual = np.linalg.norm(self.weight.ravel(), ord=1 if norm == "linf" else 2)
        distance: np.ndarray = (self.threshold - self._score(inputs)) / dual
        return distance

    def _score(self, inputs: np.ndarray) -> np.ndarray:
        score: np.ndarray = (inputs * self.weight).sum((1, 2, 3))
        return score


@pytest.fixture
def halves() -> tuple[Halves, np.ndarray, np.ndarray]:
    """A half-space with two samples of class 0, 0.02 and 0.03 from it in linf, far from the edges of [0, 1]."""
    weight = rng().standard_normal((3, 6, 6))
    inputs = np.full((2, 3, 6, 6), 0.5)
    inputs[1] -= 0.01 * np.sign(weight)
    target = Halves(weight, float(0.5 * weight.sum() + 0.02 * np.abs(weight).sum()))
    np.testing.assert_allclose(target.distance(inputs, "linf"), [0.02, 0.03])
    return target, inputs, np.zeros(2, int)


def test_answers_cost_one_query_each_and_end() -> None:
    target = CountingTarget(Halves(np.ones((3, 1, 1)), 1.5))
    dark, bright = np.full((3, 1, 1), 0.2), np.full((3, 1, 1), 0.8)
    survivors = Survivors(np.stack([dark, dark, dark]))
    ask = HardLabel(target, np.zeros(3, int), survivors, queries=2)
    everyone = np.ones(3, bool)
    np.testing.assert_array_equal(ask(np.stack([dark, bright, bright]), np.array([True, True, False])), [0, 1, 0])
    np.testing.assert_array_equal(ask.left, [1, 1, 2])
    survivors.drop(np.array([True, False, False]), survivors.images)
    np.testing.assert_array_equal(ask.left, [1, 2])
    np.testing.assert_array_equal(ask(np.stack([bright, bright]), everyone[:2]), [1, 1])
    np.testing.assert_array_equal(ask(np.stack([bright, bright]), everyone[:2]), [0, 1])  # the first has none left
    np.testing.assert_array_equal(ask(np.stack([bright, bright]), everyone[:2]), [0, 0])
    assert target.forward_evaluations == 2 + 2 + 1


@pytest.mark.parametrize("queries", [1, 2, 25, 60, 333])
@pytest.mark.parametrize(("attack", "norm"), [(rays, "linf"), (hopskipjump, "linf"), (hopskipjump, "l2")])
def test_no_sample_takes_more_than_its_queries(halves: Any, attack: Any, norm: str, queries: int) -> None:
    target, inputs, labels = halves
    eps = float(target.distance(inputs, norm).min()) / 2  # out of reach: every query is spent
    for row in range(2):
        counting = CountingTarget(target)
        one = slice(row, row + 1)
        found = attack(counting, inputs[one], labels[one], eps=eps, norm=norm, rng=rng(), queries=queries)
        assert counting.gradient_evaluations == 0
        assert queries - 20 <= counting.forward_evaluations <= queries
        assert float(norms(found - inputs[one], norm)[0]) <= eps * (1 + 1e-12)


@pytest.mark.parametrize(("attack", "norm", "slack"), [(rays, "linf", 1.1), (hopskipjump, "l2", 1.1)])
def test_finds_the_nearest_point_of_a_half_space(halves: Any, attack: Any, norm: str, slack: float) -> None:
    """Hard labels suffice to come within a tenth of the closed form; a sample leaves there."""
    target, inputs, labels = halves
    eps = slack * float(target.distance(inputs, norm).max())
    counting = CountingTarget(target)
    exact = {"tolerance": 1e-5} if attack is rays else {"grid": 0.0}
    found = attack(counting, inputs, labels, eps=eps, norm=norm, rng=rng(), queries=5000, **exact)
    assert (target.distance(found, norm) < 0).all()
    assert counting.forward_evaluations < 2 * 5000


def test_hopskipjump_comes_nearer_in_linf(halves: Any) -> None:
    target, inputs, labels = halves
    reached = []
    for factor in (1.5, 3.0):
        eps = factor * float(target.distance(inputs, "linf").max())
        found = hopskipjump(target, inputs, labels, eps=eps, rng=rng(), queries=5000, grid=0.0)
        reached.append((target.distance(found, "linf") < 0).all())
    assert reached == [True, True]


@pytest.mark.parametrize("attack", ATTACKS)
def test_samples_wrong_from_the_start_cost_one_query(halves: Any, attack: Any) -> None:
    target, inputs, labels = halves
    found = attack(target, inputs, 1 - labels, eps=0.01, rng=rng())
    np.testing.assert_array_equal(found, inputs)
    assert len(target.seen) == 2


@pytest.mark.parametrize("attack", ATTACKS)
def test_never_asks_about_images_outside_the_box(halves: Any, attack: Any) -> None:
    target, inputs, labels = halves
    edge = np.clip(inputs + 0.5 * np.sign(target.weight) * rng().integers(-1, 1, inputs.shape), 0, 1)
    attack(target, edge, labels, eps=1e-6, rng=rng(), queries=200)
    seen = np.array(target.seen)
    assert 0 <= seen.min() <= seen.max() <= 1


def test_blocks_halve_until_single_values() -> None:
    by_hand = [(0, 5), (0, 3), (3, 5), (0, 2), (2, 4), (4, 5), *[(i, i + 1) for i in range(5)], (0, 1), (1, 2)]
    assert list(islice(_blocks(5), len(by_hand))) == by_hand


def test_rays_flips_what_brings_the_boundary_nearer() -> None:
    """Along (1, 1, -1, -1) the boundary is 0.1 away: <w, x> has 0.4 to rise."""
    weight = np.array([1.0, 1.0, -1.0, -1.0]).reshape(1, 2, 2)
    target = Halves(weight, 0.4)
    image = np.full((1, 1, 2, 2), 0.5)
    found = rays(target, image, np.zeros(1, int), eps=0.101, rng=rng(), queries=40, tolerance=1e-3)
    np.testing.assert_allclose((found - image).ravel(), 0.1 * weight.ravel(), atol=1e-3)
    # All dark, the first half dark, the second half dark: there it is.
    signs = np.sign(np.array(target.seen)[1:4].reshape(3, 4) - 0.5)
    np.testing.assert_array_equal(signs, [[-1, -1, -1, -1], [-1, -1, 1, 1], [1, 1, -1, -1]])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("share", "distance"), [(1e-6, 0.0), (0.0, 0.01)])
def test_bisection_ends_at_the_boundary(halves: Any, norm: str, share: float, distance: float) -> None:
    target, inputs, labels = halves
    ask = HardLabel(target, labels, Survivors(inputs), queries=100)
    far = np.clip(inputs + np.sign(target.weight) * rng().uniform(0.1, 0.4, inputs.shape), 0, 1)
    found = _bisect(ask, inputs, far, norm=norm, share=share, distance=distance)
    assert (target.distance(found, norm) < 0).all()
    tolerance = share * norms(far - inputs, norm) + distance
    np.testing.assert_array_less(-target.distance(found, norm), tolerance)
    if distance:
        assert (ask.left > 90).all(), "no finer than asked"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_normal_of_a_half_space(halves: Any, norm: str) -> None:
    target, inputs, labels = halves
    boundary = inputs + target.distance(inputs, "l2")[:, None, None, None] * unit(target.weight[None], "l2")
    ask = HardLabel(target, labels, Survivors(inputs), queries=2000)
    normal = _normal(ask, boundary, np.full(2, 0.01), 1900, norm, rng())
    np.testing.assert_allclose(norms(normal, "l2"), 1)
    cosine = (normal * unit(target.weight[None], "l2")).sum((1, 2, 3))
    assert (cosine > 0.9).all()


def test_the_estimate_sees_through_rounding() -> None:
    """A model that rounds to 8 bits answers the same everywhere near a point; further away the normal shows."""
    weight = rng().standard_normal((3, 8, 8))

    class Rounding(Halves):
        def _score(self, inputs: np.ndarray) -> np.ndarray:
            return super()._score(np.round(inputs * 255) / 255)

    image = np.full((1, 3, 8, 8), 128 / 255)
    distance = 0.16  # 41 levels in l2, 3 in a pixel
    target = Rounding(weight, float((image * weight).sum() + distance * np.linalg.norm(weight)))
    for grid, fooled in ((0.0, False), (1 / 255, True)):
        for seed in range(3):
            found = hopskipjump(
                target, image, np.zeros(1, int), eps=1.3 * distance, norm="l2", rng=rng(seed), queries=3000, grid=grid
            )
            assert bool(target.logits(found)[0, 1] == 1) is fooled


def test_other_images_of_the_batch_are_starts() -> None:
    """Noise is always class 0 to this model; images of class 1 are what is left to start from."""
    weight = np.ones((3, 8, 8))
    target = CountingTarget(Halves(weight, 0.8 * weight.sum()))
    inputs = np.stack([np.full((3, 8, 8), 0.7), np.full((3, 8, 8), 0.9)])
    labels = np.array([0, 1])
    found = hopskipjump(target, inputs, labels, eps=0.11, rng=rng(), queries=400, start_trials=3)
    assert found[0].mean() > 0.8
    alone = hopskipjump(target, inputs[:1], labels[:1], eps=0.11, rng=rng(), queries=400, start_trials=3)
    assert alone.mean() < 0.8
    assert float(norms(alone - inputs[:1], "linf")[0]) <= 0.11 + 1e-12


@pytest.mark.parametrize(("attack", "norm"), [(rays, "linf"), (hopskipjump, "linf"), (hopskipjump, "l2")])
def test_numpy_and_torch_agree(linear: Callable[..., Any], attack: Any, norm: str) -> None:
    model = linear(classes=3, samples=4)

    class InNumpy:
        classes = 3

        def logits(self, inputs: np.ndarray) -> np.ndarray:
            return np.asarray(model.target().logits(torch.from_numpy(inputs)))

    eps = 1.2 * float(model.distances(norm).min())
    known = {"eps": eps, "norm": norm, "queries": 300}
    in_torch = attack(model.target(), model.inputs, model.labels, rng=rng(), **known)
    in_numpy = attack(InNumpy(), model.inputs.numpy(), model.labels.numpy(), rng=rng(), **known)
    np.testing.assert_allclose(in_torch.numpy(), in_numpy, atol=1e-6)


@pytest.mark.parametrize(
    ("attack", "parameters", "reason"),
    [
        (rays, {"queries": 0}, "queries must be an integer of at least 1"),
        (rays, {"tolerance": 0.0}, "tolerance must be > 0; got 0.0"),
        (rays, {"norm": "l2"}, "norm must be linf for rays; got 'l2'"),
        (hopskipjump, {"queries": 0}, "queries must be an integer of at least 1"),
        (hopskipjump, {"initial_evaluations": 0}, "initial_evaluations must be an integer of at least 1"),
        (hopskipjump, {"start_trials": 0}, "start_trials must be an integer of at least 1"),
        (hopskipjump, {"gamma": 0.0}, "gamma must be > 0; got 0.0"),
        (hopskipjump, {"grid": -0.1}, "grid must be >= 0; got -0.1"),
    ],
)
def test_bad_parameters_are_named(halves: Any, attack: Any, parameters: dict[str, Any], reason: str) -> None:
    target, inputs, labels = halves
    with pytest.raises(ValueError, match=reason):
        attack(target, inputs, labels, eps=0.1, rng=rng(), **parameters)
