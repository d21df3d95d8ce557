"""The Open Inference Protocol, spoken by the clients that people have: Triton's, and this package's own audits."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

from f2at import __version__
from f2at.bundle.format import Bundle
from f2at.images.png import png
from f2at.serving.access.keys import add_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(server: "Server") -> Any:
    made = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield made
    made.close()


def tensor(images: np.ndarray, *, binary: bool = True) -> Any:
    given = triton.InferInput("images", list(images.shape), "UINT8")
    given.set_data_from_numpy(images, binary_data=binary)
    return given


def test_tritons_client_learns_what_is_served(client: Any, server: "Server", bundle: Bundle) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("f2at")
    version = bundle.digest.removeprefix("sha256:")[:12]
    assert client.is_model_ready("f2at", version)
    assert not client.is_model_ready("another")
    about = client.get_server_metadata()
    assert about == {"name": "f2at", "version": __version__, "extensions": ["binary_tensor_data"]}
    model = client.get_model_metadata("f2at")
    assert (model["name"], model["versions"]) == ("f2at", [version])
    assert model["inputs"][0] == {"name": "images", "datatype": "UINT8", "shape": [-1, *bundle.input_size, 3]}
    assert model["outputs"][0]["shape"] == [-1, len(bundle.classes)]
    assert client.get_model_metadata("f2at", version) == model
    assert server.client.get("/v2/models/f2at").headers["X-Model-Digest"] == bundle.digest


@pytest.mark.parametrize("sent", [True, False], ids=["bytes sent", "json sent"])
@pytest.mark.parametrize("asked", [True, False], ids=["bytes asked", "json asked"])
def test_a_tensor_is_classified_as_a_file_is(
    client: Any, server: "Server", bundle: Bundle, sent: bool, asked: bool
) -> None:
    images = bundle.reference()[0][:3]
    names = ["probabilities", "label", "index", "margin"]
    outputs = [triton.InferRequestedOutput(name, binary_data=asked) for name in names]
    answer = client.infer("f2at", [tensor(images, binary=sent)], outputs=outputs, request_id="7")
    assert answer.get_response()["id"] == "7"
    for row, image in enumerate(images):
        known = server.predict(image)
        label = answer.as_numpy("label")[row]
        assert (label.decode() if isinstance(label, bytes) else label) == known["label"]
        assert answer.as_numpy("index")[row] == known["index"]
        np.testing.assert_allclose(answer.as_numpy("probabilities")[row], [*known["probabilities"].values()], rtol=1e-5)
        assert answer.as_numpy("margin")[row] == pytest.approx(known["margin"], rel=1e-5)


def test_files_are_an_input_too(client: Any, server: "Server", bundle: Bundle) -> None:
    image = Image.fromarray(bundle.reference()[0][0]).resize((90, 70))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    given = triton.InferInput("encoded", [2], "BYTES")
    given.set_data_from_numpy(np.array([buffer.getvalue(), png(bundle.reference()[0][1])], object))
    answer = client.infer("f2at", [given], outputs=[triton.InferRequestedOutput("index")])
    alone = server.client.post("/predict", files={"image": buffer.getvalue()}).json()
    assert answer.as_numpy("index").tolist() == [alone["index"], server.predict(bundle.reference()[0][1])["index"]]
    entry = {"name": "encoded", "datatype": "BYTES", "shape": [1, 1]}
    entry["data"] = [base64.b64encode(buffer.getvalue()).decode()]
    plain = server.client.post("/v2/models/f2at/infer", json={"inputs": [entry]}).json()
    assert plain["outputs"][2] == {"name": "index", "datatype": "INT64", "shape": [1], "data": [alone["index"]]}
    assert plain["model_name"] == "f2at"


def test_refusals_are_the_protocols(client: Any, server: "Server", bundle: Bundle) -> None:
    images = bundle.reference()[0][:1]
    with pytest.raises(InferenceServerException, match=r"This server has the model 'f2at'.*got 'other'"):
        client.infer("other", [tensor(images)])
    with pytest.raises(InferenceServerException, match=r"got 'f2at, version 2'"):
        client.infer("f2at", [tensor(images)], model_version="2")
    with pytest.raises(InferenceServerException, match=r"shape of 'images' must be \[1, 16, 16, 3\], of UINT8; images"):
        client.infer("f2at", [tensor(images[:, :8])])
    with pytest.raises(InferenceServerException, match=r"that of 1 to \d+ images; got \[500, 16, 16, 3\]"):
        client.infer("f2at", [tensor(np.repeat(images, 500, axis=0))])
    with pytest.raises(InferenceServerException, match=r"outputs must be among probabilities, .*; got logits"):
        client.infer("f2at", [tensor(images)], outputs=[triton.InferRequestedOutput("logits")])
    with pytest.raises(InferenceServerException, match="Send the body as it is"):
        client.infer("f2at", [tensor(images)], request_compression_algorithm="gzip")
    refused = server.client.post("/v2/models/f2at/infer", content=b"{")
    assert refused.status_code == 400
    assert refused.json()["error"] == refused.json()["detail"]
    nothing = server.client.get("/v2/nothing")
    assert (nothing.status_code, nothing.json()["error"]) == (404, "There is nothing at /v2/nothing.")
    wrong = server.client.put("/v2/models/f2at/infer")
    assert (wrong.status_code, "does not take PUT" in wrong.json()["error"]) == (405, True)
    broken = {"name": "encoded", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(b"no image").decode()]}
    refused = server.client.post("/v2/models/f2at/infer", json={"inputs": [broken]})
    assert refused.status_code in (415, 422)
    assert refused.json()["error"]
    both = {"inputs": [broken, {"name": "images", "datatype": "UINT8", "shape": [1], "data": [0]}]}
    assert "inputs must be one of images" in server.client.post("/v2/models/f2at/infer", json=both).json()["error"]


def test_a_key_is_asked_for_and_the_name_is_a_setting(
    start_server: "Callable[..., Server]", bundle: Bundle, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    key = add_key(keys, "reader", ["predict"])
    server = start_server(F2AT_KEYS=str(keys), F2AT_MODEL_NAME="digits")
    asked = {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": [0] * 768}]}
    refused = httpx.post(f"{server.url}/v2/models/digits/infer", json=asked)
    assert (refused.status_code, refused.json()["error"]) == (401, refused.json()["detail"])
    assert httpx.get(f"{server.url}/v2/health/ready").json() == {"ready": True}
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {key}"}
    images = bundle.reference()[0][:1]
    assert client.infer("digits", [tensor(images)], headers=headers).as_numpy("index").shape == (1,)
    client.close()


def test_its_model_is_audited_through_the_protocol(server: "Server", bundle: Bundle, tmp_path: Path) -> None:
    images, labels = bundle.reference()
    np.savez(tmp_path / "data.npz", images=images[:10], labels=labels[:10])
    (tmp_path / "classes.txt").write_text("\n".join(bundle.classes))
    output = tmp_path / "report.json"
    command = [sys.executable, "-m", "f2at", "audit", f"{server.url}/v2/models/f2at", "--data", tmp_path / "data.npz"]
    command += ["--classes", tmp_path / "classes.txt", "--output-name", "probabilities", "--suite", "custom"]
    command += ["--attack", "square:queries=5", "--eps", "8/255", "--no-curve", "--output", output]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    assert report["clean"]["k"] == sum(
        server.predict(image)["index"] == label for image, label in zip(images[:10], labels[:10], strict=True)
    )
