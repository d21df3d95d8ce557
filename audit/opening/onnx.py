"""Any classifier in an ONNX file, opened for an audit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.audit import AuditRequest, Step
from f2at.audit.opening.bundle import open_surrogate
from f2at.audit.opening.model import Model
from f2at.audit.opening.preprocessing import compare_preprocessings
from f2at.audit.perform import perform
from f2at.audit.provenance.context import Context
from f2at.audit.provenance.repetition import Origin, unusual
from f2at.bundle.memory import images_at_once
from f2at.bundle.runtime import RUNTIME_ERRORS, active_provider, create_session, reason
from f2at.files import name_of
from f2at.gradient.builder import UnsupportedOperationError
from f2at.gradient.cache import Derived, cached
from f2at.gradient.classifier import Classifier, classifier_graph, gradient_graph, read_classifier
from f2at.gradient.entry import Entry
from f2at.gradient.proof import TOLERANCE, GradientError, prove
from f2at.gradient.scores import Reading
from f2at.gradient.source import read_onnx
from f2at.images.preparation import Preparation
from f2at.images.sets.opening import as_labelled

_PROVEN_ON = 2  # images


def audit_onnx(
    path: str | Path,
    images: ArrayLike | Path,
    labels: ArrayLike | None = None,
    request: AuditRequest | None = None,
    *,
    classes: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    fit: str = "crop",
    interpolation: str = "bilinear",
    black_box: bool = False,
    surrogate: str | Path | None = None,
    threads: int = 0,
    progress: Callable[[Step], object] | None = None,
    context: Context | None = None,
    **preprocessing: Any,
) -> dict[str, Any]:
    """Audit any classifier in an ONNX file, and return the report.

    Args:
        path: the file; weights in files beside it belong to it.
        images: labelled images that the model was not trained on: uint8 (N, H, W, 3), or where they are, as
            `f2at.images.sets.opening.open_labelled` takes it: a folder with one folder for each class, an .npz or a
            Parquet file.
        labels: integers (N,), an array or a list, if `images` are arrays.
        request: what to do; None is the suite "quick" at 8/255, or "black-box" if `black_box`.
        classes: a name for each output; None takes those of the data, or numbers them.
        size: (H, W) of its images, where neither the graph nor the data tells.
        fit, interpolation: how pictures are brought to that size; see `f2at.images.preparation.Preparation`.
        black_box: attack by the model's answers alone, without gradients of its graph.
        surrogate: a bundle of the same classes, for suites with transfer attacks.
        threads: threads of ONNX Runtime; 0 is every core.
        progress: called after every step.
        context: what its owner says of the model and the audit, for the report.
        preprocessing: `output`, `scores`, `layout`, `channels`, `mean`, `std` and `scale`, as
            `f2at.gradient.classifier.read_classifier` takes them.

    Raises:
        OSError: a file cannot be read.
        ValueError: the file is no classifier that ONNX Runtime can run, operations of it have no gradient here and
            `black_box` is false, or the arguments do not fit together.
    """
    data = as_labelled(images, labels)
    model = open_onnx(
        Path(path),
        classes=classes,
        size=size or data.size,
        fit=fit,
        interpolation=interpolation,
        threads=threads,
        black_box=black_box,
        **preprocessing,
    )
    request = request or AuditRequest(suite="black-box" if black_box else "quick")
    other = open_surrogate(surrogate, threads=threads)
    return perform(model.audit(data, request, surrogate=other), progress=progress, context=context)


def open_onnx(
    path: Path,
    *,
    classes: Sequence[str] | None,
    size: tuple[int, int] | None,
    threads: int,
    black_box: bool = False,
    fit: str = "crop",
    interpolation: str = "bilinear",
    tell: Callable[[str], object] = lambda _: None,
    **preprocessing: Any,
) -> Model:
    """Any classifier in an ONNX file, with the gradients of its graph.

    Args:
        path: the file.
        classes: a name for each output; None numbers them.
        size: (H, W) of the images at hand, for a graph that takes any; None leaves it to the graph.
        threads: see `create_session`.
        black_box: leave the gradients out.
        fit, interpolation: how pictures are brought to the size.
        tell: is called with a line on what takes long, if anything does.
        preprocessing: keywords of `read_classifier`; those that are None are left to it.
    """
    given = {name: value for name, value in preprocessing.items() if value is not None}
    opened = {"classes": classes, "size": size, "fit": fit, "interpolation": interpolation, "black_box": black_box}
    said = {"output_name" if name == "output" else name: value for name, value in given.items()}
    options = unusual(open_onnx, **opened, **said, threads=threads or None)
    source, digest = read_onnx(path)

    def derive() -> Derived:
        if not black_box:
            tell(f"differentiating {path.name} and proving its gradients; the next audit of this file finds them done")
        classifier = read_classifier(source, size=size, **given)
        gradient = None if black_box else gradient_graph(classifier)
        facts = {
            "gradient": None if black_box else _proof(classifier),
            "classes": classifier.classes,
            "size": classifier.entry.size,
            "quantized": any(node.op_type == "DequantizeLinear" for node in classifier.model.graph.node),
            "preprocessing": {**asdict(classifier.entry), "logits": classifier.reading.describe()},
            "reading": asdict(classifier.reading),
        }
        return Derived(classifier_graph(classifier), gradient, facts)

    key = {"digest": digest, "size": size and list(size), "black_box": black_box, **given, "facts": 3}
    try:
        derived = cached(key, derive)
        graphs = [graph for graph in derived[:2] if graph]
        sessions = [create_session(graph, threads=threads, plan_memory=False) for graph in graphs]
    except UnsupportedOperationError as error:
        raise ValueError(
            f"{path} has operations without a gradient here: {error}; black-box attacks need none (--black-box)"
        ) from error
    except GradientError as error:
        raise ValueError(f"{path}: {error}; black-box attacks need none (--black-box)") from error
    except RUNTIME_ERRORS as error:
        raise ValueError(f"{path} is no model that ONNX Runtime can run: {reason(error)}") from error
    facts = derived.facts
    environment = {"provider": active_provider(sessions[0]), "threads": threads}
    if not black_box:
        environment["gradient_provider"] = active_provider(sessions[1])
    return Model(
        OnnxTarget(
            *sessions,
            at_once=[images_at_once(graph.model) for graph in graphs],
            quantized=facts["quantized"],
        ),
        [str(number) for number in range(facts["classes"])] if classes is None else classes,
        Preparation((facts["size"][0], facts["size"][1]), fit, interpolation),
        {"digest": digest, "preprocessing": facts["preprocessing"], "gradient": facts["gradient"]},
        environment,
        Origin(model=name_of(path), options=options),
        named=classes is not None,
        compare=partial(
            compare_preprocessings,
            source,
            given.get("output"),
            _entry(facts["preprocessing"]),
            Reading(**facts["reading"]),
            threads=threads,
        ),
    )


def _entry(described: Mapping[str, Any]) -> Entry:
    """What the graph takes, from JSON."""
    fields: dict[str, Any] = {name: value for name, value in described.items() if name != "logits"}
    fields |= {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Entry(**fields)


def _proof(classifier: Classifier) -> dict[str, Any]:
    """What is said of the gradient: it is a slope, up to an error, or nothing that has slopes is differentiated."""
    noise = np.random.default_rng(0).integers(0, 256, (_PROVEN_ON, *classifier.entry.size, 3), dtype=np.uint8)
    error = prove(classifier, noise)["error"]
    return {"proven": error is not None, "tolerance": TOLERANCE}
