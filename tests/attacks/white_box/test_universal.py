"""Universal perturbations, where the best one is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks.attack import usual_parameters
from f2at.attacks.target import CountingTarget
from f2at.attacks.white_box.universal import most_of_universal, universal


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def of_one_class(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    rows = model.labels == model.labels[0]
    return model.inputs[rows], model.labels[rows]


def test_on_images_of_one_class_of_a_linear_model_it_is_the_corner_that_hoelder_names(
    linear: Callable[..., Any],
) -> None:
    """z_j - z_y changes by (w_j - w_y) . d, which eps sign(w_j - w_y) makes the largest, for all images at once."""
    model = linear(classes=2, samples=40)
    inputs, labels = of_one_class(model)
    label = int(labels[0])
    change = universal(model.target(), inputs, labels, eps=1e-4, rng=rng())
    best = 1e-4 * torch.sign(model.weight[1 - label] - model.weight[label]).reshape(3, 4, 4)
    torch.testing.assert_close(change, best.to(change.dtype))


def test_it_fools_as_many_as_any_perturbation_could(linear: Callable[..., Any]) -> None:
    model = linear(classes=2, samples=60)
    inputs, labels = of_one_class(model)
    distances = model.distances("linf")[model.labels == labels[0]]
    for eps in (0.002, 0.01, 0.05):
        change = universal(model.target(), inputs, labels, eps=eps, rng=rng())
        assert float(change.abs().max()) <= eps * (1 + 1e-12)
        wrong = model.logits(inputs + change).argmax(1) != labels
        assert wrong.sum() == (distances < eps).sum()


def test_two_classes_pull_in_opposite_directions(linear: Callable[..., Any]) -> None:
    """What pushes one class of two over the boundary pushes the other away from it: one falls, the other stands."""
    model = linear(classes=2, samples=60)
    eps = float(model.distances("linf").max()) * 1.01
    change = universal(model.target(), model.inputs, model.labels, eps=eps, rng=rng())
    wrong = model.logits(model.inputs + change).argmax(1) != model.labels
    counts = torch.bincount(model.labels, minlength=2)
    assert int(wrong.sum()) == int(counts.max())


def test_it_takes_what_is_announced(linear: Callable[..., Any]) -> None:
    model = linear(classes=3, samples=23)
    counted = CountingTarget(model.target())
    universal(counted, model.inputs, model.labels, eps=0.01, rng=rng())
    assert counted.forward_evaluations + counted.gradient_evaluations == most_of_universal(
        usual_parameters(universal), 23
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"eps": 0.0}, "eps must be > 0"),
        ({"step_size": 3.0}, r"step_size must lie in \(0, 2\]; got 3.0"),
        ({"softness": 0.0}, "softness must be > 0; got 0.0"),
        ({"restarts": 0}, "restarts must be"),
        ({"batch": 0}, "batch must be"),
    ],
)
def test_what_is_not_accepted_is_named(linear: Callable[..., Any], argument: dict[str, Any], message: str) -> None:
    model = linear()
    with pytest.raises(ValueError, match=message):
        universal(model.target(), model.inputs, model.labels, **{"eps": 0.1, "rng": rng(), **argument})
    with pytest.raises(ValueError, match="inputs must be at least 1 image; got none"):
        universal(model.target(), model.inputs[:0], model.labels[:0], eps=0.1, rng=rng())
