"""Predictions over HTTP: this service beside others that serve the same classifier on the same machine, under wrk.

Needs wrk (Debian's package) and LitServe (pip install litserve). One server runs at a time; a round covers all of them.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import RESULTS, markdown_table, parser, publish, ratio
from benchmarks.serving import started
from f2at.attacks.objectives import OBJECTIVES
from f2at.bundle.format import CLASSIFIER, Bundle, load_bundle, write_bundle
from f2at.bundle.runtime import create_session
from f2at.images.png import png

CLIENTS = (1, 16)
OURS = "this service"
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


Result = dict[str, int]  # of one run of wrk
Results = Mapping[tuple[str, int], Sequence[Result]]  # by server and number of clients; one per round


@dataclass(frozen=True)
class Server:
    """How to start one on F2AT_BUNDLE, as arguments of Python with {port}, and what to send it."""

    arguments: Sequence[str]
    path: str = "/predict"
    array: bool = False  # takes JSON

    def body(self, image: NDArray[np.uint8]) -> tuple[str, bytes]:
        """A request for one image: its content type and its body."""
        if self.array:
            return "application/json", json.dumps({"image": image.tolist()}).encode()
        return form("image", [image])


SERVERS: Mapping[str, Server] = {
    OURS: Server(["-m", "bentoml", "serve", "f2at.serving.service:RobustClassifier", "--port", "{port}"]),
    "BentoML tutorial, image": Server(
        ["-m", "bentoml", "serve", "benchmarks.throughput.rivals.bentoml_tutorial:Tutorial", "--port", "{port}"]
    ),
    "BentoML tutorial, array": Server(
        ["-m", "bentoml", "serve", "benchmarks.throughput.rivals.bentoml_tutorial:Tutorial", "--port", "{port}"],
        path="/predict_array",
        array=True,
    ),
    "LitServe": Server(["-m", "benchmarks.throughput.rivals.litserve_api", "{port}"]),
    "Starlette + ONNX Runtime": Server(
        [
            "-m",
            "uvicorn",
            "benchmarks.throughput.rivals.starlette_app:app",
            "--port",
            "{port}",
            "--log-level",
            "warning",
        ]
    ),
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    arguments.add_argument("--width", type=int, help="serve a ResNet-18 of this width, with random weights, instead")
    arguments.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    arguments.add_argument("--seconds", type=int, default=4, help="of load in each measurement (default: %(default)s)")
    options = arguments.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt install wrk")
    if not find_spec("litserve"):
        sys.exit("LitServe is needed: pip install litserve")
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle(options.bundle)
        if options.width:
            bundle = random_bundle(Path(folder) / "bundle", options.width, bundle)
        measure(bundle, options)


def measure(bundle: Bundle, options: argparse.Namespace) -> None:
    """Load every server in turn, and publish."""
    image = bundle.reference()[0][0]
    results: dict[tuple[str, int], list[Result]] = {}
    batches: list[float] = []
    raw: list[float] = []
    for _ in range(options.rounds):
        for name, server in SERVERS.items():
            with running(server, bundle.path, image) as url:
                for clients in CLIENTS:
                    result = load(url + server.path, *server.body(image), clients=clients, seconds=options.seconds)
                    results.setdefault((name, clients), []).append(result)
                if name == OURS:
                    batches.append(batch_rate(f"{url}/predict_batch", bundle, 4 * options.seconds))
        raw.append(best_raw_rate(bundle))
    body = report(bundle, options, results)
    body += (
        f"\n\n`POST /predict_batch` of 32 PNG files, 3 clients: {statistics.median(batches):.0f} images/s. Raw "
        f"`session.run` at its best batch size, nothing else running: {statistics.median(raw):.0f} images/s. "
        f"Ratio: {ratio(batches, raw)}; goal: 0.85."
    )
    if options.write:
        draw(results, RESULTS / f"{name_of(options)}.png")
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
    from f2at.export.graphs import export_graphs  # brings PyTorch, which the rest of this does without
    from f2at.models import create_model

    model = create_model("resnet18", classes=len(like.classes), width=width).eval()
    classifier, gradient = export_graphs(model, like.input_size)
    images, labels = like.reference()
    manifest = {"classes": list(like.classes), "input_size": list(like.input_size), "objectives": list(OBJECTIVES)}
    manifest["architecture"] = {"name": "resnet18", "width": width}
    return write_bundle(path, manifest=manifest, classifier=classifier, gradient=gradient, images=images, labels=labels)


def report(bundle: Bundle, options: argparse.Namespace, results: Results) -> str:
    """The table."""
    introduction = (
        f"{bundle.manifest['architecture']['name']} at {bundle.input_size[0]}x{bundle.input_size[1]}, one PNG file per "
        f"request; {options.rounds} rounds, each of all servers one after another, "
        f"{options.seconds} s of wrk on one thread for each number of clients. Requests per second and "
        "milliseconds: medians of the rounds; ratio of this service's rate to the other's: median (quartiles)."
    )
    columns = ["server"]
    for clients in CLIENTS:
        columns += [f"clients: {clients}, requests/s", "p50, ms", "p99, ms", "ratio"]
    rows = []
    for name in SERVERS:
        cells = [name]
        for clients in CLIENTS:
            mine = results[name, clients]
            cells += [
                f"{statistics.median(rates(mine)):.0f}",
                f"{statistics.median(result['p50'] for result in mine) / 1000:.2f}",
                f"{statistics.median(result['p99'] for result in mine) / 1000:.1f}",
                "" if name == OURS else ratio(rates(results[OURS, clients]), rates(mine)),
            ]
        rows.append(cells)
    return f"{introduction}\n\n{markdown_table(columns, rows)}"


@contextmanager
def running(server: Server, bundle: Path, image: NDArray[np.uint8]) -> Iterator[str]:
    """The address of a server that has answered once."""
    kind, content = server.body(image)

    def answers(client: httpx.Client) -> bool:
        try:
            answer = client.post(server.path, content=content, headers={"Content-Type": kind}, timeout=30)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and "label" in answer.json()

    environment = {"F2AT_BUNDLE": str(bundle.absolute())}
    with started(server.arguments, answers, environment=environment) as (_, process):
        time.sleep(1)  # the audit worker of this service is starting as well
        yield process.url


def load(url: str, kind: str, content: bytes, *, clients: int, seconds: int) -> Result:
    """wrk's results: requests, total microseconds, and an answer's median and 99th percentile."""
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
    result: Result = json.loads(text.splitlines()[-1])
    if result["wrong"]:
        sys.exit(f"{url}: {result['wrong']} requests were not answered with 200")
    return result


def rates(results: Sequence[Result]) -> list[float]:
    """Requests per second."""
    return [result["requests"] / result["microseconds"] * 1e6 for result in results]


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


def batch_rate(url: str, bundle: Bundle, seconds: int) -> float:
    """Images per second in requests of 32; run for longer, since requests unfinished at the end do not count."""
    images = list(bundle.reference()[0][:32])
    result = load(url, *form("images", images), clients=3, seconds=seconds)
    return len(images) * rates([result])[0]


def best_raw_rate(bundle: Bundle) -> float:
    """Images per second of the session alone, at the best of several batch sizes."""
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


def draw(results: Results, path: Path) -> None:
    """Bars of the rates."""
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    height = 0.8 / len(CLIENTS)
    for index, clients in enumerate(CLIENTS):
        values = [statistics.median(rates(results[name, clients])) for name in SERVERS]
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
