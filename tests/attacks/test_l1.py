from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from f2at.attacks import Evaluation, l1
from f2at.attacks.threat import norms
from f2at.attacks.white_box.fgsm import fgsm
from f2at.attacks.white_box.hyperplane import step_to_hyperplane

SEEDS = st.integers(0, 10**6)
SHAPE = (3, 3, 4, 5)
LIBRARIES = pytest.mark.parametrize("to", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Clean images, many of their values at 0 or 1, points near or far, and a radius from tiny to all of the box."""
    rng = np.random.default_rng(seed)
    clean = rng.uniform(-0.3, 1.3, SHAPE).clip(0, 1)
    far = clean + rng.normal(0, 10 ** rng.uniform(-2, 1.5), SHAPE) * (rng.random(SHAPE) < rng.uniform(0.1, 1))
    return clean, far, float(10 ** rng.uniform(-2, 1.7))


def by_bisection(far: np.ndarray, clean: np.ndarray, eps: float) -> np.ndarray:
    """The projection of one image: halving on the multiplier of the ball, in float64."""
    change = far - clean
    room = np.where(change > 0, 1 - clean, clean)

    def moved(shrink: float) -> np.ndarray:
        return np.asarray(np.clip(abs(change) - shrink, 0, room))

    low, high = 0.0, float(abs(change).max())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(middle).sum() > eps else (low, middle)
    return np.asarray(clean + np.sign(change) * moved(0.0 if moved(0.0).sum() <= eps else high))


@LIBRARIES
@settings(max_examples=30)
@given(SEEDS)
def test_projection_is_what_bisection_finds(to: Callable[[np.ndarray], Any], seed: int) -> None:
    clean, far, eps = problem(seed)
    expected = np.stack([by_bisection(*pair, eps) for pair in zip(far, clean, strict=True)])
    np.testing.assert_allclose(l1.project(to(far), to(clean), eps=eps), expected, atol=1e-12)
    single = l1.project(to(far.astype(np.float32)), to(clean.astype(np.float32)), eps=eps)
    np.testing.assert_allclose(single, expected, atol=2e-5)
    assert norms(np.asarray(single, np.float64) - clean.astype(np.float32), "l1").max() <= eps * (1 + 1e-5)


def test_projection_as_a_general_solver_finds_it() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for eps in (0.3, 0.9, 1.5):
        clean = np.array([0.0, 0.1, 0.5, 0.9, 1.0, 0.7])
        far = clean + rng.normal(0, 0.6, 6)
        found = l1.project(far.reshape(1, 1, 1, 6), clean.reshape(1, 1, 1, 6), eps=eps).ravel()
        # In halves of either sign, the ball is one linear inequality.
        solved = optimize.minimize(
            lambda d, far=far, clean=clean: ((clean + d[:6] - d[6:] - far) ** 2).sum(),
            np.zeros(12),
            bounds=[*[(0, 1 - x) for x in clean], *[(0, x) for x in clean]],
            constraints={"type": "ineq", "fun": lambda d, eps=eps: eps - d.sum()},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(found, clean + solved.x[:6] - solved.x[6:], atol=1e-5)


@settings(max_examples=30)
@given(SEEDS)
def test_projection_stays_put_and_no_point_is_nearer(seed: int) -> None:
    clean, far, eps = problem(seed)
    found = l1.project(far, clean, eps=eps)
    assert norms(found - clean, "l1").max() <= eps * (1 + 1e-12)
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(l1.project(found, clean, eps=eps), found, atol=1e-14)
    rng = np.random.default_rng(seed)
    distance = norms(found - far, "l2")
    for _ in range(20):  # members of the set: far ones, and neighbours of what was found
        there = clean + rng.laplace(size=SHAPE) * (rng.random(SHAPE) < rng.uniform(0.02, 1))
        there = (found + 0.01 * (there - found)) if rng.random() < 0.5 else there
        there = there.clip(0, 1)
        size = norms(there - clean, "l1")[:, None, None, None]
        there = clean + (there - clean) * np.minimum(1, eps / np.maximum(size, 1e-12))
        assert (norms(there - far, "l2") >= distance - 1e-9).all()


def test_projection_by_hand() -> None:
    """Moves of 0.9, 0.5 and 0.1, the first with room for 0.4: 0.2 less of the others than they want makes 0.7."""
    clean = np.array([0.6, 0.5, 0.5]).reshape(1, 1, 1, 3)
    far = clean + np.array([0.9, -0.5, 0.1]).reshape(clean.shape)
    found = l1.project(far, clean, eps=0.7)
    np.testing.assert_allclose((found - clean).ravel(), [0.4, -0.3, 0])
    np.testing.assert_allclose((l1.project(far, clean, eps=2.0) - clean).ravel(), [0.4, -0.5, 0.1])


@LIBRARIES
def test_spread_by_hand(to: Callable[[np.ndarray], Any]) -> None:
    gradient = to(np.array([[3.0, -5, 0, 1], [0, 0, 0, -2], [0, 0, 0, 0]]).reshape(3, 1, 1, 4))
    found = l1.spread(gradient, to(np.array([2.9, 2.0, 4.0])))
    expected = [[0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]]
    np.testing.assert_allclose(np.asarray(found).reshape(3, 4), expected)
    np.testing.assert_allclose(np.asarray(l1.spread(gradient, to(np.zeros(3))))[0].ravel(), [0, -1, 0, 0])


def test_a_step_leaves_out_what_the_box_stops_and_none_goes_far() -> None:
    clean = np.full((1, 1, 1, 400), 0.5)
    clean[..., 0], clean[..., 1] = 1.0, 0.0
    gradient = np.linspace(2, 1, 400).reshape(clean.shape)
    moved = (l1.step(clean, gradient, 0.4) - clean).ravel()
    np.testing.assert_allclose(moved[:6], [0, 0.1, 0.1, 0.1, 0.1, 0])  # 1 % of the values, the first is at the edge
    moved = (l1.step(clean, gradient, 10.0) - clean).ravel()
    np.testing.assert_allclose(moved[:42], [0] + [0.25] * 40 + [0])
    assert abs(moved).sum() == pytest.approx(10.0)


@LIBRARIES
@settings(max_examples=30)
@given(SEEDS)
def test_furthest_is_the_best_point_of_a_linear_function(to: Callable[[np.ndarray], Any], seed: int) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    clean = rng.uniform(-0.3, 1.3, (1, 1, 2, 4)).clip(0, 1)
    slope = rng.standard_normal(clean.shape) * (rng.random(clean.shape) < 0.8)
    eps = float(10 ** rng.uniform(-1, 0.7))
    found = np.asarray(l1.furthest(to(clean), to(slope), eps=eps))
    assert norms(found - clean, "l1")[0] <= eps * (1 + 1e-12)
    assert 0 <= found.min() <= found.max() <= 1
    x, g = clean.ravel(), slope.ravel()
    solved = optimize.linprog(
        [*-g, *g], A_ub=np.ones((1, 16)), b_ub=[eps], bounds=[*[(0, 1 - v) for v in x], *[(0, v) for v in x]]
    )
    assert ((found - clean) * slope).sum() == pytest.approx(-solved.fun, abs=1e-9)


@settings(max_examples=20)
@given(SEEDS)
def test_the_nearest_error_of_a_linear_model_in_the_box(seed: int) -> None:
    """Where the box cuts in, the greedy step to the boundary is what must be reached, and no less will do."""
    rng = np.random.default_rng(seed)
    clean = rng.uniform(-0.3, 1.3, (1, 3, 2, 2)).clip(0, 1)
    weight = rng.standard_normal(12)
    value = -0.6 * np.where(weight > 0, weight * (1 - clean.ravel()), -weight * clean.ravel()).sum()
    step = step_to_hyperplane(clean, weight.reshape(clean.shape), np.array([value]), norm="l1")
    distance = float(norms(step, "l1")[0])

    class Model:
        classes = 2

        def logits(self, inputs: Any) -> Any:
            raise AssertionError(inputs)

        def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Any:
            return Evaluation(None, None, np.broadcast_to(weight.reshape(clean.shape[1:]), inputs.shape))

    for scale, reached in ((1.01, True), (0.99, False)):
        found = fgsm(Model(), clean, np.zeros(1, int), eps=scale * distance, norm="l1", rng=rng)
        assert bool(value + ((found - clean).ravel() * weight).sum() > 0) is reached


@LIBRARIES
def test_no_images_are_no_trouble(to: Callable[[np.ndarray], Any]) -> None:
    none = to(np.zeros((0, 3, 4, 4)))
    for found in (l1.project(none, none, eps=1.0), l1.step(none, none, 1.0), l1.furthest(none, none, eps=1.0)):
        assert tuple(found.shape) == (0, 3, 4, 4)
