"""Train a robust image classifier, export it, serve it, and audit the deployed model on demand.

    import f2at

    report = f2at.audit_bundle("zoo/cifar10", f2at.AuditRequest(suite="quick", samples=100))
    f2at.write_report(report, "report.json")  # and report.html

What stands in `__all__` is the public face; everything below it may change. Each name is imported when it is first
used, so that `import f2at` takes no time, and what needs PyTorch or a server needs it only then.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2at.audit.module import audit_module
    from f2at.audit.opening.bundle import audit_bundle
    from f2at.audit.opening.endpoint import audit_endpoint
    from f2at.audit.opening.onnx import audit_onnx
    from f2at.audit.page.html import render_report
    from f2at.audit.provenance.context import Context, read_context
    from f2at.audit.reports.compare import compare_reports, gate
    from f2at.audit.reports.files import read_report, write_report
    from f2at.audit.request import AuditRequest
    from f2at.bundle.format import Bundle, load_bundle
    from f2at.export.build import export_checkpoint
    from f2at.export.foreign import export_onnx
    from f2at.export.module import export_module
    from f2at.serving.client import AsyncClient, Client, ServiceError
    from f2at.training.loop import train

__version__ = "0.2.0"

# What models somebody has, and on what machines, is nobody else's business: ONNX Runtime (from 1.29), BentoML and
# MLflow tell their makers unless they are told not to, before they are loaded. A value of the user's own stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # in this spelling alone
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

__all__ = [
    "AsyncClient",
    "AuditRequest",
    "Bundle",
    "Client",
    "Context",
    "ServiceError",
    "__version__",
    "audit_bundle",
    "audit_endpoint",
    "audit_module",
    "audit_onnx",
    "compare_reports",
    "export_checkpoint",
    "export_module",
    "export_onnx",
    "gate",
    "load_bundle",
    "read_context",
    "read_report",
    "render_report",
    "train",
    "write_report",
]

# Where each name is at home, and the extra that brings what its module imports.
_HOMES = {
    "AsyncClient": ("f2at.serving.client", "serve"),
    "AuditRequest": ("f2at.audit.request", ""),
    "Bundle": ("f2at.bundle.format", ""),
    "Client": ("f2at.serving.client", "serve"),
    "Context": ("f2at.audit.provenance.context", ""),
    "ServiceError": ("f2at.serving.client", "serve"),
    "audit_bundle": ("f2at.audit.opening.bundle", ""),
    "audit_endpoint": ("f2at.audit.opening.endpoint", ""),
    "audit_module": ("f2at.audit.module", "train"),
    "audit_onnx": ("f2at.audit.opening.onnx", ""),
    "compare_reports": ("f2at.audit.reports.compare", ""),
    "export_checkpoint": ("f2at.export.build", "train"),
    "export_module": ("f2at.export.module", "train"),
    "export_onnx": ("f2at.export.foreign", ""),
    "gate": ("f2at.audit.reports.compare", ""),
    "load_bundle": ("f2at.bundle.format", ""),
    "read_context": ("f2at.audit.provenance.context", ""),
    "read_report": ("f2at.audit.reports.files", ""),
    "render_report": ("f2at.audit.page.html", ""),
    "train": ("f2at.training.loop", "train"),
    "write_report": ("f2at.audit.reports.files", ""),
}


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # type checkers see the imports above, and so which names there are

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'f2at' has no attribute {name!r}; it has {', '.join(__all__)}")
        module, extra = _HOMES[name]
        try:
            found = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if not extra or (error.name or "f2at").startswith("f2at"):
                raise
            raise ImportError(f"f2at.{name} needs {error.name}: pip install 'f2at[{extra}]'") from error
        globals()[name] = found
        return found
