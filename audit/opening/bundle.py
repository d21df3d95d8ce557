"""A bundle, opened for an audit."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import onnx

from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.audit import AuditRequest, Step
from f2at.audit.opening.model import Model
from f2at.audit.opening.straight import Straightened, straightened
from f2at.audit.perform import perform
from f2at.audit.provenance.context import Context
from f2at.audit.provenance.repetition import Origin
from f2at.bundle.format import CLASSIFIER, GRADIENT, Bundle, load_bundle
from f2at.bundle.memory import images_at_once
from f2at.bundle.places import without_places
from f2at.bundle.runtime import RUNTIME_ERRORS, active_provider, create_session
from f2at.files import name_of
from f2at.gradient.classifier import MODEL, gradient_graph, read_classifier
from f2at.gradient.reverse import passed_through
from f2at.images.sets.base import in_memory
from f2at.images.sets.opening import open_labelled


def audit_bundle(
    path: str | Path,
    request: AuditRequest | None = None,
    *,
    data: str | Path | None = None,
    surrogate: str | Path | None = None,
    threads: int = 0,
    progress: Callable[[Step], object] | None = None,
    context: Context | None = None,
) -> dict[str, Any]:
    """Audit a bundle as it would be deployed, and return the report.

    Args:
        path: the bundle's folder.
        request: what to do; None is `AuditRequest()`, the suite "quick" at 8/255.
        data: labelled images, as `f2at.images.sets.opening.open_labelled` takes them: a folder with one folder for each
            class, an .npz or a Parquet file; None takes the bundle's reference images.
        surrogate: another bundle of the same classes, for suites with transfer attacks.
        threads: threads of ONNX Runtime; 0 is every core.
        progress: called after every step.
        context: what its owner says of the model and the audit, for the report.

    Raises:
        OSError: a file cannot be read.
        ValueError: a bundle is refused (`BundleError`), or bundle, data, surrogate and request do not fit together.
    """
    model = open_bundle(Path(path), threads=threads)
    labelled = None if data is None else open_labelled(data)
    other = open_surrogate(surrogate, threads=threads)
    audit = model.audit(labelled, request or AuditRequest(), surrogate=other)
    return perform(audit, progress=progress, context=context)


def open_bundle(path: Path, *, threads: int) -> Model:
    """A bundle's two graphs, and its reference images."""
    return open_model(load_bundle(path), threads=threads)


def open_model(bundle: Bundle, *, threads: int) -> Model:
    """The same of a bundle that is loaded already."""
    graphs = [bundle.files[name] for name in (CLASSIFIER, GRADIENT)]
    classifier, gradient = (create_session(graph, threads=threads, plan_memory=False) for graph in graphs)
    models = [onnx.load_model_from_string(graph) for graph in graphs]
    at_once, passed = [images_at_once(model) for model in models], passed_through(models[1])
    quantized = bundle.precision != "float32"
    target = OnnxTarget(classifier, gradient, at_once=at_once, quantized=quantized)

    @cache
    def other() -> Straightened | None:
        """What its graph makes of gradients where those that came with it vanish."""
        source = onnx.load_model_from_string(bundle.files[CLASSIFIER])
        try:
            graph = gradient_graph(read_classifier(source, scores="logits", size=bundle.input_size), straight=True)
            session = create_session(graph, threads=threads, plan_memory=False)
        except (ValueError, NotImplementedError):
            return None  # there are none
        except RUNTIME_ERRORS:
            return None
        both = [at_once[0], images_at_once(graph.model)]
        named = [name.removeprefix(MODEL) for name in passed_through(graph.model)]  # as the file had them
        return Straightened(
            OnnxTarget(classifier, session, at_once=both, quantized=quantized), named, {"straight_through": named}
        )

    return Model(
        target,
        bundle.classes,
        bundle.preparation,
        {
            "digest": bundle.digest,
            "manifest": without_places(bundle.manifest),
            **({"straight_through": passed} if passed else {}),
        },
        {
            "provider": active_provider(classifier),
            "gradient_provider": active_provider(gradient),
            "threads": threads,
        },
        Origin(model=_name(bundle), options={"threads": threads or None}),
        own=cache(lambda: in_memory(*bundle.reference())),
        straighten=None if passed else lambda images, labels: straightened(target, other, images, labels),
    )


def open_surrogate(path: str | Path | None, *, threads: int) -> Model | None:
    """The bundle whose gradients transfer attacks follow, if there is one."""
    return None if path is None else open_bundle(Path(path), threads=threads)


def _name(bundle: Bundle) -> str:
    """What its folder is called; of a server's copy, which is named by its digest, a part of that."""
    name, digits = name_of(bundle.path), bundle.digest.removeprefix("sha256:")
    return digits[:12] if name == digits else name
