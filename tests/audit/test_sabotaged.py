"""Undefended models with attacks sabotaged: the suite breaks them all the same, or a flag says that it could not."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from f2at.audit import AuditRequest
from f2at.audit.module import audit_module
from f2at.audit.opening.onnx import audit_onnx
from tests.audit import sabotaged
from tests.audit.sabotaged import CLASSES, EPS, MODELS, NAMES, SIDE, Sabotaged, images, labels_of, linear, nothing

REQUEST = AuditRequest(suite="adaptive", eps=EPS, curve=False, examples=0)


def audited(name: str) -> dict[str, Any]:
    model = MODELS[name]().eval()
    names = [*NAMES, "rejected"] if name == "detector" else NAMES
    return audit_module(model, images(), labels_of(model), REQUEST, classes=names)


def broken(report: dict[str, Any]) -> dict[str, int]:
    return {attack["name"]: attack["broken"] for attack in report["attacks"]}


def raised(report: dict[str, Any]) -> set[str]:
    return {flag["name"] for flag in report["flags"] if flag["raised"]}


@pytest.mark.parametrize(
    ("name", "attacks", "flags"),
    [
        ("nothing", {"multi-targeted": 10}, set()),
        ("temperature", {"multi-targeted": 10}, {"zero_gradients"}),  # differences of logits have no temperature
        ("detector", {"multi-targeted": 10}, set()),  # what is rejected is not right, and the detector has slopes
        pytest.param("ensemble", {"multi-targeted": 9, "square": 1}, set(), marks=pytest.mark.slow),
        pytest.param("thresholds", {"multi-targeted": 9, "square": 1}, set(), marks=pytest.mark.slow),
    ],
)
def test_an_undefended_model_is_broken(name: str, attacks: dict[str, int], flags: set[str]) -> None:
    """By whom, and all of it; on what is left by attacks with gradients, one without them succeeds."""
    report = audited(name)
    found = broken(report)
    assert report["clean"]["k"] == 10
    assert report["robust"]["k"] == 0
    assert found["multi-targeted"] >= attacks["multi-targeted"] - 2  # rounding differs between machines
    assert {attack for attack, count in found.items() if count} <= {*attacks, "square"}
    assert flags <= raised(report)


def test_random_answers_are_flagged() -> None:
    report = audited("random resize")
    assert "randomised_outputs" in raised(report)
    assert broken(report)["multi-targeted"] >= 4  # although each step follows another draw


def test_a_module_that_rounds_is_broken_by_gradients_passed_straight_through() -> None:
    report = audited("jpeg")
    assert report["model"]["straight_through"] == ["round"]
    assert report["clean"]["k"] == 10
    assert broken(report)["multi-targeted"] == 10
    assert raised(report) == set()


def test_a_module_without_any_gradient_gets_one_straight_through() -> None:
    """PyTorch has none to give through integers."""

    def eight_bit(model: nn.Module, inputs: Tensor) -> Tensor:
        return nothing(model, (inputs * 255).to(torch.uint8).float() / 255)

    model = nn.Sequential(Sabotaged(eight_bit)).eval()
    report = audit_module(model, images(), labels_of(model), REQUEST, classes=NAMES)
    assert report["model"]["straight_through"] == ["0: cast to integers"]
    assert report["clean"]["k"] == broken(report)["multi-targeted"] == 10


def save(path: Path, *, hidden: bool, thresholds: bool = False) -> Path:
    """The undefended model as an ONNX file, behind JPEG's rounding, or behind thresholds."""
    weight, bias = (parameter.detach().numpy() for parameter in linear()[1].parameters())
    constants = {
        "weight": weight,
        "bias": bias,
        "matrix": sabotaged.cosines().numpy(),
        "back": sabotaged.cosines().numpy().T,
        "mean": np.array(0.5, np.float32),
        "coarse": np.array(0.6, np.float32),
        "wide": np.array(0.3, np.float32),
    }
    steps = [("Flatten", ["x"], "flat"), ("Gemm", ["flat", "weight", "bias"], "logits")]
    if hidden:
        steps[0] = ("Flatten", ["seen"], "flat")
        steps = [
            ("Sub", ["x", "mean"], "centred"),
            ("MatMul", ["matrix", "centred"], "half"),
            ("MatMul", ["half", "back"], "cosines"),
            ("Div", ["cosines", "coarse"], "scaled"),
            ("Round", ["scaled"], "rounded"),
            ("Mul", ["rounded", "coarse"], "kept"),
            ("MatMul", ["back", "kept"], "half back"),
            ("MatMul", ["half back", "matrix"], "whole"),
            ("Add", ["whole", "mean"], "seen"),
            *steps,
        ]
    if thresholds:
        steps[0] = ("Flatten", ["seen"], "flat")
        steps = [
            ("Sub", ["x", "mean"], "centred"),
            ("Abs", ["centred"], "distance"),
            ("Greater", ["distance", "wide"], "far"),
            ("Where", ["far", "x", "mean"], "seen"),
            *steps,
        ]
    options: dict[str, Any] = {"Gemm": {"transB": 1}}
    graph = helper.make_graph(
        [helper.make_node(name, inputs, [output], **options.get(name, {})) for name, inputs, output in steps],
        "sabotaged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("name", "asked", "node"), [("jpeg", False, "rounded"), ("thresholds", True, "seen")])
def test_a_file_is_broken_by_gradients_passed_straight_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: bool, node: str
) -> None:
    monkeypatch.setenv("F2AT_CACHE", str(tmp_path / "cache"))
    path = save(tmp_path / "m.onnx", hidden=name == "jpeg", thresholds=name == "thresholds")
    labels = labels_of(MODELS[name]().eval())
    report = audit_onnx(path, images(), labels, REQUEST, straight_through=asked, threads=1)
    assert report["model"]["straight_through"] == [node]
    assert report["clean"]["k"] == 10
    assert broken(report)["multi-targeted"] == 10
    assert raised(report) == set()
