"""Files that hide their gradients: what is followed in their place, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.bundle import open_bundle
from f2at.audit.opening.model import Model
from f2at.audit.opening.onnx import audit_onnx, open_onnx
from f2at.export.foreign import export_onnx
from f2at.gradient.reverse import passed_through
from f2at.images.pixels import to_inputs
from f2at.images.sets.base import in_memory
from tests.gradient.networks import SIDE, logits_of, network

IMAGES = np.random.default_rng(2).integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8)
LABELS = logits_of(to_inputs(IMAGES)).argmax(axis=1)
DATA = in_memory(IMAGES, LABELS)
REQUEST = AuditRequest(suite="custom", attacks=[{"name": "pgd", "steps": 5}], eps="64/255", curve=False, examples=0)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("F2AT_CACHE", str(tmp_path / "cache"))


def in_front(path: Path, *operations: tuple[str, float | None], leak: bool = False) -> Path:
    """The network behind these operations on its pixels, each with its second input; `leak` lets a path around them."""
    model = network()
    nodes, name = [], "x"
    for number, (operation, value) in enumerate(operations):
        inputs = [name]
        if value is not None:
            inputs.append(f"front_{number}")
            model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), inputs[-1]))
        name = f"hidden_{number}"
        nodes.append(helper.make_node(operation, inputs, [name]))
    if leak:
        nodes.append(helper.make_node("Mean", ["x", name], ["both"]))
        name = "both"
    model.graph.node[0].input[0] = name
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    onnx.save(model, path)
    return path


ROUNDED = (("Mul", 255.0), ("Round", None), ("Div", 255.0))


def opened(path: Path, said: list[str] | None = None, **options: Any) -> Model:
    tell = (said if said is not None else []).append
    return open_onnx(path, classes=None, size=(SIDE, SIDE), threads=1, tell=tell, **options)


def report_of(model: Model) -> dict[str, Any]:
    audit = model.audit(DATA, REQUEST)
    return audit.report(run_audit(audit))


def zeroed(path: Path) -> Path:
    """The same network with a path to its end that has a gradient, of zero: answers move with images all the same."""
    model = onnx.load(in_front(path, *ROUNDED))
    none = np.zeros((3 * SIDE * SIDE, 4), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(none, "zeros"))
    model.graph.node.extend(
        [
            helper.make_node("Flatten", ["x"], ["all"]),
            helper.make_node("MatMul", ["all", "zeros"], ["nothing"]),
            helper.make_node("Add", ["y0", "nothing"], ["last"]),
        ]
    )
    model.graph.output[0].name = "last"
    onnx.save(model, path)
    return path


@pytest.mark.slow
def test_a_file_that_rounds_all_it_sees_is_passed_straight_through(tmp_path: Path) -> None:
    said: list[str] = []
    model = opened(in_front(tmp_path / "rounded.onnx", *ROUNDED), said)
    assert said[-1] == "rounded.onnx: the gradient is passed straight through hidden_1"
    report = report_of(model)
    assert report["model"]["straight_through"] == ["hidden_1"]
    assert report["model"]["gradient"]["proven"] is False
    plain = report_of(opened(in_front(tmp_path / "plain.onnx")))
    assert "straight_through" not in plain["model"]
    assert plain["model"]["gradient"]["proven"] is True
    assert report["robust"]["k"] == plain["robust"]["k"] < plain["clean"]["k"]
    assert "--straight-through" not in report["repeat"]["command"]  # it is found out again


@pytest.mark.slow
def test_a_gradient_that_vanishes_is_noticed_at_the_images(tmp_path: Path) -> None:
    said: list[str] = []
    report = report_of(opened(zeroed(tmp_path / "zeroed.onnx"), said))
    assert said[-1] == "zeroed.onnx: gradients vanish, so the gradient is passed straight through hidden_1"
    assert report["model"]["straight_through"] == ["hidden_1"]
    assert report["robust"]["k"] < report["clean"]["k"]
    zero = next(flag for flag in report["flags"] if flag["name"] == "zero_gradients")
    assert zero["raised"] is False


@pytest.mark.slow
def test_where_a_gradient_can_be_followed_it_is(tmp_path: Path) -> None:
    path = in_front(tmp_path / "leaky.onnx", *ROUNDED, leak=True)
    assert "straight_through" not in report_of(opened(path))["model"]
    asked = report_of(opened(path, straight_through=True))
    assert asked["model"]["straight_through"] == ["hidden_1"]
    assert "--straight-through" in asked["repeat"]["command"]
    again = report_of(opened(path))  # the two are remembered apart
    assert "straight_through" not in again["model"]


@pytest.mark.slow
def test_a_constant_answer_hides_nothing(tmp_path: Path) -> None:
    """All that is left of the pixels is the same for all of them."""
    path = zeroed(tmp_path / "constant.onnx")
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "front_0":
            tensor.CopyFrom(numpy_helper.from_array(np.array(0.4, np.float32), "front_0"))
    onnx.save(model, path)
    assert "straight_through" not in report_of(opened(path))["model"]


@pytest.mark.slow
def test_saturation_is_not_passed_through(tmp_path: Path) -> None:
    """Gradients vanish in float32, and no node jumps: the flag says so, as before."""
    model = network(tail=[("Mul", {}), ("Tanh", {})])
    model.graph.node[-2].input.append("steep")
    model.graph.initializer.append(numpy_helper.from_array(np.array(1e4, np.float32), "steep"))
    onnx.save(model, tmp_path / "steep.onnx")
    report = report_of(opened(tmp_path / "steep.onnx"))
    assert "straight_through" not in report["model"]
    assert next(flag for flag in report["flags"] if flag["name"] == "zero_gradients")["raised"]


def test_it_does_not_go_without_gradients(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="straight_through must be left out with black_box"):
        audit_onnx(in_front(tmp_path / "m.onnx"), IMAGES, LABELS, black_box=True, straight_through=True)


@pytest.mark.slow
def test_a_bundle_states_what_its_gradients_pass(tmp_path: Path) -> None:
    path = in_front(tmp_path / "rounded.onnx", *ROUNDED)
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    with pytest.raises(ValueError, match="--straight-through passes it through what rounds"):
        export_onnx(path, tmp_path / "data.npz", tmp_path / "bundle")
    bundle = export_onnx(path, tmp_path / "data.npz", tmp_path / "bundle", straight_through=True)
    assert bundle.manifest["parity"]["gradient"]["error"] is None
    report = report_of(open_bundle(tmp_path / "bundle", threads=1))
    assert report["model"]["straight_through"] == ["hidden_1"]
    assert report["robust"]["k"] < report["clean"]["k"]


@pytest.mark.slow
def test_a_bundle_whose_gradients_vanish_is_passed_straight_through(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    bundle = export_onnx(zeroed(tmp_path / "zeroed.onnx"), tmp_path / "data.npz", tmp_path / "bundle")
    assert passed_through(onnx.load_model_from_string(bundle.files["gradient.onnx"])) == []
    report = report_of(open_bundle(tmp_path / "bundle", threads=1))
    assert report["model"]["straight_through"] == ["hidden_1"]
    assert report["robust"]["k"] < report["clean"]["k"]


def test_what_does_not_fit_is_said_before_gradients_are_looked_at(tmp_path: Path) -> None:
    model = opened(in_front(tmp_path / "plain.onnx"))
    with pytest.raises(ValueError, match="classes must be 4 names, one for each output; got 5"):
        model._replace(classes=list("abcde")).audit(DATA, REQUEST)
