"""Any classifier in an ONNX file, opened for an audit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.audit import AuditRequest, Step
from f2at.audit.opening.bundle import open_surrogate
from f2at.audit.opening.model import Model
from f2at.audit.opening.preprocessing import compare_preprocessings
from f2at.audit.opening.straight import Straightened, saying, straightened
from f2at.audit.perform import perform
from f2at.audit.provenance.context import Context
from f2at.audit.provenance.repetition import Origin, unusual
from f2at.bundle.memory import images_at_once
from f2at.bundle.runtime import RUNTIME_ERRORS, active_provider, create_session, reason
from f2at.files import name_of
from f2at.gradient.builder import NoGradientError, UnsupportedOperationError
from f2at.gradient.cache import Derived, cached
from f2at.gradient.classifier import Classifier, classifier_graph, gradient_graph, read_classifier
from f2at.gradient.entry import Entry
from f2at.gradient.proof import TOLERANCE, GradientError, prove
from f2at.gradient.reverse import passed_through
from f2at.gradient.scores import Reading
from f2at.gradient.source import read_onnx
from f2at.images.pixels import Images, Labels
from f2at.images.preparation import Preparation
from f2at.images.sets.opening import as_labelled

_PROVEN_ON = 2  # images


class _Loaded(NamedTuple):
    """A file's two graphs in sessions, and what was found out about it."""

    target: OnnxTarget
    sessions: list[Any]
    facts: dict[str, Any]


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
    straight_through: bool = False,
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
        straight_through: pass gradients straight through what rounds, takes signs or cuts off by thresholds, as if it
            were the identity (Athalye et al. 2018, https://arxiv.org/abs/1802.00420); done unasked where they vanish.
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
        straight_through=straight_through,
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
    straight_through: bool = False,
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
        straight_through: see `audit_onnx`.
        fit, interpolation: how pictures are brought to the size.
        tell: is called with a line on what takes long, if anything does.
        preprocessing: keywords of `read_classifier`; those that are None are left to it.
    """
    given = {name: value for name, value in preprocessing.items() if value is not None}
    if black_box and straight_through:
        raise ValueError("straight_through must be left out with black_box, which follows no gradients")
    opened = {"classes": classes, "size": size, "fit": fit, "interpolation": interpolation, "black_box": black_box}
    opened |= {"straight_through": straight_through}
    said = {"output_name" if name == "output" else name: value for name, value in given.items()}
    options = unusual(open_onnx, **opened, **said, threads=threads or None)
    source, digest = read_onnx(path)

    def derive(straight: bool) -> Derived:
        if not black_box:
            how = "straight through what rounds" if straight else "and proving its gradients"
            tell(f"differentiating {path.name} {how}; the next audit of this file finds that done")
        classifier = read_classifier(source, size=size, **given)
        gradient = None if black_box else gradient_graph(classifier, straight=straight)
        passed = [] if gradient is None else passed_through(gradient.model)
        facts = {
            "gradient": None if black_box else _proof(classifier, passed),
            "straight_through": passed,
            "classes": classifier.classes,
            "size": classifier.entry.size,
            "quantized": any(node.op_type == "DequantizeLinear" for node in classifier.model.graph.node),
            "preprocessing": {**asdict(classifier.entry), "logits": classifier.reading.describe()},
            "reading": asdict(classifier.reading),
        }
        return Derived(classifier_graph(classifier), gradient, facts)

    key = {"digest": digest, "size": size and list(size), "black_box": black_box, **given, "facts": 4}

    def load(straight: bool) -> _Loaded:
        derived = cached({**key, "straight_through": straight}, partial(derive, straight))
        graphs = [graph for graph in derived[:2] if graph]
        sessions = [create_session(graph, threads=threads, plan_memory=False) for graph in graphs]
        at_once = [images_at_once(graph.model) for graph in graphs]
        target = OnnxTarget(*sessions, at_once=at_once, quantized=derived.facts["quantized"])
        return _Loaded(target, sessions, derived.facts)

    try:
        try:
            loaded, straight = load(straight_through), straight_through
        except NoGradientError:
            if straight_through:
                raise
            loaded, straight = load(True), True
    except UnsupportedOperationError as error:
        raise ValueError(
            f"{path} has operations without a gradient here: {error}; black-box attacks need none (--black-box)"
        ) from error
    except GradientError as error:
        raise ValueError(f"{path}: {error}; black-box attacks need none (--black-box)") from error
    except RUNTIME_ERRORS as error:
        raise ValueError(f"{path} is no model that ONNX Runtime can run: {reason(error)}") from error
    facts, sessions = loaded.facts, loaded.sessions
    if straight:
        tell(f"{path.name}: {saying(facts['straight_through'])}")
    environment = {"provider": active_provider(sessions[0]), "threads": threads}
    if not black_box:
        environment["gradient_provider"] = active_provider(sessions[1])

    def other() -> Straightened | None:
        try:
            found = load(True)
        except (ValueError, NotImplementedError):  # there is none, and the file's own gradients stay what they are
            return None
        except RUNTIME_ERRORS:
            return None
        return Straightened(found.target, found.facts["straight_through"], _gradient(found.facts))

    def straighten(images: Images, labels: Labels) -> Straightened | None:
        found = straightened(loaded.target, other, images, labels)
        if found is not None:
            tell(f"{path.name}: gradients vanish, so {saying(found.passed)}")
        return found

    return Model(
        loaded.target,
        [str(number) for number in range(facts["classes"])] if classes is None else classes,
        Preparation((facts["size"][0], facts["size"][1]), fit, interpolation),
        {"digest": digest, "preprocessing": facts["preprocessing"], **_gradient(facts)},
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
        straighten=None if black_box or straight else straighten,
    )


def _entry(described: Mapping[str, Any]) -> Entry:
    """What the graph takes, from JSON."""
    fields: dict[str, Any] = {name: value for name, value in described.items() if name != "logits"}
    fields |= {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Entry(**fields)


def _gradient(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the report says of the gradient; and what it is passed straight through, if that is anything."""
    passed = facts["straight_through"]
    return {"gradient": facts["gradient"], **({"straight_through": passed} if passed else {})}


def _proof(classifier: Classifier, passed: Sequence[str]) -> dict[str, Any]:
    """What is said of the gradient: it is a slope, up to an error, or nothing that has slopes is differentiated."""
    if passed:
        return {"proven": False, "tolerance": TOLERANCE}
    noise = np.random.default_rng(0).integers(0, 256, (_PROVEN_ON, *classifier.entry.size, 3), dtype=np.uint8)
    error = prove(classifier, noise)["error"]
    return {"proven": error is not None, "tolerance": TOLERANCE}
