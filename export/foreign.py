"""From anybody's ONNX classifier and labelled images to a verified bundle. No PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from f2at.audit.opening.preprocessing import IMAGES, compare_preprocessings
from f2at.audit.reports.flags import preprocessing_forgotten
from f2at.bundle.format import Bundle
from f2at.bundle.runtime import RUNTIME_ERRORS, create_session, reason
from f2at.bundle.weights import Slim
from f2at.export.writing import check_request, write_export
from f2at.gradient.batch import answer, tolerance_of
from f2at.gradient.builder import NoGradientError, UnsupportedOperationError
from f2at.gradient.classifier import Classifier, as_entered, classifier_graph, gradient_graph, read_classifier
from f2at.gradient.proof import TOLERANCE, prove
from f2at.gradient.reverse import passed_through
from f2at.gradient.scores import choose_output
from f2at.gradient.source import read_onnx
from f2at.gradient.trace import input_of
from f2at.images.pixels import Images, Labels
from f2at.images.preparation import Preparation
from f2at.images.sets.base import LabelledSet
from f2at.images.sets.opening import open_labelled

_COMPARED = 32  # images on which the graph must say what the file says
_PROVEN_ON = 2  # images through which the gradient is held against differences
_MEASURED = 512  # images for the accuracy
SAMPLES = 2000  # images in a bundle if nobody says how many
_TOGETHER = 16  # images in a run, so that memory stays bounded
_HINT = "--straight-through passes it through what rounds"


Compare = Callable[[bytes, bytes, Classifier, Images, Labels], Mapping[str, Any]]  # of the two graphs with their origin


class AgreementError(ValueError):
    """The bundle's classifier does not say what the file says."""


def export_onnx(
    path: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    classes: Sequence[str] | None = None,
    samples: int | None = None,
    size: tuple[int, int] | None = None,
    fit: str = "crop",
    interpolation: str = "bilinear",
    output_name: str | None = None,
    precision: str = "float32",
    overwrite: bool = False,
    straight_through: bool = False,
    **reading: Any,
) -> Bundle:
    """Make a bundle of any classifier in an ONNX file: served, signed, swapped and audited like a model trained here.

    The classifier is the file's graph behind a uint8 input, and says what the file says, which is checked on the
    images. Its gradient graph is derived from it, and its gradients are proven to be slopes.

    Args:
        path: the file; weights in files beside it belong to it.
        data: labelled test images, as `f2at.images.sets.opening.open_labelled` takes them: a folder with one folder
            for each class, an .npz or a Parquet file.
        output: the folder to write.
        classes: a name for each output, in their order; None takes those of the data, or numbers them.
        samples: how many of the images to draw for the bundle; None takes all, up to SAMPLES.
        size: (H, W) of the model's images, where neither the graph nor the data tells.
        fit, interpolation: how pictures were brought to that size when the model was trained; see
            `f2at.images.preparation.Preparation`.
        output_name: the output with the scores, where the file has several.
        precision: of the classifier: "float32", or "int8" to round it; a file that holds integers already stays itself.
        overwrite: replace a bundle that is there.
        straight_through: pass gradients straight through what rounds, takes signs or cuts off by thresholds; see
            `f2at.gradient.straight`.
        reading: `scores`, `layout`, `channels`, `mean`, `std` and `scale`, as
            `f2at.gradient.classifier.read_classifier` takes them.

    Raises:
        OSError: a file cannot be read.
        ValueError: the file is no classifier that ONNX Runtime can run, has operations without a gradient here or takes
            batches of one size only, or the arguments do not fit together; nothing is written.
    """
    check_request(Path(output), precision=precision, overwrite=overwrite)
    source, digest = read_onnx(Path(path))
    labelled = open_labelled(data)
    return export_graph(
        source,
        labelled,
        Path(output),
        name=str(path),
        described={"dataset": labelled.source, "source": {"file": Path(path).name, "digest": digest}},
        classes=classes,
        samples=samples,
        size=size,
        fit=fit,
        interpolation=interpolation,
        output_name=output_name,
        precision=precision,
        overwrite=overwrite,
        straight_through=straight_through,
        **reading,
    )


def export_graph(
    source: onnx.ModelProto | Slim,
    labelled: LabelledSet,
    output: Path,
    *,
    name: str,
    described: Mapping[str, Any],
    classes: Sequence[str] | None,
    samples: int | None,
    size: tuple[int, int] | None,
    fit: str,
    interpolation: str,
    output_name: str | None = None,
    precision: str,
    overwrite: bool,
    straight_through: bool = False,
    compare: Compare | None = None,
    **reading: Any,
) -> Bundle:
    """Make a bundle of a classifier's graph; see `export_onnx`.

    Args:
        source: the graph.
        labelled: test images.
        output: the folder to write.
        name: what messages call the graph.
        described: what the manifest says of the data and of where the graph comes from.
        compare: a further comparison with what the graph comes from; its result goes into the manifest. With a
            "gradient" in it there is no need to compare gradients with differences.
        classes, samples, size, fit, interpolation, output_name, precision, overwrite, straight_through, reading: see
            `export_onnx`.
    """
    source = Slim.of(source)
    classifier = _read(name, source, output=output_name, size=size or labelled.size, **reading)
    preparation = Preparation(classifier.entry.size, fit, interpolation)
    if classes is not None and len(classes) != classifier.classes:
        raise ValueError(f"classes must be {classifier.classes} names, one for each output; got {len(classes)}")
    numbers = [str(number) for number in range(classifier.classes)]
    labelled = labelled.prepared(preparation).of_classes(classes or numbers, named=classes is not None)
    classes = labelled.names or numbers
    rows = _drawn(len(labelled), samples)
    images, labels = labelled.read(rows), labelled.labels[rows]
    rounded = any(node.op_type == "DequantizeLinear" for node in classifier.model.graph.node)
    if rounded and precision != "float32":
        raise ValueError(f"precision must be left out: {name} holds integers already; got {precision!r}")
    graph = classifier_graph(classifier)
    try:
        derived = gradient_graph(classifier, straight=straight_through)
        gradient, passed = derived.whole(), passed_through(derived.model)
    except UnsupportedOperationError as error:
        raise ValueError(f"{name} has operations without a gradient here: {error}") from error
    except NoGradientError as error:
        raise ValueError(f"{name} has no gradient to follow: {error} ({_HINT})") from error
    except RUNTIME_ERRORS as error:
        raise ValueError(f"{name} is no model that ONNX Runtime can run: {reason(error)}") from error
    compared = images[np.unique(np.linspace(0, len(images) - 1, _COMPARED).astype(int))]
    deployed = graph.whole()
    scores = _agreement(source, output_name, classifier, graph, compared)
    further = {} if compare is None else compare(deployed, gradient, classifier, images, labels)
    return write_export(
        output,
        manifest={
            "classes": list(classes),
            **described,
            "reference": {"drawn": len(rows), "of": len(labelled), "sha256": labelled.digest()},
            "input_size": list(preparation.size),
            "metrics": {
                **_accuracy(graph, images[:_MEASURED], labels[:_MEASURED]),
                **_forgotten(source, output_name, classifier, images, labels),
            },
            "parity": {
                "scores": scores,
                **further,
                "gradient": further.get("gradient") or _slopes(classifier, images, passed),
            },
            "preprocessing": {
                **{name: value for name, value in asdict(classifier.entry).items() if name != "size"},
                **preparation.describe(),
                "logits": classifier.reading.describe(),
            },
            **({"precision": "int8"} if rounded else {}),
        },
        classifier=deployed,
        gradient=gradient,
        images=images,
        labels=labels,
        precision=precision,
        overwrite=overwrite,
    )


def _slopes(classifier: Classifier, images: Images, passed: Sequence[str]) -> dict[str, Any]:
    """That the gradients are slopes of the scores, of which there are no others to compare them with."""
    proof = {"error": None, "lines": 0, "flat": 0} if passed else prove(classifier, images[:_PROVEN_ON])
    return {**proof, "tolerance": TOLERANCE, "reference": "differences"}


def _forgotten(
    source: onnx.ModelProto | Slim, output: str | None, classifier: Classifier, images: Images, labels: Labels
) -> dict[str, str]:
    """Which other usual preprocessing makes far more of some of the images, if one does, with both figures."""
    some = np.random.default_rng(0).permutation(len(images))[:IMAGES]
    entry, reading = classifier.entry, classifier.reading
    found, text = preprocessing_forgotten(
        compare_preprocessings(source, output, entry, reading, images[some], labels[some])
    )
    return {"preprocessing_forgotten": text} if found else {}


def _drawn(count: int, samples: int | None) -> NDArray[np.int64]:
    """Which images are taken: all in their order, or some at random, always the same."""
    if samples is not None and not 1 <= samples <= count:
        raise ValueError(f"samples must be from 1 to {count}, all there are; got {samples}")
    wanted = min(count, SAMPLES) if samples is None else samples
    return np.arange(count) if wanted == count else np.sort(np.random.default_rng(0).permutation(count)[:wanted])


def _read(path: str, source: Slim, **reading: Any) -> Classifier:
    try:
        classifier = read_classifier(source, **reading)
    except RUNTIME_ERRORS as error:
        raise ValueError(f"{path} is no model that ONNX Runtime can run: {reason(error)}") from error
    if classifier.batch is not None:
        raise ValueError(
            f"{path} takes batches of {classifier.batch} only, and does not say the same when it is opened up for any "
            "number of images, which a service needs; export it with a batch of any size"
        )
    return classifier


def _agreement(
    source: Slim, output: str | None, classifier: Classifier, graph: Slim, images: Images
) -> dict[str, float]:
    """Compare what the file says of images with what the bundle's classifier makes of them.

    Both run as they are written: what ONNX Runtime's optimisation makes of integers differs from graph to graph.

    Raises:
        AgreementError: scores differ by more than rounding errors, or a label does.
    """
    batch = input_of(source.model).type.tensor_type.shape.dim[0].dim_value or _TOGETHER
    said = answer(source, as_entered(classifier.entry, images), batch, output=choose_output(source.model, output))
    expected = said.reshape(len(said), -1).astype(np.float64)
    logits = answer(graph, images, _TOGETHER)
    found = classifier.reading.probabilities(logits)
    scale = max(1.0, float(np.abs(expected).max()))
    error, limit = float(np.abs(found - expected).max()) / scale, tolerance_of(said) + classifier.reading.step
    if not error <= limit:
        raise AgreementError(f"classifier.onnx differs from the file by {error:.2g} of its scores, limit {limit:.0e}")
    if expected.shape[1] > 1:
        chosen, rows = logits.argmax(axis=1), np.arange(len(images))
        if np.any(expected.max(axis=1) - expected[rows, chosen] > limit * scale):
            raise AgreementError("classifier.onnx predicts other labels than the file")
    return {"error": float(f"{error:.3g}"), "tolerance": float(f"{limit:.3g}"), "samples": len(images)}


def _accuracy(graph: Slim, images: Images, labels: Labels) -> dict[str, float]:
    """How often it is right: what is far too low tells of another preprocessing, or other classes."""
    return {"clean": float((_logits(graph, images).argmax(axis=1) == labels).mean()), "images": len(images)}


def _logits(graph: Slim, images: Images) -> NDArray[np.float32]:
    session = create_session(graph, providers=["CPUExecutionProvider"])
    parts = (images[start : start + _TOGETHER] for start in range(0, len(images), _TOGETHER))
    return np.concatenate([session.run(["logits"], {"images": part})[0] for part in parts])
