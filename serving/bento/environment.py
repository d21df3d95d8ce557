"""What the main process passes to the server processes, and how it exits when it cannot start them.

BentoML runs the `on_deployment` hook in its main process and starts the server processes afterwards. It has no way to
pass anything from one to the others, so environment variables carry it.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Never

import bentoml

from f2at.serving.settings import Settings

_ARBITER = "F2AT_ARBITER"  # process id of the main process
# For glibc, which reads them as a process starts, so only the parent can set them. Without them a server process keeps
# the memory that large images took, and grows by half. No use to audit workers, which keep reusing large arrays.
_MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def run_server(host: str, port: int) -> Never:
    """Replace this process by BentoML's main process, for which BentoML has only a command, no function."""
    command = [sys.executable, "-m", "bentoml", "serve", "f2at.serving.service:RobustClassifier"]
    os.execv(sys.executable, [*command, "--host", host, "--port", str(port)])


def export_settings(settings: Settings, bundle: Path) -> None:
    """Set the environment variables that the server processes inherit.

    A built Bento runs in another folder than the user's, so paths are absolute from here on.
    """
    os.environ |= {**settings.paths(), "F2AT_BUNDLE": str(bundle), _ARBITER: str(os.getpid())}
    os.environ |= {name: os.environ.get(name, value) for name, value in _MEMORY.items()}
    os.environ["FORWARDED_ALLOW_IPS"] = settings.proxies or ""  # for uvicorn, which would believe this machine's
    os.environ |= untraced(os.environ)


def refuse(error: Exception) -> Never:
    """Exit as the commands of f2at do for bad input: one line, status 2.

    BentoML would exit with 1 for its own exceptions, and show a traceback for any other.
    """
    print(f"f2at serve: {error}", file=sys.stderr)
    sys.exit(2)


def main_process() -> int | None:
    """In a server process, the id of the main process that started it; elsewhere None.

    The parent's id would not do: the main process may have exited by now, which gives this process another parent.
    """
    # BentoML sets the index only in processes that its arbiter, circus, starts; only there is the parent the arbiter.
    if bentoml.server_context.worker_index is None:
        return None
    return int(os.environ.get(_ARBITER) or os.getppid())


def worker_environment() -> dict[str, str]:
    """The environment for an audit worker: that of this process, without what only server processes need."""
    return dict(os.environ.items() - _MEMORY.items())


def untraced(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that stops BentoML from recording spans, unless tracing is set up in `environment`.

    BentoML records spans for every request even if none is exported, which takes longer than a small model does.
    """
    options = environment.get("BENTOML_CONFIG_OPTIONS", "")
    if "tracing." in options or "BENTOML_CONFIG" in environment:
        return {}
    return {"BENTOML_CONFIG_OPTIONS": f"{options} services.f2at.tracing.excluded_urls=.*".lstrip()}
