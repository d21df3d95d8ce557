"""Classifiers with one output, in both doors for ONNX files: read as two classes; several labels are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from f2at.__main__ import main
from f2at.bundle.format import load_bundle
from tests.gradient.networks import HEAD, SIDE, logits_of, network

IMAGES = np.random.default_rng(4).integers(0, 256, (30, SIDE, SIDE, 3), dtype=np.uint8)
INPUTS = IMAGES.transpose(0, 3, 1, 2) / 255
ONE = HEAD[:, :1] - HEAD[:, 1:2]
BIAS = float(np.median(logits_of(INPUTS, ONE)))
LABELS = (logits_of(INPUTS, ONE)[:, 0] > BIAS).astype(np.int64)


def binary(path: Path, *tail: tuple[str, list[int] | None]) -> Path:
    """One logit, then operations: (name, what a Reshape reshapes to)."""
    model = network(head=ONE)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([BIAS], np.float32), "median"))
    graph.node.append(helper.make_node("Sub", ["y0", "median"], ["z0"]))
    for number, (operation, shape) in enumerate(tail):
        inputs = [f"z{number}"]
        if shape is not None:
            graph.initializer.append(numpy_helper.from_array(np.array(shape), f"shape{number}"))
            inputs.append(f"shape{number}")
        graph.node.append(helper.make_node(operation, inputs, [f"z{number + 1}"]))
    graph.output[0].name = f"z{len(tail)}"
    graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("F2AT_CACHE", str(tmp_path / "cache"))
    np.savez(tmp_path / "images.npz", images=IMAGES, labels=LABELS)
    return tmp_path / "images.npz"


@pytest.mark.parametrize(
    "tail",
    [
        (),
        (("Sigmoid", None),),
        (("Sigmoid", None), ("Identity", None), ("Reshape", [-1])),  # (N,)
        (("Reshape", [-1, 1, 1]), ("Sigmoid", None), ("Identity", None)),
    ],
    ids=["logit", "sigmoid", "sigmoid, flat", "sigmoid, deep"],
)
def test_one_output_is_two_classes(tmp_path: Path, data: Path, tail: Any) -> None:
    path = binary(tmp_path / "model.onnx", *tail)
    common = [*("--data", str(data), "--classes", "no,yes"), *([] if tail else ["--scores", "logits"])]
    report, bundle = tmp_path / "report.json", tmp_path / "bundle"
    attack = ["--attack", "pgd:steps=5", "--eps", "8/255", "--quiet", "--no-curve", "--threads", "1"]
    assert main(["audit", str(path), *common, *attack, "--output", str(report)]) == 0
    assert main(["export", "--onnx", str(path), *common, "--output", str(bundle)]) == 0
    found = json.loads(report.read_text())
    assert (found["clean"]["k"], found["model"]["classes"]) == (30, ["no", "yes"])
    assert found["robust"]["k"] < 30
    exported = load_bundle(bundle)
    assert (exported.classes, exported.manifest["metrics"]["clean"]) == (("no", "yes"), 1.0)
    again = tmp_path / "again.json"
    assert main(["audit", str(bundle), *attack, "--output", str(again)]) == 0
    assert json.loads(again.read_text())["samples"] == found["samples"]


def test_several_labels_are_refused_in_one_line(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tags.onnx"
    onnx.save(network(tail=[("Sigmoid", {}), ("Identity", {}), ("Flatten", {})]), path)
    for command in (["audit", str(path)], ["export", "--onnx", str(path)]):
        assert main([*command, "--data", str(data), "--output", str(tmp_path / "output.json")]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "differentiat" not in line]
        assert "has a sigmoid for each of 4 classes: an image may have several labels" in line
