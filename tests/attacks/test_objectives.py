import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from f2at.attacks.objectives import OBJECTIVES, margins, objective_weights, objectives


def named(logits: Any, labels: Any, targets: Any) -> dict[str, Any]:
    values = objectives(logits, labels, targets)
    return {name: values[:, j] for j, name in enumerate(OBJECTIVES)}


def batch(classes: int, samples: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    targets = (labels + rng.integers(1, classes, samples)) % classes
    logits = torch.from_numpy(3 * rng.standard_normal((samples, classes)))
    return logits, torch.from_numpy(labels), torch.from_numpy(targets)


def test_hand_worked_values() -> None:
    z = np.array([[5.0, 1.0, 3.0, 2.0], [5.0, 1.0, 3.0, 2.0]])
    found = named(z, np.array([0, 2]), np.array([2, 1]))
    np.testing.assert_allclose(found["margin"], [3 - 5, 5 - 3])
    np.testing.assert_allclose(found["logit_difference"], [3 - 5, 1 - 3])
    np.testing.assert_allclose(found["dlr"], [-2 / (5 - 2), 2 / (5 - 2)])  # sorted: 5 3 2 1
    np.testing.assert_allclose(found["targeted_dlr"], [-2 / (5 - 1.5), -2 / (5 - 1.5)])
    total = math.exp(5) + math.exp(1) + math.exp(3) + math.exp(2)
    np.testing.assert_allclose(found["cross_entropy"], [math.log(total) - 5, math.log(total) - 3])


def test_three_classes_use_the_third_logit_alone() -> None:
    found = named(np.array([[4.0, 1.0, 0.0]]), np.array([0]), np.array([2]))
    np.testing.assert_allclose(found["dlr"], [-3 / 4])
    np.testing.assert_allclose(found["targeted_dlr"], [-4 / 4])


def test_two_classes_have_no_scale() -> None:
    found = named(np.array([[4.0, 1.0]]), np.array([0]), np.array([1]))
    for name in ("dlr", "targeted_dlr", "margin", "logit_difference"):
        np.testing.assert_allclose(found[name], [-3.0])


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_the_margin_alone_is_the_same(classes: int) -> None:
    logits, labels, targets = batch(classes)
    logits[0, 1] = math.nan
    expected = named(logits, labels, targets)["margin"]
    torch.testing.assert_close(margins(logits, labels), expected, rtol=0, atol=0, equal_nan=True)
    alone = margins(logits.numpy(), labels.numpy())
    np.testing.assert_array_equal(alone, expected.numpy())


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_cross_entropy_and_its_gradient_are_those_of_torch(classes: int) -> None:
    logits, labels, targets = batch(classes)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mine = named(ours, labels, targets)["cross_entropy"]
    reference = functional.cross_entropy(theirs, labels, reduction="none")
    torch.testing.assert_close(mine, reference)
    mine.sum().backward()
    reference.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_gradients_are_those_of_finite_differences(classes: int) -> None:
    logits, labels, targets = batch(classes)
    assert torch.autograd.gradcheck(
        lambda z: objectives(z, labels, targets), (logits.requires_grad_(),), eps=1e-6, atol=1e-6
    )


def test_confident_samples_keep_their_gradient() -> None:
    z = torch.tensor([[40.0, 0.0, 1.0]], requires_grad=True)  # float32: 1 - p_y is 1e-17, p_y rounds to one
    named(z, torch.tensor([0]), torch.tensor([1]))["cross_entropy"].sum().backward()
    assert z.grad is not None
    expected = np.array([-(math.exp(-40) + math.exp(-39)), math.exp(-40), math.exp(-39)])
    np.testing.assert_allclose(z.grad[0].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e4, 1e12])
def test_extreme_and_equal_logits_stay_finite(scale: float) -> None:
    z = torch.tensor([[1.0, 0, 0, -1], [0, 0, 0, 0], [-1, 1, 1, 1]], dtype=torch.float32) * scale
    z.requires_grad_()
    values = objectives(z, torch.tensor([0, 1, 0]), torch.tensor([3, 2, 1]))
    values.sum().backward()
    assert z.grad is not None
    assert bool(torch.isfinite(values).all())
    assert not bool(torch.isnan(z.grad).any())


@given(seed=st.integers(0, 1000), classes=st.integers(2, 12))
def test_numpy_and_torch_agree(seed: int, classes: int) -> None:
    logits, labels, targets = batch(classes, seed=seed)
    ours = objectives(logits.numpy(), labels.numpy(), targets.numpy())
    np.testing.assert_allclose(ours, objectives(logits, labels, targets).numpy(), rtol=1e-12, atol=1e-15)


@given(seed=st.integers(0, 1000), classes=st.integers(2, 12))
def test_margin_is_positive_exactly_when_misclassified(seed: int, classes: int) -> None:
    logits, labels, targets = batch(classes, seed=seed)
    wrong = logits.argmax(1) != labels
    found = named(logits, labels, targets)
    assert torch.equal(found["margin"] > 0, wrong)
    assert torch.equal(found["dlr"] > 0, wrong)


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_dlr_ignores_shift_and_scale(seed: int, scale: float, shift: float) -> None:
    logits, labels, targets = batch(5, seed=seed)
    before, after = named(logits, labels, targets), named(scale * logits + shift, labels, targets)
    for name in ("dlr", "targeted_dlr"):
        torch.testing.assert_close(before[name], after[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weights_pick_one_objective(name: str) -> None:
    logits, labels, targets = batch(5)
    weights = objective_weights(np, name, len(labels))
    assert weights.shape == (len(labels), len(OBJECTIVES))
    assert weights.dtype == np.float32
    picked = (weights * objectives(logits.numpy(), labels.numpy(), targets.numpy())).sum(1)
    np.testing.assert_allclose(picked, named(logits, labels, targets)[name].numpy())


def test_unknown_objective_is_named() -> None:
    with pytest.raises(ValueError, match=r"objective must be one of cross_entropy.*got 'hinge'"):
        objective_weights(np, "hinge", 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the exporter's own deprecations
@pytest.mark.parametrize("classes", [3, 10])
def test_values_and_gradient_export_to_onnx(classes: int, tmp_path: Any) -> None:
    from onnxruntime import InferenceSession
    from torch.fx.experimental.proxy_tensor import make_fx

    def evaluate(z: torch.Tensor, y: torch.Tensor, t: torch.Tensor, weights: torch.Tensor) -> Any:
        z = z.detach().requires_grad_()
        values = objectives(z, y, t)
        return values, torch.autograd.grad((values * weights).sum(), z)[0]

    def arguments(samples: int) -> tuple[torch.Tensor, ...]:
        logits, labels, targets = batch(classes, samples, seed=samples)
        return logits.float(), labels, targets, torch.rand(samples, len(OBJECTIVES))

    traced = make_fx(evaluate, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*arguments(6)).eval()
    dynamic = ({0: torch.export.Dim.DYNAMIC},) * 4
    program = torch.onnx.export(traced, arguments(6), dynamo=True, dynamic_shapes=dynamic, verbose=False)
    assert program is not None
    program.save(tmp_path / "objectives.onnx")
    session = InferenceSession(tmp_path / "objectives.onnx")
    names = [put.name for put in session.get_inputs()]
    for samples in (1, 17):
        given = arguments(samples)
        found = session.run(None, {n: v.numpy() for n, v in zip(names, given, strict=True)})
        for mine, reference in zip(found, evaluate(*given), strict=True):
            np.testing.assert_allclose(mine, reference.detach().numpy(), rtol=1e-4, atol=1e-6)
