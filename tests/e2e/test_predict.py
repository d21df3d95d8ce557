import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from f2at.bundle.format import CLASSIFIER, Bundle
from f2at.images.png import png

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow


def expected(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    logits: np.ndarray = (
        ort.InferenceSession(bundle.files[CLASSIFIER]).run(None, {"images": images})[0].astype(np.float64)
    )
    exponentials = np.exp(logits)
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


@contextmanager
def url_that_must_not_be_fetched() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/image.png"
        with pytest.raises(TimeoutError):
            listener.accept()


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"] == f"urn:problem-type:f2at:{kind}"
    assert body["title"]
    assert body["detail"]
    return body


def test_predicts_what_the_bundle_says(server: "Server", bundle: Bundle) -> None:
    images, _ = bundle.reference()
    probabilities = expected(bundle, images[:1])[0]
    response = server.client.post("/predict", files={"image": png(images[0])}).raise_for_status()
    answer = response.json()
    assert answer["index"] == probabilities.argmax()
    assert answer["label"] == bundle.classes[answer["index"]]
    assert list(answer["probabilities"]) == list(bundle.classes)
    np.testing.assert_allclose(list(answer["probabilities"].values()), probabilities, rtol=1e-4)
    first, second = np.sort(np.log(probabilities))[::-1][:2]
    assert answer["margin"] == pytest.approx(first - second, rel=1e-3)
    assert answer["model"] == response.headers["x-model-digest"] == bundle.digest


def test_takes_the_bare_body_too(server: "Server", bundle: Bundle) -> None:
    image = png(bundle.reference()[0][3])
    bare = server.client.post("/predict", content=image, headers={"Content-Type": "image/png"})
    assert bare.json() == server.client.post("/predict", files={"image": image}).json()


def test_predicts_a_batch_in_order(server: "Server", bundle: Bundle) -> None:
    images, labels = bundle.reference()
    files = [("images", png(image)) for image in images[:8]]
    answer = server.client.post("/predict_batch", files=files).raise_for_status().json()
    assert [row["index"] for row in answer["predictions"]] == labels[:8].tolist()
    too_many = [("images", png(images[0]))] * 33
    assert "32" in problem(server.client.post("/predict_batch", files=too_many), 400, "malformed-form")["detail"]


def test_an_image_of_another_size_is_resized(server: "Server", bundle: Bundle) -> None:
    image = Image.fromarray(bundle.reference()[0][0]).resize((64, 64), Image.Resampling.NEAREST)
    answer = server.client.post("/predict", files={"image": png(np.asarray(image))}).json()
    assert answer["index"] == bundle.reference()[1][0]


def test_the_bentoml_client_works(server: "Server", bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(bundle.reference()[0][0]))
    # In a process of its own: importing bentoml warns, and warnings are errors here.
    script = """
import json, pathlib, sys, bentoml
path = pathlib.Path(sys.argv[2])
with bentoml.SyncHTTPClient(sys.argv[1]) as client:
    answers = [client.predict(image=path), *client.predict_batch(images=[path, path])["predictions"]]
print(json.dumps(answers))
"""
    command = [sys.executable, "-c", script, server.url, str(path)]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    assert [answer["index"] for answer in answers] == [bundle.reference()[1][0]] * 3


def test_describes_the_model(server: "Server", bundle: Bundle) -> None:
    model = server.client.get("/model").json()
    assert model["digest"] == bundle.digest
    assert model["classes"] == list(bundle.classes)
    assert model["input_size"] == [16, 16]
    assert model["provider"].endswith("ExecutionProvider")


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        (b"", 415, "unsupported-image"),
        (b"not an image", 415, "unsupported-image"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", 415, "unsupported-image"),
        (png(np.zeros((40, 40, 3), np.uint8))[:-30], 422, "unreadable-image"),
        (png(np.zeros((4200, 4200), np.uint8)), 413, "image-too-large"),
        (b"\0" * (17 << 20), 413, "body-too-large"),
    ],
)
def test_bad_images_are_client_errors(server: "Server", data: bytes, status: int, kind: str) -> None:
    problem(server.client.post("/predict", files={"image": ("x.png", data, "image/png")}), status, kind)


def test_a_streamed_body_is_bounded_too(server: "Server") -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"\0" * (1 << 19)

    for path, media in (("/predict", "image/png"), ("/audits", "application/json")):
        response = server.client.post(path, content=chunks(), headers={"Content-Type": media})
        problem(response, 413, "body-too-large")


def test_urls_are_never_fetched(server: "Server") -> None:
    with url_that_must_not_be_fetched() as url:
        for send in ({"data": {"image": url}}, {"files": {"image": (None, url)}}):
            response = server.client.post("/predict", **send)
            assert response.status_code in (415, 422)
        for media in ("application/json", "image/png", "text/plain"):
            response = server.client.post("/predict", content=url.encode(), headers={"Content-Type": media})
            problem(response, 415, "unsupported-image" if media == "image/png" else "unsupported-media-type")
        response = server.client.post("/predict", json={"image": url})
        problem(response, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/predict", 405, "method-not-allowed"),
        ("PUT", "/audits", 405, "method-not-allowed"),
        ("GET", "/audits/none", 404, "no-such-audit"),
        ("GET", "/audits/none/report", 404, "no-such-audit"),
        ("GET", "/audits/none/report.html", 404, "no-such-audit"),
        ("GET", "/audits/none/events", 404, "no-such-audit"),
        ("DELETE", "/audits/none", 404, "no-such-audit"),
    ],
)
def test_every_error_is_a_problem_and_names_the_model(
    server: "Server", bundle: Bundle, method: str, path: str, status: int, kind: str
) -> None:
    response = server.client.request(method, path)
    problem(response, status, kind)
    assert response.headers["x-model-digest"] == bundle.digest
    if status == 405:
        assert response.headers["allow"]


def test_bentoml_routes_keep_working(server: "Server") -> None:
    for path in ("/livez", "/readyz", "/metrics", "/docs.json"):
        assert server.client.get(path).status_code == 200
    assert {"/predict", "/predict_batch"} <= server.client.get("/docs.json").json()["paths"].keys()


def test_overload_is_refused_and_never_hangs(narrow_server: "Server", bundle: Bundle) -> None:
    server = narrow_server
    image = png(np.zeros((3000, 3000, 3), np.uint8))  # slow to decode

    async def flood() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            return await asyncio.gather(*(client.post("/predict", files={"image": image}) for _ in range(12)))

    responses = asyncio.run(flood())
    refused = [response for response in responses if response.status_code == 429]
    assert refused
    assert {response.status_code for response in responses} == {200, 429}  # all of one client
    assert all(response.headers["retry-after"] for response in refused)
    server.client.post("/predict", files={"image": png(bundle.reference()[0][0])}).raise_for_status()


def test_the_page_loads_only_from_the_server(server: "Server") -> None:
    page = server.client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    folder = Path("serving/page")
    for file in filter(Path.is_file, folder.iterdir()):
        assert "//" not in file.read_text().replace("http://www.w3.org/2000/svg", "").replace("// ", "")
        assert server.client.get(f"/page/{file.name}").status_code == 200
