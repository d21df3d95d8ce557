"""What the main process hands to the server processes and how they find it, or why it ends instead.

BentoML runs the `on_deployment` hook in its main process and starts the server processes afterwards. It offers no way
to hand anything from the one to the others, so the environment carries it.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Never

import bentoml

from f2at.serving.settings import Settings

_ARBITER = "F2AT_ARBITER"  # process id of the main process
# Of glibc, read as a process starts, so that only its parent can set it: a server process would otherwise keep the
# memory that large images took, and grow by half. Of no use to audit workers, whose large arrays come and go.
_MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def run_server(host: str, port: int) -> Never:
    """Become BentoML's main process: it has no function for that, only a command."""
    command = [sys.executable, "-m", "bentoml", "serve", "f2at.serving.service:RobustClassifier"]
    os.execv(sys.executable, [*command, "--host", host, "--port", str(port)])


def hand_over(settings: Settings, bundle: Path) -> None:
    """Put what the server processes need into the environment that they inherit.

    A built Bento runs in another folder than the one that the user is in: from here on, paths are absolute.
    """
    os.environ |= {**settings.paths(), "F2AT_BUNDLE": str(bundle), _ARBITER: str(os.getpid())}
    os.environ |= {name: os.environ.get(name, value) for name, value in _MEMORY.items()}
    os.environ |= untraced(os.environ)


def refuse(error: Exception) -> Never:
    """End the main process as the commands of f2at end for bad input: one line, exit status 2.

    BentoML would exit with 1 for its own exceptions, and show a traceback for any other.
    """
    print(f"f2at serve: {error}", file=sys.stderr)
    sys.exit(2)


def main_process() -> int | None:
    """In a server process, the id of the main process that started it; elsewhere None.

    Asking for the parent would not do: the main process may be gone by now, and another the parent.
    """
    # BentoML sets the index in the processes that its arbiter, circus, starts: there, and only there, the parent is it.
    if bentoml.server_context.worker_index is None:
        return None
    return int(os.environ.get(_ARBITER) or os.getppid())


def worker_environment() -> dict[str, str]:
    """The environment for an audit worker: that of this process, without what is meant for server processes only."""
    return dict(os.environ.items() - _MEMORY.items())


def untraced(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that stops BentoML from recording spans, unless tracing is set up in `environment`.

    BentoML records some for every request even where none is exported, which takes longer than a small model.
    """
    options = environment.get("BENTOML_CONFIG_OPTIONS", "")
    if "tracing." in options or "BENTOML_CONFIG" in environment:
        return {}
    return {"BENTOML_CONFIG_OPTIONS": f"{options} services.f2at.tracing.excluded_urls=.*".lstrip()}
