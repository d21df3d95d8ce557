"""What audits start from: bundles, ONNX files and labelled images, opened."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from f2at.attacks.target import Target
from f2at.attacks.targets.onnx_classifier import OnnxClassifier
from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.audit import Audit, AuditRequest
from f2at.bundle.format import CLASSIFIER, GRADIENT, Bundle, load_bundle
from f2at.bundle.runtime import active_provider, create_session
from f2at.images.pixels import Images, Labels


class Model(NamedTuple):
    """A model as an audit takes it."""

    target: Target
    classes: Sequence[str]
    size: tuple[int, int]  # (H, W) of its images
    description: dict[str, Any]  # what the report says of it
    environment: dict[str, Any]  # what it runs on

    def audit(
        self, images: Images, labels: Labels, request: AuditRequest, *, surrogate: "Model | None" = None
    ) -> Audit:
        """The audit of this model by labelled images; see `Audit`."""
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
    )
