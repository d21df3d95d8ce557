"""A gate inside a model's own test suite: an audit whose verdict is an assertion."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import f2at
from f2at.audit import AuditRequest, perform
from f2at.audit.commands.model import is_onnx
from f2at.audit.opening.bundle import open_bundle, open_surrogate
from f2at.audit.opening.onnx import audit_onnx
from f2at.audit.reports.files import write_report
from f2at.audit.suites import CUSTOM
from f2at.evidence.findings import of_report
from f2at.images.sets.opening import as_labelled

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import nn


def assert_robust(
    model: "str | Path | nn.Module",
    images: "ArrayLike | Path | None" = None,
    labels: "ArrayLike | None" = None,
    *,
    min_robust_accuracy: float,
    eps: str | float = "8/255",
    norm: str = "linf",
    suite: str | None = None,
    samples: int | None = None,
    report: str | Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Audit a model, and raise AssertionError unless its accuracy under attack is shown to reach a threshold.

    Args:
        model: a bundle's folder, an ONNX file, or a PyTorch module in eval mode as `f2at.audit_module` takes it.
        images: labelled images that the model was not trained on, uint8 (N, H, W, 3); for files also where they are, as
            `f2at.audit_onnx` takes it. None: the reference images of a bundle.
        labels: integers (N,), if images are arrays.
        min_robust_accuracy: the threshold, from 0 to 1. The lower end of the interval must reach it.
        eps, norm: the threat model.
        suite: the attacks; None is "adaptive", or those of `attacks` if they are given.
        samples: how many images to draw; None: all.
        report: where to write the report, .json, with its page beside it. None: only where the assertion fails, to a
            folder for temporary files that the message names.
        options: further fields of `f2at.AuditRequest` (`seed`, `attacks`, ...), and what the audit of such a model
            takes besides (`classes`, `surrogate`, `threads`, `mean`, `std`, `context`, ...).

    Returns:
        The report.

    Raises:
        AssertionError: the threshold is not reached, the images are too few or too strange to tell, or the suite is
            weak and `accept_weak` not among the options; with the figures, the interval, the threshold, raised sanity
            flags, and where the report lies.
        ValueError: model, images and options do not fit together.
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    found = audited(
        model,
        images,
        labels,
        min_robust_accuracy=min_robust_accuracy,
        eps=eps,
        norm=norm,
        suite=suite,
        samples=samples,
        **options,
    )
    judge(found, None if report is None else Path(report))
    return found


def audited(model: Any, images: Any, labels: Any, *, suite: str | None = None, **options: Any) -> dict[str, Any]:
    """The report that `assert_robust` judges; see there."""
    if options.get("min_robust_accuracy") is None:
        raise ValueError("min_robust_accuracy must be a threshold from 0 to 1; got None")
    if model is None:
        raise ValueError("model must be a bundle's folder, an ONNX file or a PyTorch module; got None")
    suite = suite or (CUSTOM if "attacks" in options else "adaptive")
    asked = {name: value for name, value in options.items() if name in AuditRequest.model_fields}
    rest = {name: value for name, value in options.items() if name not in asked}
    request = AuditRequest(suite=suite, **asked)
    if not isinstance(model, str | Path):
        return f2at.audit_module(model, images, labels, request, **rest)
    path = Path(model)
    if is_onnx(path):
        if images is None:
            raise ValueError("images must be given for an ONNX file, which has none of its own")
        return audit_onnx(path, images, labels, request, **rest)
    return _audited_bundle(path, images, labels, request, **rest)


def judge(report: Mapping[str, Any], path: Path | None) -> None:
    """Write the report, and raise AssertionError unless its threshold is passed."""
    __tracebackhide__ = True
    passed = report["verdict"]["outcome"] == "pass"
    if path is None and not passed:
        path = Path(tempfile.mkdtemp(prefix="f2at-")) / "report.json"
    if path is not None:
        write_report(report, path)
    if passed:
        return
    assert path is not None
    found = of_report(report, path)
    flags = [f"Read with care: {flag.title} ({flag.evidence})." for flag in found.flags if flag.state == "raised"]
    raise AssertionError("\n".join([f"{found.gate.title}. {found.gate.evidence}", *flags, f"Report: {path}"]))


def _audited_bundle(
    path: Path,
    images: Any,
    labels: Any,
    request: AuditRequest,
    *,
    surrogate: str | Path | None = None,
    threads: int = 0,
    context: f2at.Context | None = None,
) -> dict[str, Any]:
    """As `f2at.audit_bundle`, which takes no arrays."""
    model = open_bundle(path, threads=threads)
    data = None if images is None else as_labelled(images, labels)
    audit = model.audit(data, request, surrogate=open_surrogate(surrogate, threads=threads))
    return perform(audit, context=context)
