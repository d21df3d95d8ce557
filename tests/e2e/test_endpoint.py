"""`f2at audit URL` against a real server of ours: what is deployed, attacked from outside by its answers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from f2at.audit.endpoint.address import EndpointError
from f2at.audit.opening.endpoint import open_endpoint
from f2at.bundle.format import Bundle
from f2at.images.pixels import to_inputs
from f2at.images.sets.base import in_memory
from f2at.serving.access.keys import add_key
from tests.audit.endpoint.host import light

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
REQUEST = ["--attack", "square:queries=60", "--eps", "4/255", "--samples", "12", "--no-curve", "--quiet"]


def audit(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "f2at", "audit", *map(str, arguments)]
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_service_is_audited_by_its_answers(
    start_server: Callable[..., "Server"], bundle: Bundle, tmp_path: Path
) -> None:
    token = add_key(tmp_path / "keys", "auditor", ["predict"])
    server = start_server(F2AT_KEYS=str(tmp_path / "keys"), F2AT_WORKER="off")
    images, labels = bundle.reference()
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    data = ["--data", tmp_path / "data.npz"]
    url = f"{server.url}/predict"

    refused = audit(url, *data, *REQUEST, "--output", tmp_path / "refused.json")
    assert refused.returncode == 2
    assert refused.stderr == (
        f"f2at audit: {server.url}/model answers 401 Unauthorized: it wants a key; set F2AT_ENDPOINT_KEY\n"
    )

    done = audit(url, *data, *REQUEST, "--output", tmp_path / "far.json", F2AT_ENDPOINT_KEY=token)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"model {url}\nmodel {bundle.digest}\n12 images, linf, eps 4/255\n")
    report = read(tmp_path / "far.json")
    assert (report["model"]["digest"], report["model"]["protocol"]) == (bundle.digest, "f2at")
    assert report["model"]["classes"] == list(bundle.classes)
    assert report["threat_model"]["knowledge"] == ["black-box"]
    assert token not in (tmp_path / "far.json").read_text() + (tmp_path / "far.html").read_text()

    near = audit(
        *(bundle.path / "classifier.onnx", *data, *REQUEST, "--black-box", "--classes", ",".join(bundle.classes)),
        *("--threads", "1", "--output", tmp_path / "near.json"),
    )
    assert near.returncode == 0, near.stderr
    at_hand = read(tmp_path / "near.json")
    for part in ("clean", "data", "threat_model"):
        assert report[part] == at_hand[part]
    # Probabilities in JSON are not the last bit of the logits, so a proposal in thousands may be judged otherwise.
    assert abs(report["robust"]["k"] - at_hand["robust"]["k"]) <= 1
    assert 0 < report["robust"]["k"] < 12


def test_a_bentoml_service_says_what_its_routes_take(start_server: Callable[..., "Server"]) -> None:
    server = start_server("tests.e2e.routes:Routes")
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
    data = in_memory(images, np.zeros(7, np.int64))
    for route, protocol in (("picture", "form"), ("levels", "tensor"), ("any", "tensor")):
        model = open_endpoint(f"{server.url}/{route}", data=data, classes=["dark", "light"])
        assert model.description["protocol"] == protocol
        np.testing.assert_allclose(model.target.logits(to_inputs(images)), light(images), rtol=1e-6)
    with pytest.raises(EndpointError, match="must take one picture or one array; it takes a, b"):
        open_endpoint(f"{server.url}/two", data=data)
