"""Tries a bundle in a process of its own before any server process loads it.

The process has the memory and the time that the settings give it. What takes more of either, or crashes, ends with it:
nothing of it is left, in the server or beside it.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f2at.bundle.format import Bundle, BundleError
from f2at.serving.model.predictor import Predictor
from f2at.serving.model.store import check_same_shape, delete_drafts, load_trusted, store_bundle
from f2at.serving.settings import Settings

# One thread, on the processor: threads and GPUs take memory that the limit is not for. Metrics are the server's.
_OWN = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
_NOT_INHERITED = ("PROMETHEUS_MULTIPROC_DIR",)


class TrialError(ValueError):
    """A bundle that was refused, with the reason."""


@dataclass(frozen=True)
class _Served:
    """What a new model must have in common with the one that is served."""

    classes: tuple[str, ...]
    input_size: tuple[int, int]


def try_bundle(folder: Path, served: Bundle, settings: Settings) -> str:
    """Verify the bundle in `folder`, run it once, and store it; return its digest.

    Raises:
        TrialError: it is not a valid bundle, is not signed as required, has other classes or another image size than
            `served`, cannot be loaded or run, or takes more memory or time than F2AT_SWAP_MEMORY and F2AT_SWAP_SECONDS
            allow.
        OSError: no process can be started.
    """
    task = {
        "folder": str(folder),
        "settings": settings.model_dump(mode="json"),
        "served": {"classes": served.classes, "input_size": served.input_size},
    }
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED} | _OWN
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(task).encode(),
            capture_output=True,
            env=environment,
            timeout=settings.swap_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        delete_drafts(settings)
        raise TrialError(
            f"it was not loaded and run within {settings.swap_seconds} seconds, which F2AT_SWAP_SECONDS allows"
        ) from None
    if done.returncode == 0:
        answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        if "digest" in answer:
            return answer["digest"]
    delete_drafts(settings)
    if done.returncode == 0:
        raise TrialError(answer["refused"])
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    allowed = f"F2AT_SWAP_MEMORY allows {settings.swap_memory} MiB" if settings.swap_memory else "memory is not limited"
    raise TrialError(f"it cannot be loaded and run: its process ended with {how} ({allowed}) {''.join(last)}".rstrip())


def _run(folder: Path, served: _Served, settings: Settings) -> dict[str, str]:
    """What became of the bundle, in the process of its own."""
    try:
        bundle = load_trusted(folder, settings)
        check_same_shape(served, bundle, "the new model")
        try:
            Predictor(bundle, settings).close()
        except Exception as error:  # a runtime may raise anything
            raise BundleError(f"it cannot be loaded and run: {str(error) or type(error).__name__}") from error
        store_bundle(bundle, settings)
    except MemoryError:
        return {"refused": f"it takes more than {settings.swap_memory} MiB, which F2AT_SWAP_MEMORY allows"}
    except (ValueError, OSError) as error:
        return {"refused": str(error)}
    return {"digest": bundle.digest}


def _main(task: dict[str, Any]) -> None:
    settings = Settings(**{**task["settings"], "threads": 1})
    signal.alarm(settings.swap_seconds + 2)  # in case the server is gone, too
    if settings.swap_memory:  # not RLIMIT_AS: runtimes reserve far more address space than they use
        resource.setrlimit(resource.RLIMIT_DATA, (settings.swap_memory << 20,) * 2)
    served = _Served(tuple(task["served"]["classes"]), tuple(task["served"]["input_size"]))
    print("\n" + json.dumps(_run(Path(task["folder"]), served, settings)), flush=True)


if __name__ == "__main__":
    _main(json.load(sys.stdin))
