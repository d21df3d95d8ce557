"""ONNX files as they come: opened, attacked, and remembered."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from f2at.attacks.registry import ATTACKS
from f2at.attacks.target import CountingTarget, has_gradients
from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.model import Model
from f2at.audit.opening.onnx import audit_onnx, open_onnx
from f2at.gradient import classifier as derivation
from f2at.images.pixels import to_inputs
from f2at.images.sets.base import in_memory
from tests.gradient.networks import SIDE, logits_of, network

IMAGES = np.random.default_rng(2).integers(0, 256, (7, SIDE, SIDE, 3), dtype=np.uint8)
INPUTS = to_inputs(IMAGES)
LABELS = logits_of(INPUTS).argmax(axis=1)


def opened(path: Path, **arguments: Any) -> Model:
    return open_onnx(path, **{"classes": None, "size": (SIDE, SIDE), "threads": 1, **arguments})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(network(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("F2AT_CACHE", str(tmp_path / "cache"))


def with_weights_beside(folder: Path, scale: float = 1) -> Path:
    """A file whose weights are in another."""
    folder.mkdir()
    model = network()
    for tensor in model.graph.initializer:
        if tensor.name == "head":
            values = onnx.numpy_helper.to_array(tensor) * np.float32(scale)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, "head"))
    onnx.save(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
        convert_attribute=False,
    )
    return folder / "model.onnx"


def with_one_size_of_batch(folder: Path, batch: int) -> Path:
    """A file that takes batches of this size only: scores are laid in a line on the way."""
    model = network(shape=(batch, 3, SIDE, SIDE))
    shapes = {"line": [batch * 4], "wide": [batch, 4]}
    for name, shape in shapes.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape), name))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["y0", "line"], ["l"]))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["l", "wide"], ["last"]))
    model.graph.output[0].name = "last"
    onnx.save(model, folder / "fixed.onnx")
    return folder / "fixed.onnx"


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_of_one_size_are_filled_up(tmp_path: Path, path: Path, batch: int) -> None:
    fixed, free = opened(with_one_size_of_batch(tmp_path, batch)).target, opened(path).target
    assert [value.shape[0] for value in fixed.classifier.get_inputs()] == [batch]  # type: ignore[attr-defined]
    np.testing.assert_allclose(fixed.logits(INPUTS), free.logits(INPUTS), rtol=1e-5)
    weights = np.ones((7, 5), np.float32)
    for one, other in zip(
        fixed.gradient(INPUTS, LABELS, (LABELS + 1) % 4, weights),
        free.gradient(INPUTS, LABELS, (LABELS + 1) % 4, weights),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_more_images_than_are_followed(tmp_path: Path) -> None:
    """Of 651 images every 27th is followed, so that one shard of 25 has none: not every graph takes a batch of none."""
    images = np.random.default_rng(0).integers(0, 256, (651, SIDE, SIDE, 3), dtype=np.uint8)
    labels = logits_of(to_inputs(images)).argmax(axis=1)
    model = opened(with_one_size_of_batch(tmp_path, 25))
    audit = model.audit(in_memory(images, labels), AuditRequest(suite="quick"))
    assert min(len(audit._followed(audit._positions(shard).tolist())) for shard in range(len(audit.shards))) == 0
    report = audit.report(run_audit(audit))
    assert report["clean"]["k"] == 651
    assert report["iterations"]["samples"] == report["curve"]["samples"] == 25


def spoilt(**change: Any) -> onnx.ModelProto:
    """A graph with something in it that ONNX Runtime or ONNX does not know."""
    model = network()
    model.ir_version = change.get("ir", model.ir_version)
    model.opset_import[0].version = change.get("opset", 17)
    node = model.graph.node[1]
    node.op_type = change.get("operation", node.op_type)
    node.input[1] = change.get("weight", node.input[1])
    node.name = "n" * 300
    if "domain" in change:
        node.domain = change["domain"]
        model.opset_import.append(onnx.helper.make_opsetid(node.domain, 1))
    if change.get("opset") == 0:
        del model.opset_import[:]
    return model


@pytest.mark.parametrize("black_box", [False, True])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ir": 99}, "Unsupported model IR version: 99"),
        ({"opset": 99}, "Opset 99 is under development"),
        ({"opset": 0}, "it states none"),
        ({"operation": "Nope"}, "No Op registered for Nope"),
        ({"weight": "gone"}, "Invalid model. Node input 'gone' is not a graph input"),
        ({"domain": "com.acme"}, "com.acme:Conv"),
    ],
)
def test_the_reason_why_a_file_is_refused_comes_first(
    tmp_path: Path, change: dict[str, Any], reason: str, black_box: bool
) -> None:
    onnx.save(spoilt(**change), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=reason) as caught:
        opened(tmp_path / "model.onnx", black_box=black_box)
    assert str(caught.value).index(reason) < 80


def test_labels_may_be_a_list(path: Path) -> None:
    request = AuditRequest(suite="custom", attacks=[{"name": "fgsm"}], curve=False)
    assert audit_onnx(path, IMAGES, LABELS.tolist(), request)["clean"]["k"] == 7


def test_weights_in_another_file_count(tmp_path: Path, path: Path) -> None:
    beside, other = with_weights_beside(tmp_path / "a"), with_weights_beside(tmp_path / "b", scale=2)
    assert beside.read_bytes() == other.read_bytes()
    found = [opened(file) for file in (path, beside, other)]
    np.testing.assert_allclose(found[1].target.logits(INPUTS), found[0].target.logits(INPUTS), rtol=1e-6)
    np.testing.assert_allclose(found[2].target.logits(INPUTS), 2 * found[0].target.logits(INPUTS), rtol=1e-5)
    assert len({model.description["digest"] for model in found}) == 3


def test_weights_that_are_missing_elsewhere_or_cut_short_are_named(tmp_path: Path) -> None:
    file = with_weights_beside(tmp_path / "a")
    data = file.with_name("model.onnx.data")
    whole = data.read_bytes()
    data.write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"model.onnx keeps weights in model.onnx.data, which do not fit"):
        opened(file)
    data.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.onnx\.data"):
        opened(file)
    (tmp_path / "secret").write_bytes(whole)
    data.symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="must be a file beside it"):
        opened(file)


def test_what_was_derived_is_not_derived_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    first = opened(path, tell=lines.append)
    assert len(lines) == 1, "what takes long is announced"
    (folder,) = (path.parent / "cache").iterdir()
    made = folder.stat().st_mtime_ns

    def never(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(derivation, "needed", never)
        again = opened(path, tell=lines.append)
    assert len(lines) == 1
    assert again.description == first.description
    np.testing.assert_array_equal(again.target.logits(INPUTS), first.target.logits(INPUTS))
    assert folder.stat().st_mtime_ns == made
    for name in ("gradient.onnx", "facts.json"):
        (folder / name).write_bytes(b"damaged")
        assert opened(path).description == first.description
    assert opened(path, scale=255.0).description != first.description
    assert len(list((path.parent / "cache").iterdir())) == 2


def test_a_cache_that_cannot_be_written_does_not_matter(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("F2AT_CACHE", str(tmp_path / "file" / "cache"))
    assert opened(path).target.classes == 4


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    for content in (b"", b"no model", b"\x08"):
        file = tmp_path / "model.onnx"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"model.onnx is no ONNX model"):
            opened(file)


def test_without_gradients_white_box_attacks_are_refused(path: Path) -> None:
    target = opened(path, black_box=True).target
    assert not has_gradients(target)
    with pytest.raises(ValueError, match=r"no gradients: .* \(square, rays, hopskipjump\) or a surrogate"):
        ATTACKS["pgd"].run(target, INPUTS, LABELS, eps=0.1, norm="linf", rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.knowledge == "black-box"])
def test_black_box_attacks_break_it(path: Path, name: str) -> None:
    target = CountingTarget(opened(path, black_box=True).target)
    attack = ATTACKS[name].override(queries=400)
    found = attack.run(target, INPUTS, LABELS, eps=0.5, norm="linf", rng=np.random.default_rng(0))
    assert (target.logits(found).argmax(1) != LABELS).mean() > 0.5
