"""Any classifier in an ONNX file, opened for an audit."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from f2at.attacks.targets.onnx_classifier import OnnxClassifier
from f2at.audit import AuditRequest, Step
from f2at.audit.opening.bundle import open_surrogate
from f2at.audit.opening.model import Model
from f2at.audit.perform import perform
from f2at.bundle.runtime import active_provider, create_session
from f2at.images.labelled import check_labelled
from f2at.images.pixels import Images, Labels


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
    other = open_surrogate(surrogate, threads=threads)
    return perform(model.audit(images, labels, request, surrogate=other), progress=progress)


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
