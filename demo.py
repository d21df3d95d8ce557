"""The main job, end to end, on handwritten digits: train, export, serve, predict, audit. `make demo` runs it.

Every stage is the command that one would type; each is printed before it runs.
"""

import io
import json
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from tqdm import tqdm

from f2at.serving.process.launch import LaunchError, running_server

SUITE, EPS, SAMPLES, SEED = "adaptive", "32/255", 200, 0
# name -> flags over configs/digits.toml. Without a defence, ten epochs are enough.
MODELS: Mapping[str, list[str]] = {
    "undefended": ["--method.name", "plain", "--optimizer.epochs", "10"],
    "f2at": [],
}
RUNS, BUNDLES, REPORTS = Path("runs"), Path("bundles"), Path("reports")


def main() -> None:
    """Run every stage; what an earlier run finished is used again."""
    started = time.monotonic()
    for number, (name, flags) in enumerate(MODELS.items(), 1):
        heading(f"{number}/5  Train the {name} model")
        output = RUNS / f"demo-{name}"
        command("train", "--config", "configs/digits.toml", *flags, "--output", output, done=finished(output))

    heading("3/5  Export both to ONNX; every number is compared with PyTorch's on the way")
    for name in MODELS:
        output = BUNDLES / f"demo-{name}"
        command("export", RUNS / f"demo-{name}", "--output", output, done=(output / "manifest.json").is_file())

    heading("4/5  Serve the F2AT model; predict over HTTP, idle and while the deployed model is under audit")
    with served(BUNDLES / "demo-f2at") as client:
        defended = predict_and_audit(client, BUNDLES / "demo-f2at")

    heading("5/5  The same audit of the undefended model, without a server")
    output = REPORTS / "demo-undefended.json"
    audit = ["--suite", SUITE, "--eps", EPS, "--samples", SAMPLES, "--seed", SEED, "--output", output, "--overwrite"]
    command("audit", BUNDLES / "demo-undefended", *audit)
    undefended = json.loads(output.read_text())

    heading(f"Result: {SAMPLES} test images, Linf eps {EPS}, the same attacks on the exported models")
    print(table({"undefended": undefended, "F2AT": defended}))
    print(f"\nreport: {(REPORTS / 'demo-f2at.html').resolve().as_uri()}")
    print(f"compare: {(REPORTS / 'demo-undefended.html').resolve().as_uri()}")
    print(f"{time.monotonic() - started:.0f} s in all")
    print("next: make serve")


def heading(text: str) -> None:
    """A title between the stages."""
    print(f"\n== {text}", flush=True)


def finished(run: Path) -> bool:
    """Whether a training run has ended."""
    return (run / "last.safetensors").is_file() and not (run / "state.safetensors").exists()


def command(name: str, *arguments: object, done: bool = False) -> None:
    """Run `f2at name arguments`, or say that its result is there already; a failure ends the demo."""
    words = ["-m", "f2at", name, *map(str, arguments)]
    print(f"$ f2at {shlex.join(words[2:])}{'   (done before)' if done else ''}", flush=True)
    if not done and (status := subprocess.run([sys.executable, *words], check=False).returncode):
        sys.exit(status)


@contextmanager
def served(bundle: Path) -> Iterator[httpx.Client]:
    """The service of a bundle in a process of its own, ready to answer."""
    REPORTS.mkdir(exist_ok=True)
    log = REPORTS / "demo-server.log"
    log.unlink(missing_ok=True)
    print(f"$ f2at serve {bundle}   (on a free port; log: {log})", flush=True)
    environment = {"BENTOML_HOME": str(Path(".f2at/bentoml").resolve())}
    try:
        server = running_server(bundle, environment=environment, log=log)
    except LaunchError as error:
        sys.exit(str(error))
    with server, httpx.Client(base_url=server.url, timeout=30) as client:
        print(f"ready at {server.url} after {server.seconds:.1f} s")
        yield client
    print("server stopped", flush=True)


class Visitor:
    """Someone who sends one reference image after another to /predict."""

    def __init__(self, client: httpx.Client, bundle: Path) -> None:
        self.client = client
        with np.load(bundle / "reference.npz") as reference:
            self.images, self.labels = reference["images"], reference["labels"]
        self.latencies: list[float] = []
        self.right = 0

    def visit(self, count: int) -> None:
        """Send `count` images; any answer but a prediction ends the demo."""
        for _ in range(count):
            index = len(self.latencies) % len(self.labels)
            buffer = io.BytesIO()
            Image.fromarray(self.images[index]).save(buffer, "PNG")
            started = time.perf_counter()
            answer = self.client.post("/predict", files={"image": ("digit.png", buffer.getvalue(), "image/png")})
            self.latencies.append(time.perf_counter() - started)
            answer.raise_for_status()
            self.right += answer.json()["label"] == str(self.labels[index])

    def __str__(self) -> str:
        median = 1000 * statistics.median(self.latencies)
        return f"{len(self.latencies)} predictions, {self.right} right, none failed, median {median:.1f} ms"


def predict_and_audit(client: httpx.Client, bundle: Path) -> dict[str, Any]:
    """Predictions on an idle server, then an audit with predictions going on; its report, which is also saved."""
    idle = Visitor(client, bundle)
    idle.visit(200)
    print(f"idle: {idle}")

    request = {"suite": SUITE, "eps": EPS, "samples": SAMPLES, "seed": SEED}
    print(f"POST /audits {json.dumps(request)}")
    accepted = client.post("/audits", json=request).raise_for_status()
    location = accepted.headers["Location"]

    busy, over, failures = Visitor(client, bundle), threading.Event(), list[Exception]()

    def keep_visiting() -> None:
        try:
            while not over.wait(0.05):
                busy.visit(1)
        except Exception as error:  # shown by the main thread
            failures.append(error)

    thread = threading.Thread(target=keep_visiting)
    thread.start()
    try:
        audit = follow(client, location)
    finally:
        over.set()
        thread.join()
    if failures or audit["state"] != "done":
        sys.exit(f"the audit ended as {audit['state']}; predictions beside it: {failures or 'fine'}")
    print(f"during the audit: {busy}")
    page = client.get(f"{location}/report.html").raise_for_status()
    (REPORTS / "demo-f2at.html").write_text(page.text, encoding="utf-8")
    report: dict[str, Any] = client.get(f"{location}/report").raise_for_status().json()
    (REPORTS / "demo-f2at.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def follow(client: httpx.Client, location: str) -> dict[str, Any]:
    """Show an audit's progress until it ends."""
    with tqdm(desc=f"audit {location}", unit="step") as bar:
        while True:
            audit: dict[str, Any] = client.get(location).raise_for_status().json()
            if progress := audit.get("progress"):
                bar.total = progress["total"]
                bar.update(progress["done"] - bar.n)
            if audit["state"] not in ("queued", "running"):
                return audit
            time.sleep(0.5)


def table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Clean and robust accuracy of each model with its 95 % interval."""
    rows = [f"{'model':<14}{'clean accuracy':<26}robust accuracy"]
    for name, report in reports.items():
        cells = [f"{a['value']:6.1%}  [{a['low']:.1%}, {a['high']:.1%}]" for a in (report["clean"], report["robust"])]
        rows.append(f"{name:<14}" + "".join(f"{cell:<26}" for cell in cells).rstrip())
    return "\n".join(rows)


if __name__ == "__main__":
    main()
