from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnxruntime import InferenceSession
from torch import nn

from f2at.attacks import ATTACKS, CountingTarget, Evaluation
from f2at.attacks.objectives import OBJECTIVES, objective_weights
from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.attacks.targets.torch_target import TorchTarget

SHAPE = (3, 4, 4)


def session(text: str, **constants: np.ndarray) -> InferenceSession:
    """A session of a graph in ONNX's own text form, with the constants it names."""
    graph = onnx.parser.parse_graph(text)
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def linear_sessions(weight: np.ndarray, bias: np.ndarray) -> tuple[InferenceSession, InferenceSession]:
    """classifier.onnx and gradient.onnx of z = W x + b with two classes, worked out by hand.

    All objectives are then functions of m = z_other - z_label: softplus(m), and m four times (the target is the
    other class). So d/dx = sum_j weights_j c_j (W_other - W_label), c_0 = sigmoid(m), c_j = 1.
    """
    classifier = session(
        """classifier (uint8[N, 4, 4, 3] images) => (float[N, 2] logits) {
            levels = Cast <to=1> (images)
            channels_first = Transpose <perm=[0, 3, 1, 2]> (levels)
            inputs = Div (channels_first, full)
            flat = Flatten (inputs)
            logits = Gemm <transB=1> (flat, weight, bias)
        }""",
        weight=weight,
        bias=bias,
        full=np.array([255], np.float32),
    )
    gradient = session(
        """gradient (float[N, 3, 4, 4] images, int64[N] labels, int64[N] targets, float[N, 5] weights)
            => (float[N, 2] logits, float[N, 5] objectives, float[N, 3, 4, 4] gradient) {
            flat = Flatten (images)
            logits = Gemm <transB=1> (flat, weight, bias)
            step = Gather (signs, labels)
            rise = Mul (logits, step)
            margin = ReduceSum <keepdims=1> (rise, last)
            cross_entropy = Softplus (margin)
            slope = Sigmoid (margin)
            objectives = Concat <axis=1> (cross_entropy, margin, margin, margin, margin)
            ones = Div (slope, slope)
            slopes = Concat <axis=1> (slope, ones, ones, ones, ones)
            weighted = Mul (weights, slopes)
            factor = ReduceSum <keepdims=1> (weighted, last)
            by_logit = Mul (factor, step)
            by_pixel = MatMul (by_logit, weight)
            gradient = Reshape (by_pixel, shape)
        }""",
        weight=weight,
        bias=bias,
        signs=np.array([[-1, 1], [1, -1]], np.float32),
        last=np.array([1], np.int64),
        shape=np.array([-1, *SHAPE], np.int64),
    )
    return classifier, gradient


@pytest.fixture(scope="module")
def pair() -> tuple[OnnxTarget, TorchTarget]:
    """One linear model of two classes as an ONNX target and as a torch target."""
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((2, 48), np.float32), np.array([0.1, -0.2], np.float32)
    layer = nn.Linear(48, 2)
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    module = nn.Sequential(nn.Flatten(), layer)
    return OnnxTarget(*linear_sessions(weight, bias)), TorchTarget(module, classes=2)


def images(samples: int, seed: int = 0, size: int = 4) -> np.ndarray:
    """8-bit images as inputs."""
    pixels = np.random.default_rng(seed).integers(0, 256, (samples, 3, size, size))
    return pixels.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_onnx_and_torch_evaluate_alike(pair: tuple[OnnxTarget, TorchTarget], name: str) -> None:
    ours, theirs = pair
    inputs = images(6) * np.float32(0.999)  # off the grid: both must snap
    labels = np.array([0, 1, 0, 1, 0, 1])
    weights = objective_weights(np, name, 6)
    arguments = (inputs, labels, 1 - labels, weights)
    found, reference = ours.gradient(*arguments), theirs.gradient(*map(torch.from_numpy, arguments))
    for mine, other in zip(found, reference, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.logits(inputs), found.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(theirs.logits(torch.from_numpy(inputs)), reference.logits, rtol=1e-6)
    assert ours.classes == theirs.classes == 2


# Long runs of these amplify the last bits in which the two runtimes differ.
SHORT: dict[str, dict[str, int]] = {
    "cw-l2": {"steps": 30, "searches": 4},
    "square": {"queries": 60},
    "rays": {"queries": 100},
    "hopskipjump": {"queries": 300},
}
SHORT_IN_L1 = {"multi-targeted": {"steps": 8, "final_steps": 8, "final_runs": 2}}


@pytest.mark.parametrize(("name", "norm"), [(name, norm) for name, attack in ATTACKS.items() for norm in attack.norms])
def test_attacks_on_onnx_and_torch_give_the_same_images(
    pair: tuple[OnnxTarget, TorchTarget], name: str, norm: str
) -> None:
    ours, theirs = pair
    attack = ATTACKS[name].override(**SHORT.get(name, {}), **(SHORT_IN_L1.get(name, {}) if norm == "l1" else {}))
    inputs = images(12)
    labels = ours.logits(inputs).argmax(1)
    eps = 8 / 255 if norm == "linf" else 0.15
    mine, other = CountingTarget(ours), CountingTarget(theirs)
    found = attack.run(mine, inputs, labels, eps=eps, norm=norm, rng=np.random.default_rng(3))
    reference = attack.run(
        other, torch.from_numpy(inputs), torch.from_numpy(labels), eps=eps, norm=norm, rng=np.random.default_rng(3)
    )
    assert isinstance(found, np.ndarray)
    assert found.dtype == inputs.dtype
    np.testing.assert_allclose(found, reference.numpy(), atol=1e-5)
    assert mine.forward_evaluations == other.forward_evaluations
    assert mine.gradient_evaluations == other.gradient_evaluations
    broken = ours.logits(found).argmax(1) != labels
    assert 0 < broken.sum() < len(broken), "an eps that tells the samples apart"


class NumpyView:
    """A torch target as seen from numpy."""

    def __init__(self, target: TorchTarget) -> None:
        self.target = target
        self.classes = target.classes

    def logits(self, inputs: np.ndarray) -> Any:
        return self.target.logits(torch.from_numpy(inputs)).numpy()

    def gradient(self, *arguments: np.ndarray) -> Evaluation:
        return Evaluation(*(v.numpy() for v in self.target.gradient(*map(torch.from_numpy, arguments))))


@pytest.mark.parametrize("name", ["pgd", "apgd-dlr", "apgd-t", "square"])
def test_numpy_and_torch_arrays_give_the_same_images(convnet: Callable[..., nn.Module], name: str) -> None:
    target = TorchTarget(convnet(), classes=10)
    attack = ATTACKS[name].override(**{"queries": 50} if name == "square" else {"steps": 10})
    inputs = torch.from_numpy(images(8, size=8))
    labels = target.logits(inputs).argmax(1)
    found = attack.run(target, inputs, labels, eps=3 / 255, norm="linf", rng=np.random.default_rng(0))
    viewed = attack.run(
        NumpyView(target), inputs.numpy(), labels.numpy(), eps=3 / 255, norm="linf", rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(found.numpy(), viewed, atol=1e-6)


def test_large_batches_are_evaluated_in_parts_that_beat(pair: tuple[OnnxTarget, TorchTarget]) -> None:
    """The parts are of nearly one size, and the counts are those of the whole batch."""
    whole, beats = pair[0], list[int]()
    parted = OnnxTarget(whole.classifier, whole.gradient_session, at_once=(4, 3))
    counting = CountingTarget(parted, beats.append)
    labels = np.zeros(7, int)
    arguments = (images(7), labels, 1 - labels, objective_weights(np, "cross_entropy", 7))
    for mine, other in zip(counting.gradient(*arguments), whole.gradient(*arguments), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
    assert beats == [2, 2, 3]
    assert counting.gradient_batches == [7]
    np.testing.assert_allclose(counting.logits(images(7)), whole.logits(images(7)), rtol=1e-6)
    assert beats[3:] == [3, 4]
    assert (counting.gradient_evaluations, counting.forward_evaluations) == (7, 7)


def test_onnx_target_wants_a_fixed_number_of_classes() -> None:
    free = session("free (uint8[N, C] images) => (uint8[N, C] logits) { logits = Identity (images) }")
    with pytest.raises(ValueError, match="classifier must have a fixed number of classes"):
        OnnxTarget(free, free)


def test_torch_gradient_is_autograds(convnet: Callable[..., nn.Module]) -> None:
    model = convnet()
    inputs, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    weights = objective_weights(torch, "cross_entropy", 4)
    found = TorchTarget(model, classes=10, snap=False).gradient(inputs, labels, labels, weights)
    images = inputs.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(images), labels, reduction="sum")
    loss.backward()
    assert images.grad is not None
    torch.testing.assert_close(found.gradient, images.grad)
    torch.testing.assert_close(found.objectives[:, 0].sum(), loss.detach())
    assert not any(v.requires_grad for v in found)


def test_torch_target_leaves_the_model_as_it_was(convnet: Callable[..., nn.Module]) -> None:
    model = convnet().train()
    first = next(model.parameters())
    first.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    inputs, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    weights = objective_weights(torch, "dlr", 4)
    target = TorchTarget(model, classes=10)
    with torch.inference_mode():
        within = target.gradient(inputs * 1.0, labels, labels, weights)  # an inference tensor
    with torch.no_grad():
        target.logits(inputs)
        silenced = target.gradient(inputs, labels, labels, weights)
    torch.testing.assert_close(within.gradient, silenced.gradient)
    assert bool(silenced.gradient.any())
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [p is not first for p in model.parameters()]
    assert not inputs.requires_grad


def test_torch_target_works_under_autocast(convnet: Callable[..., nn.Module]) -> None:
    target = TorchTarget(convnet(), classes=10)
    inputs = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3])
    weights = objective_weights(torch, "cross_entropy", 4)
    exact = target.gradient(inputs, labels, labels, weights)
    with torch.autocast("cpu", torch.bfloat16):
        found = target.gradient(inputs, labels, labels, weights)
        assert target.logits(inputs).dtype == torch.float32
    assert {v.dtype for v in found} == {torch.float32}
    assert not torch.equal(found.logits, exact.logits), "autocast took effect"
    cosine = nn.functional.cosine_similarity(found.gradient.flatten(1), exact.gradient.flatten(1))
    assert float(cosine.min()) > 0.95


def test_torch_target_finds_the_classes_of_a_head() -> None:
    model = nn.Module()
    model.head = nn.Linear(3, 7)
    assert TorchTarget(model).classes == 7
    with pytest.raises(ValueError, match="classes must be given for a model without a linear `head`"):
        TorchTarget(nn.Flatten())


def test_counts_are_per_sample_and_the_heart_beats_first(pair: tuple[OnnxTarget, TorchTarget]) -> None:
    beats: list[int] = []
    target = CountingTarget(pair[0], beats.append)
    inputs, labels = images(5), np.zeros(5, np.int64)
    target.logits(inputs)
    target.logits(inputs[:2])
    target.gradient(inputs[:3], labels[:3], labels[:3], objective_weights(np, "margin", 3))
    assert (target.forward_evaluations, target.gradient_evaluations) == (7, 3)
    assert beats == [5, 2, 3]
    assert target.classes == 2


def test_a_heartbeat_that_raises_stops_the_attack(pair: tuple[OnnxTarget, TorchTarget]) -> None:
    class CancelledError(Exception):
        pass

    def cancel_at_third_call(samples: int) -> None:
        beats.append(samples)
        if len(beats) == 3:
            raise CancelledError

    beats: list[int] = []
    target = CountingTarget(pair[0], cancel_at_third_call)
    with pytest.raises(CancelledError):
        ATTACKS["square"].run(
            target, images(2), np.zeros(2, np.int64), eps=1 / 255, norm="linf", rng=np.random.default_rng(0)
        )
    assert len(beats) == 3
