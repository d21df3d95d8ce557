"""What every attack promises. A new attack adds a row to QUICK."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from f2at.attacks import ATTACKS, Attack, CountingTarget
from f2at.attacks.objectives import OBJECTIVES
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import NORMS, norms

# Parameters for tests, and by how much eps must exceed the nearest boundary of a linear model for a sure success.
QUICK: dict[str, tuple[dict[str, Any], float]] = {
    "fgsm": ({}, 1.001),
    "pgd": ({"steps": 10}, 1.05),
    "mi-fgsm": ({}, 1.001),
    "cw": ({}, 1.02),
    "cw-l2": ({"steps": 50, "searches": 5, "initial_constant": 0.01}, 1.1),
    "apgd-ce": ({"steps": 10}, 1.001),
    "apgd-dlr": ({"steps": 10}, 1.001),
    "apgd-t": ({"steps": 10}, 1.001),
    "apgd-ce-l1": ({"steps": 40, "restarts": 1}, 1.01),
    "apgd-t-l1": ({"steps": 40}, 1.01),
    "multi-targeted": ({"steps": 5, "final_runs": 2, "final_steps": 5}, 1.001),
    "fab-t": ({"steps": 10}, 1.01),
    "square": ({"queries": 300}, 2.0),
    "rays": ({"queries": 300}, 2.0),
    "hopskipjump": ({"queries": 1000}, 2.0),
    "transfer-fgsm": ({}, 1.001),
    "transfer-pgd": ({}, 1.05),
    "transfer-mi": ({}, 1.001),
    "transfer-ti": ({"kernel_size": 3}, 2.5),
    "transfer-di": ({}, 2.0),
    "transfer-vmi": ({}, 1.001),
}

# For l1, where steps are sparse and a start that moves every value must be undone.
QUICK_L1: dict[str, tuple[dict[str, Any], float]] = {
    "pgd": ({"steps": 40}, 1.15),
    "multi-targeted": ({"steps": 30, "final_runs": 2, "final_steps": 30}, 1.01),
}

# Draw nothing, or (multi-targeted) only for the few samples whose best image is seldom found at random.
DETERMINISTIC = (
    *("fgsm", "mi-fgsm", "cw-l2", "multi-targeted", "fab-t", "rays"),
    *("transfer-fgsm", "transfer-mi", "transfer-ti"),
)
# For l1, the one value that counts most is found from any start.
DETERMINISTIC_L1 = ("pgd", "multi-targeted", "transfer-pgd", "transfer-vmi")
FEW = {"steps": 3, "queries": 20}
CASES = [(name, norm) for name, attack in ATTACKS.items() for norm in attack.norms]


def quick(name: str) -> Attack:
    return ATTACKS[name].override(**QUICK[name][0])


def brief(name: str) -> Attack:
    """For tests that need no success."""
    return quick(name).override(**{key: few for key, few in FEW.items() if key in ATTACKS[name].parameters})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_attack_has_a_row() -> None:
    assert QUICK.keys() == ATTACKS.keys()


@pytest.mark.parametrize(("name", "norm"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_closed_form_distance_of_a_binary_linear_model(
    linear: Callable[..., Any], name: str, norm: str, seed: int
) -> None:
    """Sure to succeed a little beyond the nearest boundary; no attack can, short of it."""
    model = linear(classes=2, samples=1, seed=seed)
    # One sample lies on the boundary that `linear` draws through the mean; move it off.
    model.bias[model.labels[0]] += 0.5
    distance = float(model.distances(norm)[0])
    parameters, enough = {**QUICK, **(QUICK_L1 if norm == "l1" else {})}[name]
    attack = ATTACKS[name].override(**parameters)
    for scale, broken in ((enough, True), (0.999, False)):
        found = attack.run(model.target(), model.inputs, model.labels, eps=scale * distance, norm=norm, rng=rng(seed))
        assert bool(model.logits(found).argmax(1) != model.labels) is broken
        assert float(norms(found - model.inputs, norm)[0]) <= scale * distance * (1 + 1e-9)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1000),
    eps=st.floats(1 / 255, 1),
    data=st.data(),
    classes=st.sampled_from([2, 3, 4, 10]),
)
@pytest.mark.parametrize("name", ATTACKS)
def test_output_lies_in_the_ball_and_the_box(
    convnet: Callable[..., nn.Module], name: str, seed: int, eps: float, data: st.DataObject, classes: int
) -> None:
    norm = data.draw(st.sampled_from(ATTACKS[name].norms))
    attack = brief(name)
    target = TorchTarget(convnet(classes, seed), classes=classes, snap=bool(seed % 2))
    pixels = rng(seed).integers(-100, 356, (3, 3, 8, 8)).clip(0, 255)  # many at the box's edge
    inputs = torch.from_numpy(pixels / 255).float()
    labels = torch.from_numpy(rng(seed).integers(0, classes, 3))
    before = inputs.clone()
    found = attack.run(target, inputs, labels, eps=eps, norm=norm, rng=rng(seed))
    assert (found.shape, found.dtype) == (inputs.shape, inputs.dtype)
    # A sum of many values is off by as many roundings to float32; the harness's own projection is in float64.
    rounding = inputs[0].numel() * 2.0**-24 if norm == "l1" else 1e-6
    assert float(norms(found - inputs, norm).max()) <= eps + rounding
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(inputs, before), "the caller's images are left alone"


@pytest.mark.parametrize(("name", "norm"), CASES)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_seed_decides(convnet: Callable[..., nn.Module], name: str, norm: str, classes: int) -> None:
    target = TorchTarget(convnet(classes), classes=classes)
    inputs = torch.from_numpy(rng().integers(0, 256, (4, 3, 8, 8)) / 255).float()
    labels = target.logits(inputs).argmax(1)
    attack = brief(name)

    def run(seed: int) -> Any:
        return attack.run(target, inputs, labels, eps=0.01, norm=norm, rng=rng(seed))

    assert torch.equal(run(0), run(0))
    if name not in DETERMINISTIC and not (norm == "l1" and name in DETERMINISTIC_L1):
        assert not torch.equal(run(0), run(1))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_success_in_the_loop_is_one_on_8_bit_images(convnet: Callable[..., nn.Module], name: str) -> None:
    """What a snapping target calls broken stays broken when stored as bytes, and inside the ball."""
    target = CountingTarget(TorchTarget(convnet(), classes=10))
    images = rng().integers(0, 256, (16, 3, 8, 8))
    inputs = torch.from_numpy(images / 255).float()
    labels = target.logits(inputs).argmax(1)
    attack, norm = quick(name), ATTACKS[name].norms[0]
    eps = {"linf": 4 / 255, "l2": 0.5, "l1": 3.0}[norm]
    found = attack.run(target, inputs, labels, eps=eps, norm=norm, rng=rng())
    stored = (found * 255).round()
    assert norm != "linf" or int((stored - torch.from_numpy(images)).abs().max()) <= 4
    same = target.logits(stored / 255).argmax(1) == target.logits(found).argmax(1)
    assert bool(same.all())
    assert bool((target.logits(stored / 255).argmax(1) != labels).any())


@pytest.mark.parametrize("name", ATTACKS)
def test_the_whole_batch_need_not_be_right(convnet: Callable[..., nn.Module], name: str) -> None:
    """Samples that are wrong from the start, and batches of one and of none."""
    target = TorchTarget(convnet(), classes=10)
    inputs = torch.from_numpy(rng().integers(0, 256, (4, 3, 8, 8)) / 255).float()
    labels = (target.logits(inputs).argmax(1) + torch.tensor([0, 1, 2, 3])) % 10
    attack = quick(name)
    for rows in (4, 1, 0):
        found = attack.run(target, inputs[:rows], labels[:rows], eps=0.01, norm=attack.norms[0], rng=rng())
        assert found.shape == (rows, 3, 8, 8)


@pytest.mark.parametrize("name", ATTACKS)
def test_bad_input_is_named(convnet: Callable[..., nn.Module], name: str) -> None:
    target = TorchTarget(convnet(), classes=10)
    inputs, labels = torch.full((2, 3, 8, 8), 0.5), torch.tensor([0, 1])
    norms = ATTACKS[name].norms
    good: dict[str, Any] = {"inputs": inputs, "labels": labels, "eps": 0.1, "norm": norms[0], "rng": rng()}
    for change, reason in (
        ({"eps": 0.0}, "eps must be > 0"),
        ({"eps": 1.1, "norm": "linf"}, "eps must be at most 1"),
        ({"norm": "l0"}, "norm must be one of linf, l2, l1"),
        ({"inputs": inputs * 3}, r"inputs must lie in \[0, 1\]"),
        ({"inputs": inputs[0]}, r"inputs must be floating \(N, 3, H, W\)"),
        ({"labels": labels + 9}, r"labels must lie in \[0, 10\)"),
        ({"labels": labels[:1]}, "labels must be integers, one per input"),
    ):
        with pytest.raises(ValueError, match=reason):
            quick(name).run(target, **{**good, **change})
    for norm in set(NORMS) - set(norms):
        with pytest.raises(ValueError, match=f"norm must be {' or '.join(norms)} for {name}; got '{norm}'"):
            quick(name).run(target, **{**good, "norm": norm})


def test_published_parameters() -> None:
    """The defaults of the official AutoAttack, and of Madry et al.'s 20-step evaluation."""
    for name in ("apgd-ce", "apgd-dlr", "apgd-t"):
        found = ATTACKS[name].parameters
        assert (found["steps"], found["rho"], found["momentum"], found["restarts"]) == (100, 0.75, 0.75, 1)
    assert ATTACKS["apgd-ce"].parameters["objective"] == "cross_entropy"
    assert ATTACKS["apgd-dlr"].parameters["objective"] == "dlr"
    assert ATTACKS["apgd-t"].parameters["objective"] == "targeted_dlr"
    assert ATTACKS["apgd-t"].parameters["target_classes"] == 9
    found = ATTACKS["apgd-ce-l1"].parameters
    assert (found["steps"], found["restarts"], found["larger_first"]) == (100, 5, True)
    found = ATTACKS["apgd-t-l1"].parameters
    assert (found["steps"], found["restarts"], found["target_classes"]) == (100, 1, 5)
    assert dict(ATTACKS["square"].parameters) == {"queries": 5000, "initial_fraction": 0.8}
    assert ATTACKS["pgd"].parameters["steps"] == 20
    found = ATTACKS["mi-fgsm"].parameters
    assert (found["steps"], found["step_size"], found["momentum"]) == (10, None, 1.0)
    found = ATTACKS["cw"].parameters
    assert (found["objective"], found["steps"], found["step_size"]) == ("margin", 30, 0.007)
    found = ATTACKS["cw-l2"].parameters
    assert (found["searches"], found["initial_constant"], found["learning_rate"]) == (9, 1e-3, 1e-2)
    found = ATTACKS["fab-t"].parameters
    assert (found["steps"], found["restarts"], found["target_classes"]) == (100, 1, 9)
    assert (found["alpha_max"], found["eta"], found["beta"]) == (0.1, 1.05, 0.9)
    found = ATTACKS["hopskipjump"].parameters
    assert (found["initial_evaluations"], found["max_evaluations"], found["gamma"]) == (100, 10_000, 1.0)
    found = ATTACKS["transfer-di"].parameters
    assert (found["steps"], found["probability"], found["resize_rate"]) == (10, 0.5, 0.9)
    found = ATTACKS["transfer-vmi"].parameters
    assert (found["steps"], found["neighbours"], found["beta"], found["momentum"]) == (10, 5, 1.5, 1.0)
    found = ATTACKS["transfer-ti"].parameters
    assert (found["steps"], found["kernel_sigmas"], found["momentum"]) == (10, 3.0, 1.0)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_entry_states_everything(name: str) -> None:
    attack = ATTACKS[name]
    assert attack.name == name
    assert attack.title
    assert attack.paper.startswith("https://")
    assert (attack.knowledge == "transfer") is name.startswith("transfer-")
    assert (attack.knowledge == "black-box") is ("queries" in attack.parameters)
    if attack.knowledge == "transfer":
        assert not attack.parameters.get("stop_at_success", False), "the surrogate's verdict is not the model's"
    # What is left over are arrays with a default, for callers other than the harness.
    given = inspect.signature(attack.function).parameters.items()
    taken = {name for name, p in given if p.kind is p.KEYWORD_ONLY or p.default is p.empty}
    assert taken == {"target", "inputs", "labels", "eps", "norm", "rng", *attack.parameters}
    assert json.loads(json.dumps(dict(attack.parameters))) == dict(attack.parameters)
    assert attack.parameters.get("objective", "margin") in OBJECTIVES


def test_override_returns_another_attack() -> None:
    attack = ATTACKS["pgd"].override(steps=7)
    assert (attack.parameters["steps"], ATTACKS["pgd"].parameters["steps"]) == (7, 20)
    with pytest.raises(ValueError, match="pgd has no parameter 'queries'; it takes objective, "):
        ATTACKS["pgd"].override(queries=7)
    with pytest.raises(ValueError, match="pgd: step_size must be a number; got 'x'"):
        ATTACKS["pgd"].override(step_size="x").check()


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ATTACKS["pgd"].parameters["steps"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        ATTACKS["mine"] = ATTACKS["pgd"]  # type: ignore[index]


def test_importing_attacks_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import f2at.attacks, f2at.attacks.targets.onnx_target"
    subprocess.run([sys.executable, "-c", code], check=True)
