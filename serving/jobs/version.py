"""One version string for everything an audit depends on, so that no report mixes two models or versions of the code."""

import hashlib
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

# Help texts and pages are left out: they cannot change a number, and must not strand running audits.
SHAPING = ("f2at.images", "f2at.bundle", "f2at.attacks", "f2at.gradient", "f2at.audit")


def application_version(digest: str, surrogate: str | None = None) -> str:
    """Identifies everything that an audit depends on: the models, by digest, the attack code and the workflows.

    DBOS gives a workflow only to workers of the version it was submitted under, and recovers it only there. So a
    worker that serves another model, or runs other attack code, leaves the audit alone; it resumes when a worker of
    its own version runs again. A report therefore never mixes models or code.
    """
    parts = hashlib.sha256(f"{digest} {surrogate}".encode())
    for module, file in sorted(_shaping_code()):
        parts.update(module.encode() + b"\0" + file.read_bytes())
    for package in ("numpy", "onnxruntime-gpu", "onnxruntime"):
        parts.update(_version(package).encode())
    return parts.hexdigest()[:16]


def _shaping_code() -> Iterator[tuple[str, Path]]:
    """Name and file of every module that shapes an audit's numbers, and of the workflows that run it."""
    yield "workflows.py", Path(__file__).with_name("workflows.py")
    for package in SHAPING:
        root = Path(str(files(package)))
        for file in root.rglob("*.py"):
            name = file.relative_to(root)
            if package != "f2at.audit" or name.parts[0] not in ("page", "commands"):
                yield f"{package}/{name.as_posix()}", file


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:  # PackageNotFoundError: the other build is installed
        return ""
