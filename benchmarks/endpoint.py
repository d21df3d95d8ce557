"""Audits over HTTP: one model as a file, behind our service, a BentoML tutorial's, and MLServer; verdicts and speed."""

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import markdown_table, parser, publish
from f2at.audit.opening.endpoint import audit_endpoint
from f2at.audit.opening.onnx import audit_onnx
from f2at.audit.request import AuditRequest
from f2at.bundle.format import CLASSIFIER, Bundle, load_bundle
from f2at.images.pixels import Images, Labels
from f2at.serving.process.launch import launch

ROOT = Path(__file__).parents[1]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the model that takes floats: it undoes them
RUNTIME = '''"""The classifier, as a runtime of MLServer's."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Classifier(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self._floats = self.settings.parameters.extra["floats"]
        return True

    async def predict(self, payload):
        images = NumpyCodec.decode_input(payload.inputs[0])
        if self._floats:
            mean, std = (np.array(self.settings.parameters.extra[name]) for name in ("mean", "std"))
            images = np.rint(255 * (images.transpose(0, 2, 3, 1) * std + mean))
        (logits,) = self._session.run(["logits"], {"images": images.astype(np.uint8)})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", logits)])
'''


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--bundle", type=Path, default=ROOT / "zoo" / "cifar10-small", help="(default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=25, help="images (default: %(default)s)")
    arguments.add_argument("--queries", type=int, default=200, help="of each attack (default: %(default)s)")
    arguments.add_argument("--environment", type=Path, help="with MLServer in it; made if it is not there")
    options = arguments.parse_args()
    bundle = load_bundle(options.bundle)
    images, labels = bundle.reference()
    attacks = [{"name": name, "queries": options.queries} for name in ("square", "rays")]
    request = AuditRequest(
        suite="custom", attacks=attacks, eps="4/255", samples=options.samples, curve=False, examples=0
    )
    with tempfile.TemporaryDirectory() as folder:
        python = mlserver_in(options.environment or Path(folder) / "environment")
        file = Path(folder) / CLASSIFIER
        file.write_bytes(bundle.files[CLASSIFIER])
        expected = audit_onnx(file, images, labels, request, classes=bundle.classes, black_box=True, threads=1)
        found = dict(reports(bundle, request, images, labels, python, Path(folder)))

    rows = [row("the file, without HTTP", expected, expected)]
    rows += [row(name, report, expected) for name, report in found.items()]
    columns = ["asked", "protocol", "seconds", "images sent", "requests", "per second", "robust", "other verdicts"]
    body = "\n".join(
        [
            f"The classifier of {options.bundle.name}, audited by its answers: {options.samples} images, eps 4/255, "
            f"Square and RayS with {options.queries} queries for an image each. Servers on loopback, one after the "
            "other, one thread for the model, 4 connections.",
            "",
            markdown_table(columns, rows),
            "",
            "Seconds of the audit; per second, images sent over the time spent waiting for answers. A verdict is which "
            "attack broke an image, or that none did; others are those that differ from the file's.",
        ]
    )
    command = "python -m benchmarks.endpoint --write"
    publish("endpoint", command, body, ["onnxruntime-gpu", "onnxruntime", "numpy", "bentoml"], write=options.write)


def reports(
    bundle: Bundle, request: AuditRequest, images: Images, labels: Labels, python: Path, folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name and a report for each endpoint, each of them started and stopped."""
    environment = {
        **os.environ,
        "F2AT_BUNDLE": str(bundle.path.absolute()),
        "F2AT_STATE": str(folder / "state"),
        "F2AT_WORKER": "off",
        "F2AT_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "BENTOML_HOME": str(folder / "bentoml"),
    }

    def audited(url: str, **options: Any) -> dict[str, Any]:
        return audit_endpoint(url, images, labels, request, classes=bundle.classes, **options)

    for name, service in (
        ("our service", "f2at.serving.service:RobustClassifier"),
        ("a BentoML tutorial's service", "benchmarks.throughput.rivals.bentoml_tutorial:Tutorial"),
    ):
        command = [sys.executable, "-m", "bentoml", "serve", service, "--port", "{port}", "--host", "127.0.0.1"]
        with launch(command, environment=environment, cwd=ROOT, log=folder / "log") as server:
            yield name, audited(f"{server.url}/predict")
    with mlserver(python, bundle, folder / "models") as (url, version):
        yield f"MLServer {version}, uint8", audited(f"{url}/v2/models/levels")
        yield f"MLServer {version}, float32", audited(f"{url}/v2/models/floats", mean=MEAN, std=STD)


def mlserver_in(environment: Path) -> Path:
    """The interpreter of a virtual environment with MLServer, which is installed if it is not there."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "mlserver", "onnxruntime"], check=True)
    return python


@contextmanager
def mlserver(python: Path, bundle: Bundle, folder: Path) -> Iterator[tuple[str, str]]:
    """The address of an MLServer with the classifier as two models, and its version."""
    height, width = bundle.input_size
    for name, datatype, shape in (
        ("levels", "UINT8", [-1, height, width, 3]),
        ("floats", "FP32", [-1, 3, height, width]),
    ):
        place = folder / name
        place.mkdir(parents=True)
        (place / CLASSIFIER).write_bytes(bundle.files[CLASSIFIER])
        extra = {"floats": datatype == "FP32", "mean": MEAN, "std": STD}
        settings = {
            "name": name,
            "implementation": "runtime.Classifier",
            "parameters": {"uri": str(place / CLASSIFIER), "version": "1", "extra": extra},
            "inputs": [{"name": "images", "datatype": datatype, "shape": shape}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, len(bundle.classes)]}],
        }
        (place / "model-settings.json").write_text(json.dumps(settings))
    (folder / "runtime.py").write_text(RUNTIME)
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, "debug": False}))
    ports = [f"MLSERVER_{kind}_PORT={port}" for kind, port in (("HTTP", "{port}"), ("GRPC", 0), ("METRICS", 0))]
    command = ["env", *ports, str(python.with_name("mlserver")), "start", "."]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    with launch(command, environment=environment, cwd=folder, log=folder / "log", ready=_is_ready) as server:
        yield server.url, httpx.get(f"{server.url}/v2").json()["version"]


def _is_ready(client: httpx.Client) -> bool:
    try:
        return all(client.get(f"/v2/models/{name}/ready").is_success for name in ("levels", "floats"))
    except httpx.TransportError:
        return False


def row(name: str, report: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    queries = report["run"].get("queries")
    sent = ["", "", ""]
    if queries:
        rate = queries["sent"] / report["run"]["model_seconds"]
        sent = [f"{queries['sent']:,}", f"{queries['requests']:,}", f"{rate:,.0f}"]
    pairs = zip(report["samples"], expected["samples"], strict=True)
    others = sum(mine["broken_by"] != theirs["broken_by"] for mine, theirs in pairs)
    robust = f"{report['robust']['k']} of {report['robust']['n']}"
    seconds = f"{report['run']['total_seconds']:.1f}"
    return [name, report["model"].get("protocol", ""), seconds, *sent, robust, str(others)]


if __name__ == "__main__":
    main()
