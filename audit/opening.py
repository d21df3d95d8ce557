"""What audits start from: bundles, ONNX files and labelled images, opened."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from f2at.attacks.target import Target
from f2at.attacks.targets.onnx_classifier import OnnxClassifier
from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.audit import Audit, AuditRequest, Step
from f2at.audit.perform import perform
from f2at.bundle.format import CLASSIFIER, GRADIENT, Bundle, load_bundle
from f2at.bundle.runtime import active_provider, create_session
from f2at.images.labelled import check_labelled, read_labelled
from f2at.images.pixels import Images, Labels


class Model(NamedTuple):
    """A model as an audit takes it."""

    target: Target
    classes: Sequence[str]
    size: tuple[int, int]  # (H, W) of its images
    description: dict[str, Any]  # what the report says of it
    environment: dict[str, Any]  # what it runs on
    named: bool = True  # False: the classes are numbers, since nobody has named them

    def audit(
        self, images: Images, labels: Labels, request: AuditRequest, *, surrogate: "Model | None" = None
    ) -> Audit:
        """The audit of this model by labelled images; see `Audit`.

        Raises:
            ValueError: images, surrogate and request do not fit the model.
        """
        if surrogate is not None and surrogate.size != self.size:
            raise ValueError(
                f"surrogate must take images of {_size(self.size)}, as the model; got {_size(surrogate.size)}"
            )
        if surrogate is not None and self.named and tuple(surrogate.classes) != tuple(self.classes):
            raise ValueError("surrogate must have the classes of the model, in the same order")
        if images.shape[1:3] != self.size:
            raise ValueError(
                f"data must be images of {_size(self.size)} for this model; got {_size(images.shape[1:3])}"
            )
        return Audit(
            self.target,
            images,
            labels,
            request,
            classes=self.classes,
            model=self.description,
            environment=self.environment,
            surrogate=None if surrogate is None else surrogate.target,
            surrogate_model=None if surrogate is None else surrogate.description,
        )


def audit_bundle(
    path: str | Path,
    request: AuditRequest | None = None,
    *,
    data: str | Path | None = None,
    surrogate: str | Path | None = None,
    threads: int = 0,
    progress: Callable[[Step], object] | None = None,
) -> dict[str, Any]:
    """Audit a bundle as it would be deployed, and return the report.

    Args:
        path: the bundle's folder.
        request: what to do; None is `AuditRequest()`, the suite "quick" at 8/255.
        data: an .npz file with images, uint8 (N, H, W, 3), and labels; None takes the bundle's reference images.
        surrogate: another bundle of the same classes, for suites with transfer attacks.
        threads: threads of ONNX Runtime; 0 is every core.
        progress: called after every step.

    Raises:
        OSError: a file cannot be read.
        ValueError: a bundle is refused (`BundleError`), or bundle, data, surrogate and request do not fit together.
    """
    model, images, labels = open_bundle(Path(path), threads=threads)
    if data is not None:
        images, labels = read_labelled(Path(data), name="data")
    other = _surrogate(surrogate, threads=threads)
    return perform(model.audit(images, labels, request or AuditRequest(), surrogate=other), progress=progress)


def audit_onnx(
    path: str | Path,
    images: Images,
    labels: Labels,
    request: AuditRequest | None = None,
    *,
    classes: Sequence[str] | None = None,
    surrogate: str | Path | None = None,
    threads: int = 0,
    progress: Callable[[Step], object] | None = None,
    **preprocessing: Any,
) -> dict[str, Any]:
    """Audit any classifier in an ONNX file, by attacks that need no gradients of it, and return the report.

    Args:
        path: the file.
        images: uint8 (N, H, W, 3), labelled images that the model was not trained on.
        labels: integers (N,).
        request: what to do; None is the suite "black-box" at 8/255.
        classes: a name for each output; None numbers them.
        surrogate: a bundle of the same classes, for suites with transfer attacks.
        threads: threads of ONNX Runtime; 0 is every core.
        progress: called after every step.
        preprocessing: `mean`, `std`, `scale`, `layout` and `output`, as `OnnxClassifier` takes them.

    Raises:
        OSError: a file cannot be read.
        ValueError: the file is no model that ONNX Runtime can run, or the arguments do not fit together.
    """
    check_labelled(images, labels)
    model = open_onnx(Path(path), classes=classes, size=images.shape[1:3], threads=threads, **preprocessing)
    request = request or AuditRequest(suite="black-box")
    other = _surrogate(surrogate, threads=threads)
    return perform(model.audit(images, labels, request, surrogate=other), progress=progress)


def _surrogate(path: str | Path | None, *, threads: int) -> Model | None:
    return None if path is None else open_bundle(Path(path), threads=threads)[0]


def open_bundle(path: Path, *, threads: int) -> tuple[Model, Images, Labels]:
    """A bundle's two graphs, and its reference images."""
    bundle = load_bundle(path)
    return open_model(bundle, threads=threads), *bundle.reference()


def open_model(bundle: Bundle, *, threads: int) -> Model:
    """The two graphs of a bundle that is loaded already."""
    classifier, gradient = (create_session(bundle.files[name], threads=threads) for name in (CLASSIFIER, GRADIENT))
    return Model(
        OnnxTarget(classifier, gradient, quantized=bundle.precision != "float32"),
        bundle.classes,
        bundle.input_size,
        {"digest": bundle.digest, "manifest": dict(bundle.manifest)},
        {"provider": active_provider(classifier), "gradient_provider": active_provider(gradient)},
    )


def open_onnx(
    path: Path, *, classes: Sequence[str] | None, size: tuple[int, int], threads: int, **preprocessing: Any
) -> Model:
    """Any classifier in an ONNX file; its logits are all that is known of it.

    Args:
        path: the file.
        classes: a name for each output; None numbers them.
        size: (H, W) of the images at hand, for a graph that takes any.
        threads: see `create_session`.
        preprocessing: keywords of `OnnxClassifier`; those that are None are left to it.
    """
    content = path.read_bytes()
    try:
        session = create_session(content, threads=threads)
    except ValueError:
        raise
    except Exception as error:  # ONNX Runtime's own have no other base
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{path} is no model that ONNX Runtime can run: {reason}") from error
    given = {name: value for name, value in preprocessing.items() if value is not None}
    target = OnnxClassifier(session, size=size, **given)
    return Model(
        target,
        [str(number) for number in range(target.classes)] if classes is None else classes,
        target.size,
        {
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "file": path.name,
            "preprocessing": {"layout": target.layout, **given},
        },
        {"provider": active_provider(session)},
        named=classes is not None,
    )


def _size(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
