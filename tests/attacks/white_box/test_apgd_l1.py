import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from f2at.attacks import CountingTarget
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import norms
from f2at.attacks.white_box.apgd_l1 import _review, _State, apgd_l1, apgd_l1_targeted, balls, sparse_ascent


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_balls_by_hand() -> None:
    assert balls(4.0, 100, larger_first=True) == ((12.0, 30), (8.0, 30), (4.0, 40))
    assert balls(4.0, 7, larger_first=True) == ((12.0, 3), (8.0, 3), (4.0, 1))  # 2.1 steps are three
    assert balls(4.0, 7, larger_first=False) == ((4.0, 7),)
    assert balls(4.0, 2, larger_first=True) == ((4.0, 2),), "none would be left for the ball itself"


def test_review_by_hand() -> None:
    """Images of four values: the first became sparser, the second did not, the third has the shortest steps."""
    clean = np.zeros((3, 1, 1, 4))
    best = np.array([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).reshape(clean.shape)
    state = _State(
        rows=np.arange(3),
        current=clean + 7,
        gradient=clean + 8,
        best=best,
        best_gradient=clean + 9,
        best_loss=np.zeros(3),
        clean=clean,
        step_size=np.array([0.5, 3.0, 0.6]),
        count=np.full(3, 4.0),
        moved=np.array([2.0, 2.0, 3.0]),
    )
    after = _review(np, state, 5.0)
    np.testing.assert_allclose(after.step_size, [5, 2, 0.5])
    np.testing.assert_allclose(after.count, np.array([1, 2, 3]) / 1.5)
    np.testing.assert_array_equal(after.moved, [1, 2, 3])
    np.testing.assert_array_equal(after.current, np.stack([best[0], clean[1] + 7, clean[2] + 7]))
    np.testing.assert_array_equal(after.gradient[:, 0, 0, 0], [9, 8, 8])


def test_the_exact_optimum_of_a_linear_loss_in_ball_and_box(linear: Callable[..., Any]) -> None:
    """The largest values of the gradient at the box's edge, and the rest of eps in the next."""
    model = linear(classes=2, samples=6)
    slope = (model.weight[1] - model.weight[0]).reshape(1, 3, 4, 4)

    def evaluate(rows: Any, images: Any, inside: Any) -> tuple[Any, Any, Any]:
        return (images * slope).sum((1, 2, 3)), slope.expand_as(images), rows >= 0

    order = slope.abs().flatten().argsort(descending=True)
    room = torch.where(slope > 0, 1 - model.inputs, model.inputs).flatten(1)[:, order]
    spent = torch.minimum(room, (1.3 - room.cumsum(1) + room).clamp(min=0))
    best = (spent * slope.abs().flatten()[order]).sum(1)
    for larger_first in (True, False):
        start = model.inputs + torch.from_numpy(rng().standard_normal(model.inputs.shape))
        found = sparse_ascent(evaluate, start, model.inputs, eps=1.3, steps=100, larger_first=larger_first)
        assert float(norms(found - model.inputs, "l1").max()) <= 1.3 * (1 + 1e-12)
        gain = ((found - model.inputs) * slope).sum((1, 2, 3))
        assert float((gain / best).min()) > 0.995
        assert float((gain / best).max()) <= 1 + 1e-9


def test_evaluations_and_errors_on_the_way(linear: Callable[..., Any]) -> None:
    model = linear(classes=4, samples=6)
    distances = model.distances("l1")
    target = CountingTarget(model.target())
    out_of_reach: Any = {"eps": 0.5 * float(distances.min()), "rng": rng(), "steps": 10}
    found = apgd_l1(target, model.inputs, model.labels, restarts=2, **out_of_reach)
    assert target.gradient_evaluations == 6 * 2 * (10 + 3)
    assert target.forward_evaluations == 0
    assert bool((model.logits(found).argmax(1) == model.labels).all())
    target = CountingTarget(model.target())
    apgd_l1_targeted(target, model.inputs, model.labels, larger_first=False, target_classes=9, **out_of_reach)
    assert (target.gradient_evaluations, target.forward_evaluations) == (6 * 3 * (10 + 1), 6)
    # Half of them within reach: an error outside the ball is none.
    eps = float(distances.median()) * 1.02
    found = apgd_l1_targeted(model.target(), model.inputs, model.labels, eps=eps, rng=rng(), steps=60)
    assert torch.equal(model.logits(found).argmax(1) != model.labels, distances < eps)


@pytest.mark.slow
@pytest.mark.skipif("AUTOATTACK" not in os.environ, reason="AUTOATTACK names no checkout of the official AutoAttack")
@pytest.mark.parametrize("eps", [0.4, 0.8])
def test_as_many_errors_as_the_official_attack(convnet: Callable[..., nn.Module], eps: float) -> None:
    """The same budget on the same images: neither is ahead by more than chance."""
    sys.path.insert(0, os.environ["AUTOATTACK"])
    from autoattack.autopgd_base import APGDAttack, APGDAttack_targeted  # type: ignore[import-not-found]

    model = convnet()
    pixels = rng().integers(-100, 356, (60, 3, 8, 8)).clip(0, 255)
    inputs = torch.from_numpy(pixels / 255).float()
    labels = model(inputs).argmax(1)
    target = TorchTarget(model, classes=10, snap=False)
    options: Any = {"n_iter": 50, "n_restarts": 1, "eps": eps, "norm": "L1", "device": "cpu", "use_largereps": True}
    theirs = APGDAttack(model, loss="ce", seed=0, **options).perturb(inputs, labels)
    ours = apgd_l1(target, inputs, labels, eps=eps, rng=rng(), steps=50, restarts=1)
    counts = [int((model(images).argmax(1) != labels).sum()) for images in (theirs, ours)]
    theirs = APGDAttack_targeted(model, seed=0, n_target_classes=3, **options).perturb(inputs, labels)
    ours = apgd_l1_targeted(target, inputs, labels, eps=eps, rng=rng(), steps=50, target_classes=3)
    counts += [int((model(images).argmax(1) != labels).sum()) for images in (theirs, ours)]
    print(counts)
    assert 3 < counts[0] < 57
    assert counts[1] >= counts[0] - 2
    assert counts[3] >= counts[2] - 2


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"norm": "l2"}, "norm must be l1; got 'l2'"),
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"restarts": 0}, "restarts must be an integer of at least 1; got 0"),
        ({"objective": "mine"}, "objective must be one of"),
    ],
)
def test_bad_parameters_are_named(linear: Callable[..., Any], parameters: dict[str, Any], reason: str) -> None:
    model = linear(classes=3)
    with pytest.raises(ValueError, match=reason):
        apgd_l1(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)
    if "objective" not in parameters:
        with pytest.raises(ValueError, match=reason):
            apgd_l1_targeted(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)
