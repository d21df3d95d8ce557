import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from f2at.bundle.format import Bundle, BundleError, load_bundle, write_bundle
from f2at.images.preparation import Preparation

NAMES = ("manifest.json", "classifier.onnx", "gradient.onnx", "reference.npz")


def reseal(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and give it a valid digest again, as a forger would."""
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    manifest.pop("digest")
    body = json.dumps(manifest, sort_keys=True, indent=2) + "\n"
    manifest["digest"] = "sha256:" + hashlib.sha256(body.encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest, sort_keys=True, indent=2) + "\n")


def edited(model: bytes, edit: Callable[[onnx.ModelProto], object]) -> bytes:
    proto = onnx.load_model_from_string(model)
    edit(proto)
    return bytes(proto.SerializeToString())


def test_what_was_written_is_read(bundle: Bundle, parts: dict[str, Any]) -> None:
    loaded = load_bundle(bundle.path)
    assert loaded == bundle
    assert loaded.classes == ("cat", "dog", "owl", "fox")
    assert loaded.input_size == (9, 8)
    assert loaded.files["gradient.onnx"] == parts["gradient"]
    images, labels = loaded.reference()
    np.testing.assert_array_equal(images, parts["images"])
    np.testing.assert_array_equal(labels, parts["labels"])


def test_the_digest_is_the_sha256_of_the_manifest_without_it(bundle: Bundle) -> None:
    body = {key: value for key, value in bundle.manifest.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, indent=2) + "\n"
    assert bundle.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    for name in NAMES[1:]:
        on_disk = hashlib.sha256((bundle.path / name).read_bytes()).hexdigest()
        assert bundle.manifest["files"][name]["sha256"] == on_disk


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(name=st.sampled_from(NAMES), position=st.integers(0, 10**9), flip=st.integers(1, 255))
def test_any_changed_byte_of_any_file_is_refused(bundle: Bundle, name: str, position: int, flip: int) -> None:
    file = bundle.path / name
    data = bytearray(bundle.files[name] if name in bundle.files else file.read_bytes())
    original = bytes(data)
    data[position % len(data)] ^= flip
    file.write_bytes(data)
    try:
        with pytest.raises(BundleError):
            load_bundle(bundle.path)
    finally:
        file.write_bytes(original)


@pytest.mark.parametrize("name", NAMES)
def test_missing_longer_and_shorter_files_are_refused(bundle: Bundle, name: str) -> None:
    file = bundle.path / name
    data = file.read_bytes()
    for changed in (data + b" ", data[:-1], b""):
        file.write_bytes(changed)
        with pytest.raises(BundleError, match=name):
            load_bundle(bundle.path)
    file.unlink()
    with pytest.raises(BundleError, match=f"is half a bundle: {name} missing; export the bundle again"):
        load_bundle(bundle.path)


def test_how_pictures_fit_is_read_and_checked(bundle: Bundle) -> None:
    assert bundle.preparation == Preparation((9, 8), "squash", "bilinear")  # of before there was a choice
    fields = {"fit": "pad", "interpolation": "bicubic"}
    reseal(bundle.path, lambda manifest: manifest.update(preprocessing=fields))
    assert load_bundle(bundle.path).preparation == Preparation((9, 8), "pad", "bicubic")
    wrong: list[tuple[Any, str]] = [
        ({"fit": "stretch", "interpolation": "bilinear"}, "preprocessing: fit must be one of"),
        ({"fit": "crop"}, "fit and interpolation must be given together"),
        ([], "preprocessing: fields must be a mapping"),
    ]
    for value, message in wrong:
        reseal(bundle.path, lambda manifest, value=value: manifest.update(preprocessing=value))  # type: ignore[misc]
        with pytest.raises(BundleError, match=message):
            load_bundle(bundle.path)


def test_a_manifest_that_means_the_same_in_other_bytes_is_refused(bundle: Bundle) -> None:
    file = bundle.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))
    with pytest.raises(BundleError, match="altered"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(schema_version=2), "schema version 2, this version reads 1"),
        (lambda m: m.update(classes=["cat", "cat"]), "classes must be"),
        (lambda m: m.update(classes=["cat", "dog", "owl", "\udcff"]), "must be Unicode text"),
        (lambda m: m.update(classes="abcd"), "classes must be"),
        (lambda m: m.update(classes=["a", "b", "c"]), "outputs"),
        (lambda m: m.update(input_size=[9, 9]), "inputs"),
        (lambda m: m.update(input_size=[9.0, 8]), "input_size must be"),
        (lambda m: m.pop("objectives"), "objectives must be"),
        (lambda m: m["objectives"].pop(), "inputs"),
        (lambda m: m["files"].pop("reference.npz"), "files must describe"),
        (lambda m: m["files"].update({"reference.npz": "abc"}), "must have bytes and sha256"),
    ],
)
def test_a_forged_manifest_is_refused(bundle: Bundle, change: Callable[[dict[str, Any]], object], reason: str) -> None:
    reseal(bundle.path, change)
    with pytest.raises(BundleError, match=reason):
        load_bundle(bundle.path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"a": NaN}', "{}"])
def test_what_is_no_manifest_is_refused(bundle: Bundle, text: str) -> None:
    (bundle.path / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(bundle.path)


def weights_of(model: onnx.ModelProto) -> onnx.TensorProto:
    tensors: list[onnx.TensorProto] = list(model.graph.initializer)
    return max(tensors, key=lambda tensor: int(np.prod(tensor.dims)))


def nudge(model: onnx.ModelProto) -> None:
    tensor = weights_of(model)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] = np.nextafter(array.flat[0], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def externalise(model: onnx.ModelProto) -> None:
    tensor = weights_of(model)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def hide_in_a_constant(model: onnx.ModelProto) -> None:
    """Add (1, 2, 3, 4) to the logits."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["before" if name == "logits" else name for name in names]
    extra = numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32), "extra")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["extra"], value=extra))
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "extra"], ["logits"]))


@pytest.mark.parametrize(
    ("name", "edit", "reason"),
    [
        ("gradient", nudge, "differ in weights"),
        ("classifier", nudge, "differ in weights"),
        ("gradient", hide_in_a_constant, "only in gradient.onnx"),
        ("classifier", hide_in_a_constant, "only in classifier.onnx"),
        ("gradient", externalise, "tensors in other files"),
        ("classifier", lambda model: model.graph.node.pop(), "not a valid ONNX model"),
        ("gradient", lambda model: model.graph.output.pop(), "must have the outputs"),
    ],
)
def test_graphs_that_cannot_be_trusted_are_not_written(
    parts: dict[str, Any], tmp_path: Path, name: str, edit: Callable[[onnx.ModelProto], object], reason: str
) -> None:
    with pytest.raises(BundleError, match=reason):
        write_bundle(tmp_path / "bundle", **{**parts, name: edited(parts[name], edit)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changes", [{"classifier": b"\xff" * 99}, {"classifier": b""}])
def test_bytes_that_are_no_graph_are_not_written(
    parts: dict[str, Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(BundleError, match=r"classifier\.onnx"):
        write_bundle(tmp_path / "bundle", **{**parts, **changes})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": np.full(20, 4)}, "in \\[0, 4\\); got 4"),
        ({"labels": np.zeros(20, np.int32)}, "labels must be int64"),
        ({"labels": np.zeros(19, np.int64)}, r"labels must be integers \(20,\); got int64 \(19,\)"),
        ({"images": np.zeros((20, 9, 8, 3), np.float32)}, "images must be uint8"),
        ({"images": np.zeros((20, 8, 8, 3), np.uint8)}, "images must be uint8"),
        ({"images": np.zeros((0, 9, 8, 3), np.uint8), "labels": np.zeros(0, np.int64)}, "images must be at least one"),
    ],
)
def test_reference_images_that_do_not_fit_are_not_written(
    parts: dict[str, Any], tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BundleError, match=reason):
        write_bundle(tmp_path / "bundle", **{**parts, **change})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unless_asked(bundle: Bundle, parts: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="exists"):
        write_bundle(bundle.path, **parts)
    other = {**parts, "manifest": {**parts["manifest"], "dataset": "other"}}
    replaced = write_bundle(bundle.path, **other, overwrite=True)
    assert load_bundle(bundle.path).digest == replaced.digest != bundle.digest
    assert list(bundle.path.parent.iterdir()) == [bundle.path]


def test_overwriting_takes_nothing_but_a_bundle(bundle: Bundle, parts: dict[str, Any]) -> None:
    (bundle.path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(BundleError, match=r"also holds thesis\.txt, which is no part of a bundle: move it away first"):
        write_bundle(bundle.path, **parts, overwrite=True)
    assert (bundle.path / "thesis.txt").is_file()


def test_a_failed_overwrite_leaves_the_old_bundle(bundle: Bundle, parts: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        write_bundle(bundle.path, **{**parts, "classifier": b""}, overwrite=True)
    assert load_bundle(bundle.path) == bundle


def test_a_folder_that_is_no_bundle_is_never_overwritten(parts: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="not a bundle"):
        write_bundle(tmp_path, **parts, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_bundle_can_be_moved(bundle: Bundle, tmp_path: Path) -> None:
    shutil.move(bundle.path, tmp_path / "elsewhere")
    assert load_bundle(tmp_path / "elsewhere").digest == bundle.digest
