"""What threads cost that spin while they wait, on a machine that is idle and on one that is busy.

    python -m benchmarks.waiting [--rounds 1] [--epochs 2] [--images 1200] [--write]

Training: seconds of two epochs of digits, validation included, with two OpenMP threads, as PyTorch has them and asleep
while they wait (OMP_WAIT_POLICY=PASSIVE). Answers and gradients of zoo/cifar10-small: ONNX Runtime with two threads in
one operation, which spin or do not (session.intra_op.allow_spinning). "Busy" is a loop in each of two processes beside.
What is compared takes turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.common import interleaved, markdown_table, parser, publish, ratio
from f2at.attacks.objectives import OBJECTIVES
from f2at.bundle.format import CLASSIFIER, GRADIENT, load_bundle

REPOSITORY = Path(__file__).parents[1]
THREADS, LOOPS = 2, 2
SPINNING, ASLEEP = "spinning", "asleep"
# Not the command, which makes them sleep by itself.
_TRAIN = """
import sys, time, tomllib, f2at
epochs, images, output = sys.argv[1:]
config = tomllib.load(open("configs/digits.toml", "rb"))
config["optimizer"]["epochs"] = int(epochs)
config["data"]["validation"] = 1400 - int(images)
config["attack"] |= {"validation_steps": 1, "test_steps": 1}
train = f2at.train  # and PyTorch is loaded
started = time.perf_counter()
train(config, output, progress=False)
print(time.perf_counter() - started)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and publish."""
    options = _options(arguments)
    rows = []
    for machine in ("idle", "busy"):
        with busy(LOOPS) if machine == "busy" else nullcontext():
            load = os.getloadavg()[0]
            seconds: dict[str, list[float]] = {SPINNING: [], ASLEEP: []}
            for _ in range(options.rounds):
                for policy, values in seconds.items():
                    values.append(train(policy, options.epochs, options.images))
            what = f"{options.epochs} epochs of {options.images} digits"
            rows.append(_row(what, machine, seconds, load, unit=1))
            for name, batch, repeats in ((CLASSIFIER, 1, 200), (CLASSIFIER, 25, 40), (GRADIENT, 25, 10)):
                runs = {policy: partial(repeat, Runner(name, batch, policy), repeats) for policy in (SPINNING, ASLEEP)}
                found = interleaved(runs, 5)
                each = {policy: [value / repeats for value in values] for policy, values in found.items()}
                rows.append(_row(f"{name}, batch {batch}", machine, each, os.getloadavg()[0], unit=1e-3))
    columns = ["what", "machine", SPINNING, ASLEEP, "spinning / asleep", "n", "load before"]
    body = "\n\n".join(
        [
            "# Threads that wait",
            f"Two threads each; idle: nothing of its own beside; busy: a loop in each of {LOOPS} processes. Medians; "
            "ratios by round, with quartiles. Load is the machine's average over a minute, all that ran included.",
            markdown_table(columns, rows),
            "ONNX Runtime's other pool, between operations, exists in its parallel mode only, which is not used here "
            f"(execution mode: {_session(CLASSIFIER, ASLEEP).get_session_options().execution_mode.name}).",
        ]
    )
    flags = f"--rounds {options.rounds} --epochs {options.epochs} --images {options.images}"
    command = f"python -m benchmarks.waiting {flags} --write"
    publish("waiting", command, body, ["torch", "onnxruntime", "onnxruntime-gpu"], write=options.write)


def train(policy: str, epochs: int, images: int) -> float:
    """The seconds that training takes in a process of its own, since OpenMP reads its settings once."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": str(REPOSITORY)}
    if policy == ASLEEP:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _TRAIN, str(epochs), str(images), str(Path(folder, "run"))]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


class Runner:
    """Runs a graph of zoo/cifar10-small on random images."""

    def __init__(self, name: str, batch: int, policy: str) -> None:
        self.session = _session(name, policy)
        rng = np.random.default_rng(0)
        levels = rng.integers(0, 256, (batch, 32, 32, 3), dtype=np.uint8)
        classes = np.zeros(batch, np.int64)
        self.feeds: dict[str, NDArray[Any]] = {"images": levels}
        if name == GRADIENT:
            inputs = levels.transpose(0, 3, 1, 2).astype(np.float32) / 255
            weights = np.ones((batch, len(OBJECTIVES)), np.float32)
            self.feeds = {"images": inputs, "labels": classes, "targets": classes + 1, "weights": weights}

    def __call__(self) -> None:
        """One run."""
        self.session.run(None, self.feeds)


def repeat(run: Runner, times: int) -> None:
    """One run after the other, as the steps of an attack are."""
    for _ in range(times):
        run()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """While it lasts, so many processes compute."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _session(name: str, policy: str) -> ort.InferenceSession:
    """As `f2at.bundle.runtime.create_session` makes it, but for the spinning."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if policy == SPINNING else "0")
    graph = load_bundle(REPOSITORY / "zoo/cifar10-small").files[name]
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _row(what: str, machine: str, seconds: dict[str, list[float]], load: float, *, unit: float) -> list[str]:
    name = {1: "s", 1e-3: "ms"}[unit]
    shown = [f"{statistics.median(seconds[policy]) / unit:.3g} {name}" for policy in (SPINNING, ASLEEP)]
    factor = ratio(seconds[SPINNING], seconds[ASLEEP])
    row = [what, machine, *shown, factor, str(len(seconds[ASLEEP])), f"{load:.1f}"]
    print(*row, sep="  ", flush=True)  # as it comes: all of it takes minutes
    return row


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    result = parser(__doc__)
    result.add_argument("--rounds", type=int, default=1, help="of training; the graphs have five (default 1)")
    result.add_argument("--epochs", type=int, default=2, help="of training (default 2)")
    result.add_argument("--images", type=int, default=1200, help="in an epoch (default 1200)")
    return result.parse_args(arguments)


if __name__ == "__main__":
    main()
