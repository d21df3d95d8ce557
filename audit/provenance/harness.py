"""What computed an audit: this package and its source, the libraries that shape numbers, and the processor."""

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from f2at import __version__

# Help texts and pages are left out: they cannot change a number, and must not strand running audits.
SHAPING = ("f2at.images", "f2at.bundle", "f2at.attacks", "f2at.gradient", "f2at.audit")
_TELLING = {"f2at.audit": ("page", "commands")}
_ROOT = Path(__file__).resolve().parents[2]  # of a checkout; of an installed package, its own folder
_CPUINFO = Path("/proc/cpuinfo")
# What ONNX Runtime's own kernels and numpy's choose among; names as Linux has them.
_KERNELS = re.compile(r"sse4_[12]|avx.*|fma|f16c|amx_.*|neon|asimd.*|i8mm|bf16|s[vm]e(?!p$).*")


def describe_harness() -> dict[str, Any]:
    """The package in this process, JSON values.

    Returns:
        "name", "version", "digest" of the code that shapes numbers, and "commit", of a checkout with git at hand, with
        "modified": whether any of its files differ from that commit. Both are None otherwise.
    """
    return {"name": "f2at", "version": __version__, **_source(), "digest": f"sha256:{shaping_code()}"}


def describe_environment() -> dict[str, Any]:
    """What this process computes with, JSON values: interpreter, processor, and the versions of libraries."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": processor(),
        "numpy": np.__version__,
        **({"onnxruntime": found} if (found := onnxruntime_version()) else {}),
    }


@cache
def processor(cpuinfo: Path = _CPUINFO) -> dict[str, Any]:
    """The processor: its "model", the "features" that kernels are chosen by, and "cores" that this process may use.

    cpuinfo: what Linux says of it.
    """
    said: dict[str, str] = {}
    if cpuinfo.is_file():
        lines = (line.partition(":") for line in cpuinfo.read_text(errors="replace").splitlines())
        for name, _, value in lines:
            said.setdefault(name.strip(), value.strip())
    features = (said.get("flags") or said.get("Features") or _simd()).lower().split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "model": said.get("model name") or platform.processor() or platform.machine(),
        "features": sorted({name for name in features if _KERNELS.fullmatch(name)}),
        "cores": cores,
    }


def onnxruntime_version() -> str | None:
    """Of whichever build is installed."""
    for package in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


@cache  # what a process runs stays what it loaded, whatever becomes of the files
def shaping_code() -> str:
    """sha256 of the code that shapes an audit's numbers, in hexadecimal digits."""
    parts = hashlib.sha256()
    for name, file in sorted(_modules()):
        parts.update(name.encode() + b"\0" + file.read_bytes())
    return parts.hexdigest()


def _modules() -> Iterator[tuple[str, Path]]:
    """Name and file of every module that shapes an audit's numbers."""
    for package in SHAPING:
        root = Path(str(files(package)))
        for file in root.rglob("*.py"):
            name = file.relative_to(root)
            if name.parts[0] not in _TELLING.get(package, ()):
                yield f"{package}/{name.as_posix()}", file


@cache
def _source(folder: Path = _ROOT) -> dict[str, Any]:
    """The commit of a checkout, as git tells it; an installed package has none, be it inside of another checkout."""
    unknown = {"commit": None, "modified": None}
    if not (folder / ".git").exists():
        return unknown
    command = ["git", "-C", str(folder), "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40"]
    # A hook of another repository says by variables where that one is; nor is it to be looked for further up.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    surroundings["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    try:
        told = subprocess.run(
            [*command, "--exclude=*"], env=surroundings, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return unknown
    commit, dirty, _ = told.stdout.strip().partition("-dirty")
    return {"commit": commit, "modified": bool(dirty)}


def _simd() -> str:
    """The same from numpy, by its own names, where Linux does not say it."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return " ".join([*extensions["baseline"], *extensions["found"]])
