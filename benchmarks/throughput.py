"""Predictions over HTTP: this service beside others that serve the same classifier on the same machine, under wrk.

Needs wrk (Debian's package) and LitServe (pip install litserve). One server runs at a time; a round has all of them.
"""

import argparse
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.objectives import OBJECTIVES
from benchmarks.common import RESULTS, parser, publish, ratio
from export.bundle import CLASSIFIER, Bundle, load_bundle, write_bundle
from export.runtime import create_session

ROOT = Path(__file__).parents[1]
CLIENTS = (1, 16)
OURS, BARE = "this service", "Starlette + ONNX Runtime"
_BOUNDARY = "boundary"
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = os.getenv("KIND")
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*a")
file:close()
done = function(summary, latency, requests)
  local wrong = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
  io.write(string.format('{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "wrong": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), wrong + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Server:
    """How to start one, with {bundle} and {port}, and what it is asked."""

    command: Sequence[str]
    path: str = "/predict"
    array: bool = False  # takes JSON

    def body(self, image: NDArray[np.uint8]) -> tuple[str, bytes]:
        """A request for one image: its content type and its body."""
        if self.array:
            return "application/json", json.dumps({"image": image.tolist()}).encode()
        return form("image", [image])


SERVERS: Mapping[str, Server] = {
    OURS: Server(["-m", "serving", "serve", "{bundle}", "--port", "{port}"]),
    "BentoML tutorial, image": Server(
        ["-m", "bentoml", "serve", "benchmarks.rivals.bentoml_tutorial:Tutorial", "--port", "{port}"]
    ),
    "BentoML tutorial, array": Server(
        ["-m", "bentoml", "serve", "benchmarks.rivals.bentoml_tutorial:Tutorial", "--port", "{port}"],
        path="/predict_array",
        array=True,
    ),
    "LitServe": Server(["-m", "benchmarks.rivals.litserve_api", "{port}"]),
    BARE: Server(
        ["-m", "uvicorn", "benchmarks.rivals.starlette_app:app", "--port", "{port}", "--log-level", "warning"]
    ),
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    arguments.add_argument(
        "--width", type=int, help="serve a ResNet-18 of this width, with random weights, in its place"
    )
    arguments.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    arguments.add_argument("--seconds", type=int, default=4, help="of load in each measurement (default: %(default)s)")
    options = arguments.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt install wrk")
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle(options.bundle)
        if options.width:
            bundle = random_bundle(Path(folder) / "bundle", options.width, bundle)
        measure(bundle, options)


def measure(bundle: Bundle, options: argparse.Namespace) -> None:
    """Load every server in turn, and publish."""
    image = bundle.reference()[0][0]
    rates: dict[tuple[str, int], list[float]] = {}
    medians: dict[tuple[str, int], list[float]] = {}
    tails: dict[tuple[str, int], list[float]] = {}
    batches: list[float] = []
    raw: list[float] = []
    for _ in range(options.rounds):
        for name, server in SERVERS.items():
            with running(server, bundle.path, image) as url:
                for clients in CLIENTS:
                    result = load(url + server.path, *server.body(image), clients=clients, seconds=options.seconds)
                    key = name, clients
                    rates.setdefault(key, []).append(result["requests"] / result["microseconds"] * 1e6)
                    medians.setdefault(key, []).append(result["p50"] / 1000)
                    tails.setdefault(key, []).append(result["p99"] / 1000)
                if name == OURS:
                    batches.append(batch_rate(f"{url}/predict_batch", bundle, 4 * options.seconds))
        raw.append(best_raw_rate(bundle))
    body = report(bundle, options, rates, medians, tails)
    body += (
        f"\n\n`POST /predict_batch` of 32 PNG files, 3 clients: {statistics.median(batches):.0f} images/s. Raw "
        f"`session.run` at its best batch size, nothing else running: {statistics.median(raw):.0f} images/s. "
        f"Ratio: {ratio(batches, raw)}; goal: 0.85."
    )
    if options.write:
        draw(rates, RESULTS / f"{name_of(options)}.png")
    packages = ["bentoml", "litserve", "starlette", "uvicorn", "uvloop", "httptools", "onnxruntime-gpu", "onnxruntime"]
    command = f"python -m benchmarks.throughput {options.bundle}" + (
        f" --width {options.width}" if options.width else ""
    )
    publish(name_of(options), command, body, packages, write=options.write)


def name_of(options: argparse.Namespace) -> str:
    """The name of the result."""
    return f"throughput-{f'resnet18-{options.width}' if options.width else options.bundle.absolute().name}"


def random_bundle(path: Path, width: int, like: Bundle) -> Bundle:
    """A ResNet-18 with random weights, for the classes and images of another bundle; speed does not depend on them."""
    from export.graphs import export_graphs  # brings PyTorch, which the rest of this does without
    from models import create_model

    model = create_model("resnet18", classes=len(like.classes), width=width).eval()
    classifier, gradient = export_graphs(model, like.input_size)
    images, labels = like.reference()
    manifest = {"classes": list(like.classes), "input_size": list(like.input_size), "objectives": list(OBJECTIVES)}
    manifest["architecture"] = {"name": "resnet18", "width": width}
    return write_bundle(path, manifest=manifest, classifier=classifier, gradient=gradient, images=images, labels=labels)


Samples = Mapping[tuple[str, int], Sequence[float]]


def report(bundle: Bundle, options: argparse.Namespace, rates: Samples, medians: Samples, tails: Samples) -> str:
    """The table."""
    lines = [
        f"{bundle.manifest['architecture']['name']} at {bundle.input_size[0]}x{bundle.input_size[1]}, one PNG file a "
        f"request; {options.rounds} rounds, each of all servers one after another, "
        f"{options.seconds} s of wrk on one thread for each number of clients. Requests a second and "
        "milliseconds: medians of the rounds; ratio of this service's rate to the other's: median (quartiles).",
        "",
        "| server | " + " | ".join(f"clients: {n}, requests/s | p50, ms | p99, ms | ratio" for n in CLIENTS) + " |",
        "| --- |" + " --- |" * 4 * len(CLIENTS),
    ]
    for name in SERVERS:
        cells = []
        for clients in CLIENTS:
            key = name, clients
            cells += [
                f"{statistics.median(rates[key]):.0f}",
                f"{statistics.median(medians[key]):.2f}",
                f"{statistics.median(tails[key]):.1f}",
                "" if name == OURS else ratio(rates[OURS, clients], rates[key]),
            ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


@contextmanager
def running(server: Server, bundle: Path, image: NDArray[np.uint8]) -> Iterator[str]:
    """The address of a server that has answered once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    kind, content = server.body(image)
    with tempfile.TemporaryDirectory() as folder:
        state = {"BENTOML_HOME": f"{folder}/bentoml", "F2AT_STATE": f"{folder}/state", "BENTOML_DO_NOT_TRACK": "1"}
        state |= {"F2AT_RATE": "0", "F2AT_BUNDLE": str(bundle.absolute())}
        command = [part.format(bundle=bundle.absolute(), port=port) for part in server.command]
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ | state,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            started = time.monotonic()
            while not answers(url + server.path, kind, content):
                if process.poll() is not None or time.monotonic() - started > 60:
                    sys.exit(f"did not start: {' '.join(command)}")
                time.sleep(0.2)
            time.sleep(1)  # the audit worker of this service starts, too
            yield url
        finally:
            process.terminate()
            process.wait()


def answers(url: str, kind: str, content: bytes) -> bool:
    """Whether a request is answered with a prediction."""
    try:
        answer = httpx.post(url, content=content, headers={"Content-Type": kind}, timeout=30)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and "label" in answer.json()


def load(url: str, kind: str, content: bytes, *, clients: int, seconds: int) -> dict[str, int]:
    """What wrk says: requests, microseconds in all, and of an answer, at the middle and at the 99th of a hundred."""
    with tempfile.TemporaryDirectory() as folder:
        script, body = Path(folder) / "post.lua", Path(folder) / "body"
        script.write_text(_SCRIPT)
        body.write_bytes(content)
        command = ["wrk", "-t1", f"-c{clients}", "-s", str(script), url]
        environment = os.environ | {"KIND": kind, "BODY": str(body)}
        for duration in (1, seconds):  # the first warms up
            text = subprocess.run(
                [*command, f"-d{duration}"], env=environment, capture_output=True, text=True, check=True
            ).stdout
    result: dict[str, int] = json.loads(text.splitlines()[-1])
    if result["wrong"]:
        sys.exit(f"{url}: {result['wrong']} requests were not answered with 200")
    return result


def form(field: str, images: Sequence[NDArray[np.uint8]]) -> tuple[str, bytes]:
    """Content type and body of an upload of PNG files."""
    parts = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + png(image)
        + b"\r\n"
        for image in images
    )
    return f"multipart/form-data; boundary={_BOUNDARY}", parts + f"--{_BOUNDARY}--\r\n".encode()


def png(image: NDArray[np.uint8]) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def batch_rate(url: str, bundle: Bundle, seconds: int) -> float:
    """Images a second in requests of 32; for longer, since requests that are under way at the end do not count."""
    images = list(bundle.reference()[0][:32])
    result = load(url, *form("images", images), clients=3, seconds=seconds)
    return result["requests"] * len(images) / result["microseconds"] * 1e6


def best_raw_rate(bundle: Bundle) -> float:
    """Images a second of the session alone, at the best of several batch sizes."""
    session = create_session(bundle.files[CLASSIFIER], threads=0)
    images = bundle.reference()[0]

    def rate(size: int) -> float:
        batch = images[:size]
        session.run(["logits"], {"images": batch})
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < 1:
            session.run(["logits"], {"images": batch})
            count += len(batch)
        return count / (time.perf_counter() - started)

    return max(rate(size) for size in (1, 8, 16, 32, 64, 128, 256))


def draw(rates: Samples, path: Path) -> None:
    """Bars of the rates."""
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    height = 0.8 / len(CLIENTS)
    for index, clients in enumerate(CLIENTS):
        values = [statistics.median(rates[name, clients]) for name in SERVERS]
        bars = axes.barh([row + index * height for row in range(len(SERVERS))], values, height, label=f"{clients}")
        axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_yticks([row + height * (len(CLIENTS) - 1) / 2 for row in range(len(SERVERS))], list(SERVERS))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("single images a second")
    axes.legend(title="clients")
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
