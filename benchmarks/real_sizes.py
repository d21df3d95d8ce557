"""An audit at the sizes that people deploy: 224 pixels and 1000 classes, in bounded memory and never silent for long.

Each model has random weights, those of its last layer included, which torchvision makes 0 in a transformer; BatchNorm
calibrated on noise; and classes that are about equally frequent, since a network that answers one class whatever it
sees cannot be broken. It is exported by torch.onnx.export. `f2at audit` runs
twice in a process of its own, first to differentiate the file and then with what the first run kept. Memory is the
peak of the process, less what it holds once both graphs are loaded; silence is the longest time between two lines once
it has said what it will take. With --minutes, a run that takes longer is interrupted, and the time it takes to end is
measured; what it says last is how far it was.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchvision

from benchmarks.common import markdown_table, parser, publish
from f2at.audit.commands.audit import INTERRUPTED

MODELS = ("resnet50", "vit_b_16")
_SIZE = 224
_LOADED = f"""
import re, sys
from pathlib import Path
from f2at.audit.opening.onnx import open_onnx
kept = open_onnx(Path(sys.argv[1]), classes=None, size=({_SIZE}, {_SIZE}), threads=int(sys.argv[2]))
print(re.search(r"VmRSS.*", Path("/proc/self/status").read_text())[0], file=sys.stderr)
"""
_ANNOUNCED = b"at most about"  # what `f2at audit` says before it starts
_RUNS = ("first", "again")
_COLUMNS = (
    "model",
    "run",
    "seconds",
    "announced",
    "peak, MB",
    "both graphs loaded, MB",
    "beyond, MB",
    "longest silence, s",
    "interrupted, ended after, s",
    "clean / robust",
)


class Run(NamedTuple):
    """A process: its seconds, its peak in MB, the longest time between lines on standard error, and those lines.

    ending: seconds from the interruption to its end, if it was interrupted.
    """

    seconds: float
    peak: float
    silence: float
    lines: list[str]
    ending: float | None


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--models", nargs="+", default=list(MODELS), help="of torchvision (default: %(default)s)")
    arguments.add_argument("--images", type=int, default=20, help="images (default: %(default)s)")
    arguments.add_argument("--eps", default="1/255", help="linf (default: %(default)s)")
    arguments.add_argument("--threads", type=int, default=1, help="of ONNX Runtime (default: %(default)s)")
    arguments.add_argument("--minutes", type=float, help="the most for a run (default: as long as it takes)")
    arguments.add_argument("--once", action="store_true", help="without a second run, which finds the gradient made")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            rows += _rows(name, options, Path(folder))
    publish(
        "real_sizes",
        f"python -m benchmarks.real_sizes --models {' '.join(options.models)} --images {options.images} "
        f"--eps {options.eps} --threads {options.threads}"
        + (f" --minutes {options.minutes:g}" if options.minutes else "")
        + (" --once" if options.once else "")
        + " --write",
        f"# Audits at 224 pixels and 1000 classes\n\n`adaptive`, {options.images} smooth random images labelled by the "
        f"model itself, linf {options.eps}, {options.threads} thread of ONNX Runtime.\n\n"
        + markdown_table(_COLUMNS, rows),
        ("torch", "torchvision", "onnxruntime-gpu"),
        write=options.write,
    )


def _rows(name: str, options: argparse.Namespace, folder: Path) -> list[list[str]]:
    path, data = _prepared(name, options.images, folder)
    environment = {**os.environ, "F2AT_CACHE": str(folder / f"cache-{name}"), "OMP_NUM_THREADS": "1"}
    audit = ["audit", path, "--data", data, "--suite", "adaptive", "--eps", options.eps, "--threads", options.threads]
    audit += ["--output", folder / f"{name}.json", "--overwrite"]
    command = [sys.executable, "-m", "f2at", *map(str, audit)]
    runs = {title: _run(command, environment, options.minutes) for title in _RUNS[: 1 if options.once else 2]}
    (line,) = (
        line
        for line in _run([sys.executable, "-c", _LOADED, str(path), str(options.threads)], environment).lines
        if line.startswith("VmRSS")
    )
    loaded = int(line.split()[1]) * 1024 / 1e6
    return [
        [
            name,
            title,
            f"{run.seconds:.0f}",
            next((line.split(",")[0] for line in run.lines if line.startswith(_ANNOUNCED.decode())), ""),
            f"{run.peak:.0f}",
            f"{loaded:.0f}",
            f"{run.peak - loaded:.0f}",
            f"{run.silence:.1f}",
            "" if run.ending is None else f"{run.ending:.1f}",
            _found(folder / f"{name}.json", run),
        ]
        for title, run in runs.items()
    ]


def _found(output: Path, run: Run) -> str:
    """Clean and robust accuracy, or how far an interrupted run was."""
    if run.ending is not None:
        return next(found[0] for line in reversed(run.lines) if (found := re.search(r"\d+ %", line))) + " done"
    report = json.loads(output.read_text())
    return " / ".join(f"{report[part]['k']} of {report[part]['n']}" for part in ("clean", "robust"))


def _prepared(name: str, images: int, folder: Path) -> tuple[Path, Path]:
    """The model's file, and labelled images for it."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None)
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (images, 3, 7, 7)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), (_SIZE, _SIZE), mode="bicubic").clamp(0, 255)
    pixels = smooth.round() / 255
    with torch.no_grad():
        model.train()(pixels[:8])  # a momentum of 0.1 is enough to leave the initial statistics
        _last_linear(model).reset_parameters()
        usual = torch.cat([model.eval()(part) for part in pixels.split(4)]).mean(0)
        _last_linear(model).bias.sub_(usual)
        labels = torch.cat([model.eval()(part).argmax(1) for part in pixels.split(4)])
    path, data = folder / f"{name}.onnx", folder / f"{name}.npz"
    anything = torch.export.Dim.DYNAMIC
    torch.onnx.export(model, (pixels[:2],), str(path), dynamo=True, dynamic_shapes=({0: anything},), verbose=False)
    np.savez(data, images=(255 * pixels).round().byte().permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    return path, data


def _last_linear(model: torch.nn.Module) -> torch.nn.Linear:
    return [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]


def _run(command: list[str], environment: dict[str, str], minutes: float | None = None) -> Run:
    """Run a command to its end, or interrupt it, and read its progress as it comes."""
    started = last = time.monotonic()
    silence, interrupted = 0.0, None
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    peak = _Peak(process.pid)
    peak.start()
    text = b""
    while chunk := os.read(process.stderr.fileno(), 1 << 16):
        now = time.monotonic()
        if _ANNOUNCED in text and not interrupted:
            silence = max(silence, now - last)
        last = now
        text += chunk
        if minutes and not interrupted and now - started > 60 * minutes:
            interrupted = now
            process.send_signal(signal.SIGINT)
    code, ended = process.wait(), time.monotonic()
    lines = re.split(r"[\r\n]+", text.decode(errors="replace"))
    if code and not (interrupted and code == INTERRUPTED):
        raise SystemExit(f"{' '.join(command)} ended with {code}: {lines[-3:]}")
    ending = ended - interrupted if interrupted else None
    return Run(ended - started, peak.megabytes, silence, lines, ending)


class _Peak(threading.Thread):
    """Follows the peak of a process's resident memory, as long as it runs."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{process}/status")
        self.megabytes = 0.0

    def run(self) -> None:
        while True:
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text())
            except OSError:
                return
            if found:
                self.megabytes = int(found[1]) * 1024 / 1e6
            time.sleep(0.1)


if __name__ == "__main__":
    main()
