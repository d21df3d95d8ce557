"""The Python clients and the curl lines of docs/api.md, against real servers."""

import asyncio
import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from f2at.bundle.format import Bundle
from f2at.images.png import png
from f2at.serving.access.keys import add_key
from f2at.serving.answers import Audit
from f2at.serving.client import AsyncClient, Client, ServiceError

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

LIGHT: dict[str, Any] = {"suite": "custom", "attacks": [{"name": "fgsm"}], "eps": "1/255", "samples": 4}


def test_predicts(server: "Server", bundle: Bundle, tmp_path: Path) -> None:
    images, labels = bundle.reference()
    path = tmp_path / "image.png"
    path.write_bytes(png(images[0]))
    with Client(server.url) as client:
        assert client.model()["digest"] == bundle.digest
        answer = client.predict(path)
        assert (answer.index, answer.model, answer.patterns) == (labels[0], bundle.digest, None)
        batch = client.predict_batch([png(image) for image in images[:3]])
        assert [row.index for row in batch] == labels[:3].tolist()


def test_lists_are_filtered_and_ended_audits_removed(server: "Server") -> None:
    with Client(server.url) as client:
        done = client.wait(client.start_audit(**LIGHT).id)
        assert done.state == "done"
        assert next(client.leaderboard())["audit"] == done.id
        assert done.id in [
            audit.id for audit in client.audits(state=["done", "failed"], suite="custom", since=done.created)
        ]
        assert done.id not in [audit.id for audit in client.audits(state="cancelled")]
        client.delete(done.id)
        with pytest.raises(ServiceError, match="There is no audit"):
            client.audit(done.id)


@pytest.mark.parametrize("planes", [1, 3, 8])
def test_patterns_are_those_of_the_image(server: "Server", bundle: Bundle, planes: int) -> None:
    image = bundle.reference()[0][0]
    with Client(server.url) as client:
        answer = client.predict(png(image), planes=planes)
        assert answer.patterns is not None
        natural, perturbed = (pixels(url) for url in (answer.patterns.natural, answer.patterns.perturbed))
        assert np.array_equal(natural + perturbed, image)
        assert not (natural % 2 ** (8 - planes)).any()
        assert perturbed.max() < 2 ** (8 - planes)
        alone = client.predict(png(natural))  # the prediction for the natural pattern sent on its own
        assert (answer.patterns.label, answer.patterns.index) == (alone.label, alone.index)
        assert answer.patterns.margin == pytest.approx(alone.margin, rel=1e-3)
        assert answer.patterns.agrees == (alone.index == answer.index)
        assert answer.patterns.agrees or planes < 8


def pixels(url: str) -> np.ndarray:
    assert url.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


@pytest.mark.parametrize("planes", ["0", "9", "-1", "x", "12", ""])
def test_planes_are_checked(server: "Server", bundle: Bundle, planes: str) -> None:
    files = {"image": png(bundle.reference()[0][0])}
    response = server.client.post("/predict", params={"planes": planes}, files=files)
    assert response.status_code == 422
    assert response.json()["argument"] == "planes"


def test_an_audit_with_a_key(start_server: Callable[..., "Server"], bundle: Bundle, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    token = add_key(keys, "client", ["predict", "audit"])
    server = start_server(F2AT_KEYS=str(keys))
    with Client(server.url, patience=0) as stranger, pytest.raises(ServiceError) as refused:
        list(stranger.audits())
    assert (refused.value.status, refused.value.kind) == (401, "key-required")

    with Client(server.url, key=token) as client:
        audit = client.start_audit(idempotency_key="nightly", **LIGHT)
        assert client.start_audit(idempotency_key="nightly", **LIGHT).id == audit.id == "client:nightly"
        seen: list[Audit] = []
        done = client.wait(audit.id, progress=seen.append)
        assert done.state == "done"
        assert done.progress is not None
        assert done.progress.done == done.progress.total
        assert seen[-1] == done
        assert all(before != after for before, after in pairwise(seen))
        report = client.report(audit.id)
        assert report["model"]["digest"] == bundle.digest
        assert report["robust"]["k"] == done.progress.stages[-1].robust
        assert client.report_page(audit.id).startswith("<!doctype html>")

        other = client.start_audit(**{**LIGHT, "samples": 100})
        with pytest.raises(TimeoutError, match=other.id):
            client.wait(other.id, timeout=0)
        assert client.cancel(other.id).state == "cancelled"
        assert [row.state for row in client.audits()] == ["cancelled", "done"]
        assert {row.by for row in client.audits()} == {"client"}
    server.stop()


def test_every_kind_of_image_gets_the_same_answer(server: "Server", bundle: Bundle, tmp_path: Path) -> None:
    image = bundle.reference()[0][0]
    path = tmp_path / "image.png"
    path.write_bytes(png(image))
    with Client(server.url) as client, path.open("rb") as file, Image.open(path) as opened:
        answers = [client.predict(kind) for kind in (path, path.read_bytes(), file, image, opened)]
        assert answers == [answers[0]] * 5
        grey = [client.predict(kind) for kind in (image[..., 0], np.dstack([image[..., 0]] * 3))]
        assert grey[0] == grey[1]
        batch = client.predict_batch(bundle.reference()[0][:3])
        assert [row.index for row in batch] == bundle.reference()[1][:3].tolist()


def test_many_at_once_for_asyncio(server: "Server", bundle: Bundle) -> None:
    images, labels = bundle.reference()

    async def use() -> list[Audit]:
        async with AsyncClient(server.url) as client, asyncio.timeout(200):
            assert (await client.model())["digest"] == bundle.digest
            with pytest.raises(ServiceError, match="samples must be at most 200"):
                await client.start_audit(samples=201)
            started = await client.start_audit(**LIGHT)
            seen = [audit async for audit in client.follow(started.id)]
            # While another audit is waited for, predictions are made.
            other = await client.start_audit(**LIGHT)
            waiting = asyncio.create_task(client.wait(other.id))
            answers = await asyncio.gather(*map(client.predict, images[:4]))
            assert [answer.index for answer in answers] == labels[:4].tolist()
            assert ((await waiting).id, (await waiting).state) == (other.id, "done")
            assert [row.index for row in await client.predict_batch(list(images[:3]))] == labels[:3].tolist()
            assert (await client.report(started.id))["model"]["digest"] == bundle.digest
            assert (await client.report_page(started.id)).startswith("<!doctype html>")
            listed = [audit.id async for audit in client.audits()]
            assert listed[:2] == [other.id, started.id]
            assert await client.audit(started.id) == seen[-1]
            slow = await client.start_audit(**{**LIGHT, "samples": 100})
            assert (await client.cancel(slow.id)).state == "cancelled"
            return seen

    seen = asyncio.run(use())
    assert seen[-1].state == "done"
    assert all(before != after for before, after in pairwise(seen))


def test_a_refusal_says_what_is_accepted(server: "Server") -> None:
    with Client(server.url) as client:
        with pytest.raises(ServiceError, match="samples must be at most 200") as refused:
            client.start_audit(samples=201)
        assert refused.value.status == 422
        assert refused.value.kind == "invalid-argument"
        assert refused.value.problem["argument"] == "samples"
        assert refused.value.problem["received"] == 201
        with pytest.raises(ServiceError) as missing:
            client.report("none")
        assert (missing.value.status, missing.value.kind) == (404, "no-such-audit")


def test_waits_while_the_server_is_busy(narrow_server: "Server", bundle: Bundle) -> None:
    slow = png(np.zeros((3000, 3000, 3), np.uint8))
    expected = bundle.reference()[1][0]
    answers: list[int] = []

    def ask() -> None:
        with Client(narrow_server.url, timeout=120, patience=300) as client:
            client.predict(slow)
            answers.append(client.predict(png(bundle.reference()[0][0])).index)

    # Two may wait at this server; the others are told to retry.
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8


def test_gives_up_when_patience_ends(narrow_server: "Server") -> None:
    with Client(narrow_server.url, patience=0) as client:
        started = [client.start_audit(**LIGHT).id for _ in range(2)]
        with pytest.raises(ServiceError) as full:
            client.start_audit(**LIGHT)
        assert (full.value.status, full.value.kind) == (429, "too-many-audits")
        for identifier in started:
            assert client.cancel(identifier).state == "cancelled"


REPOSITORY = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:3000"


def run(command: list[str], cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_examples(page: Path, url: str, cwd: Path) -> tuple[int, int]:
    """Run a page's curl lines and its examples of the client, as printed but for the address and for smaller audits.

    `$ID` is the audit that a line with an Idempotency-Key has started. Returns how many of each there were.
    """
    text = page.read_text(encoding="utf-8").replace("\\\n", " ").replace(ADDRESS, url.removeprefix("http://"))
    text = re.sub(r"samples(\W+)200", r"samples\g<1>2", text).replace("adaptive", "quick")
    lines = [line for line in text.splitlines() if line.startswith("curl ") and url in line]
    identifier = ""
    for line in lines:
        command = line.replace("$ID", identifier).replace("curl", "curl --silent --show-error --fail-with-body", 1)
        printed = run(["bash", "-c", command], cwd)
        if "Idempotency-Key" in line:
            identifier = json.loads(printed)["id"]
        if "/events" in line:
            assert '"state": "done"' in printed
    scripts = [code for code in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) if "Client(" in code]
    for script in scripts:
        run([sys.executable, "-c", script], cwd)
    return len(lines), len(scripts)


def test_examples_of_the_documentation(server: "Server", bundle: Bundle, tmp_path: Path) -> None:
    for name, image in zip(("digit.png", "another.png"), bundle.reference()[0], strict=False):
        (tmp_path / name).write_bytes(png(image))
    shutil.copytree(bundle.path, tmp_path / "bundles" / "digits")
    lines, scripts = run_examples(REPOSITORY / "docs" / "api.md", server.url, tmp_path)
    assert lines > 0
    assert scripts > 0
