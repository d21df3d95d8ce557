"""Anybody's ONNX file, made a bundle that is served, signed, rounded and audited like one of ours."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from PIL import Image

import f2at
from f2at.__main__ import main
from f2at.attacks.registry import ATTACKS
from f2at.audit.opening.bundle import open_model
from f2at.bundle.format import Bundle, BundleError, load_bundle, write_bundle
from f2at.bundle.weights import Slim
from f2at.export import foreign
from f2at.export.foreign import AgreementError, export_onnx
from f2at.gradient.batch import answer
from f2at.gradient.classifier import classifier_graph
from f2at.images.pixels import to_inputs
from f2at.images.preparation import Preparation
from f2at.serving.decoding.refusals import decode_images
from f2at.serving.model.predictor import Predictor
from f2at.serving.settings import Settings
from tests.export.mobile import MEAN, NAMES, OPTIONS, SIDE, STD, mobile, said, write

PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize((60, 30))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def bundle(sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_onnx(*sources, tmp_path_factory.mktemp("bundles") / "mobile", fit="pad", **OPTIONS)


def logits_of(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    return np.asarray(open_model(bundle, threads=1).target.logits(to_inputs(images)))


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def test_it_says_what_the_file_says(bundle: Bundle) -> None:
    images, labels = load_bundle(bundle.path).reference()
    assert len(set(labels.tolist())) == 3
    np.testing.assert_allclose(softmax(logits_of(bundle, images)), said(mobile(), images), atol=1e-6)
    manifest = bundle.manifest
    assert manifest["parity"]["scores"]["error"] < 1e-6
    assert manifest["parity"]["gradient"]["error"] < 0.01
    assert manifest["metrics"] == {"clean": 1.0, "images": 60}
    assert manifest["source"]["file"] == "mobile.onnx"
    assert manifest["preprocessing"]["mean"] == list(MEAN)
    assert (bundle.classes, bundle.precision) == (NAMES, "float32")


def test_a_picture_is_served_as_the_file_would_be_given_it(bundle: Bundle) -> None:
    assert bundle.preparation == Preparation((SIDE, SIDE), "pad", "bilinear")
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG")
    canvas = Image.new("RGB", (SIDE, SIDE))
    canvas.paste(PICTURE.resize((SIDE, SIDE // 2), Image.Resampling.BILINEAR), (0, SIDE // 4))
    (expected,) = said(mobile(), np.asarray(canvas)[None])
    pictures = decode_images([buffer.getvalue()], bundle.preparation, max_pixels=1_000_000, max_total=1_000_000)
    predictor = Predictor(bundle, Settings(threads=1))
    try:
        (answer,) = asyncio.run(predictor.predict(lambda: pictures))
    finally:
        predictor.close()
    assert list(answer.probabilities) == list(NAMES)
    np.testing.assert_allclose(list(answer.probabilities.values()), expected, atol=1e-6)


def test_attacks_follow_its_gradient(bundle: Bundle) -> None:
    images, labels = bundle.reference()
    target = open_model(bundle, threads=1).target
    inputs = to_inputs(images)
    found = ATTACKS["pgd"].run(target, inputs, labels, eps=0.2, norm="linf", rng=np.random.default_rng(0))
    noise = inputs + 0.2 * np.random.default_rng(0).choice([-1, 1], inputs.shape).astype(np.float32)
    attacked, disturbed = (
        float((np.asarray(target.logits(x)).argmax(axis=1) == labels).mean()) for x in (found, noise.clip(0, 1))
    )
    assert attacked < disturbed - 0.2


def test_from_the_command_line_to_a_signed_bundle_and_a_report(
    sources: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = sources
    output, report = tmp_path / "bundle", tmp_path / "report.json"
    words = ["export", "--onnx", str(path), "--data", str(data), "--classes", str(path.parent / "names.txt")]
    words += ["--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)), "--interpolation", "bicubic"]
    assert main([*words, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "3 classes, 12x12 pixels; pictures: crop, bicubic" in printed
    assert "accuracy  100.0% on 60 of the test images" in printed
    assert f"next: f2at audit {output}" in printed
    assert load_bundle(output).preparation == Preparation((SIDE, SIDE), "crop", "bicubic")

    assert main(["sign", str(output), "--key", str(_private_key(tmp_path))]) == 0
    assert main(["verify", str(output), "--public-key", str(tmp_path / "public.pem")]) == 0
    assert main(["audit", str(output), "--eps", "8/255", "--samples", "20", "--quiet", "--output", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["model"]["digest"] == load_bundle(output).digest
    assert found["clean"]["k"] == 20
    assert any(attack["gradient_evaluations"] for attack in found["attacks"])


def test_a_preprocessing_that_was_forgotten_is_named(
    sources: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = sources
    words = ["export", "--onnx", str(path), "--data", str(data), "--output", str(tmp_path / "bundle")]
    assert main([*words, "--scale", "255"]) == 0
    warning = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("warning"))
    assert "of 60 are right with levels from 0 to 255, rgb, as given, and " in warning
    assert load_bundle(tmp_path / "bundle").manifest["metrics"]["preprocessing_forgotten"] in warning


def test_a_bundle_of_pictures_drawn_from_a_folder(sources: tuple[Path, Path], tmp_path: Path) -> None:
    with np.load(sources[1]) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "photos" / NAMES[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:02}.png")
    options = {**OPTIONS, "classes": None}
    found = export_onnx(sources[0], tmp_path / "photos", tmp_path / "bundle", samples=20, **options)
    assert found.classes == NAMES  # in alphabetical order, as the outputs are
    assert found.manifest["metrics"] == {"clean": 1.0, "images": 20}
    drawn = found.manifest["reference"]
    assert (drawn["drawn"], drawn["of"], len(drawn["sha256"])) == (20, 60, 64)
    assert len(load_bundle(found.path).reference()[1]) == 20
    with pytest.raises(ValueError, match="samples must be from 1 to 60, all there are; got 61"):
        export_onnx(sources[0], tmp_path / "photos", tmp_path / "more", samples=61, **options)


def _private_key(folder: Path) -> Path:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    return folder / "key.pem"


def test_it_is_rounded_like_one_of_ours(sources: tuple[Path, Path], bundle: Bundle, tmp_path: Path) -> None:
    rounded = f2at.export_onnx(*sources, tmp_path / "int8", precision="int8", **OPTIONS)
    assert load_bundle(rounded.path).precision == "int8"
    assert rounded.manifest["quantization"]["agreement"] > 0.9
    images, _ = rounded.reference()
    exact, found = logits_of(bundle, images), logits_of(rounded, images)
    assert 0 < np.abs(found - exact).mean() < 0.2 * np.abs(exact).mean()


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is untyped
    def __init__(self, data: Path) -> None:
        images = np.load(data)["images"]
        pixels = ((images / 255 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2)
        self._batches = iter([{"x": pixels.astype(np.float32)}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


@pytest.mark.parametrize("operations", [None, ["Conv", "Gemm", "MaxPool"]], ids=["softmax", "no softmax"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_file_of_integers_is_one_of_int8(
    sources: tuple[Path, Path], tmp_path: Path, per_channel: bool, operations: list[str] | None
) -> None:
    path, data = sources
    quantize_static(
        path,
        tmp_path / "qdq.onnx",
        _Reader(data),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        op_types_to_quantize=operations,
    )
    found = export_onnx(tmp_path / "qdq.onnx", data, tmp_path / "bundle", **OPTIONS)
    assert load_bundle(found.path).precision == "int8"
    images, _ = found.reference()
    expected = said(onnx.load(tmp_path / "qdq.onnx"), images, quiet=True)
    logits = answer(onnx.load_model_from_string(found.files["classifier.onnx"]), images)
    away = np.abs(softmax(logits) - expected).max(axis=1)  # an image on the border between two integers may be
    assert np.median(away) < (2e-3 if operations is None else 1e-5)
    assert away.max() < 0.1
    assert found.manifest["parity"]["scores"]["error"] <= (1 / 255 if operations is None else 1e-5)
    assert found.manifest["parity"]["gradient"]["error"] is None  # what rounds has no slopes
    with pytest.raises(ValueError, match=r"precision must be left out: .*qdq\.onnx holds integers already"):
        export_onnx(tmp_path / "qdq.onnx", data, tmp_path / "again", precision="int8", **OPTIONS)


def test_other_weights_in_the_gradient_graph_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    gradient = onnx.load_model_from_string(bundle.files["gradient.onnx"])
    changed = next(tensor for tensor in gradient.graph.initializer if tensor.name.endswith("head"))
    changed.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(changed) * np.float32(1.001), changed.name))
    images, labels = bundle.reference()
    with pytest.raises(BundleError, match=r"the graphs differ in weights: 1 only in classifier\.onnx"):
        write_bundle(
            tmp_path / "bundle",
            manifest=bundle.manifest,
            classifier=bundle.files["classifier.onnx"],
            gradient=gradient.SerializeToString(),
            images=images,
            labels=labels,
        )


def test_a_batch_of_one_size_is_opened_up_or_refused(tmp_path: Path) -> None:
    path, data = write(tmp_path, mobile(batch=1))
    opened = export_onnx(path, data, tmp_path / "opened", **{**OPTIONS, "classes": None})
    assert opened.manifest["parity"]["scores"]["error"] < 1e-6
    assert opened.classes == ("0", "1", "2")
    fixed = mobile(batch=2)
    mean = onnx.helper.make_node("ReduceMean", ["i"], ["m"], axes=[0], keepdims=1)  # over the batch
    fixed.graph.node.insert(9, mean)
    fixed.graph.node.insert(10, onnx.helper.make_node("Add", ["i", "m"], ["k"]))
    fixed.graph.node[11].input[0] = "k"
    path, data = write(tmp_path / "fixed", fixed)
    with pytest.raises(ValueError, match=r"mobile\.onnx takes batches of 2 only, .* a batch of any size"):
        export_onnx(path, data, tmp_path / "refused", **OPTIONS)
    assert not (tmp_path / "refused").exists()


def test_a_classifier_that_says_something_else_is_refused(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = classifier_graph

    def wrong(classifier: Any) -> Slim:
        graph = right(classifier)
        bias = next(tensor for tensor in graph.model.graph.initializer if tensor.name.endswith("bias"))
        bias.CopyFrom(numpy_helper.from_array(np.array([0.1, 0, 0], np.float32), bias.name))
        return graph

    monkeypatch.setattr(foreign, "classifier_graph", wrong)
    with pytest.raises(AgreementError, match=r"classifier\.onnx differs from the file by .* of its scores"):
        export_onnx(*sources, tmp_path / "bundle", **OPTIONS)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": NAMES[:2]}, "classes must be 3 names, one for each output; got 2"),
        ({"fit": "stretch"}, "fit must be one of squash, crop, pad; got 'stretch'"),
        ({"precision": "int4"}, "precision must be one of float32, int8; got 'int4'"),
        ({"std": 0.0}, "scale and std must be > 0"),
        ({"output_name": "logits"}, "must be named \\(--output-name\\), one of probabilities \\(.*\\); got 'logits'"),
    ],
)
def test_what_does_not_fit_is_named(
    sources: tuple[Path, Path], tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export_onnx(*sources, tmp_path / "bundle", **{**OPTIONS, **changed})
    assert not (tmp_path / "bundle").exists()


def test_operations_without_a_gradient_are_named(tmp_path: Path) -> None:
    model = mobile()
    model.graph.node[5].op_type = "Hardmax"
    path, data = write(tmp_path, model)
    with pytest.raises(ValueError, match=r"operations without a gradient here: .*Hardmax"):
        export_onnx(path, data, tmp_path / "bundle", **OPTIONS)


def test_the_two_forms_of_the_command_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--output", str(tmp_path / "bundle")]
    for words, message in (
        ([], "a training run's folder, a .safetensors checkpoint, --onnx or --torch must be given; got none"),
        (["run", "--onnx", "m.onnx"], "either a training run, --onnx or --torch is exported; got run and m.onnx"),
        (["run", "--mean", "0.5"], "mean goes with --onnx or --torch only; a training run knows its own"),
        (["--onnx", "m.onnx", "--reference", "r.npz"], "reference goes with a training run or a checkpoint only"),
        (["--onnx", "m.onnx", "--classes", "a,b"], "data must be given with --onnx, labelled test images: a folder"),
    ):
        assert main(["export", *words, *output]) == 2
        assert message in capsys.readouterr().err
