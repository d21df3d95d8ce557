"""Audits of data in an object store, by a real server and worker, against a server of S3's protocol."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from f2at import AuditRequest, audit_bundle
from f2at.audit.reports.report import deterministic_part
from f2at.bundle.format import Bundle
from f2at.images.png import png
from tests.e2e.conftest import wait_for

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow
IMAGES = 60
SHORT: dict[str, Any] = {"suite": "quick", "eps": "1/255", "samples": 30, "curve": False}
URL = "s3://sets/open/blocks"


@pytest.fixture(scope="module")
def credentials() -> Iterator[dict[str, str]]:
    """What a worker needs to reach the store."""
    store = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables
    store.stop()


@pytest.fixture(scope="module")
def stored(credentials: dict[str, str], bundle: Bundle) -> Any:
    """The store, with images of the model that are none of its reference images."""
    system = fsspec.filesystem("s3")
    system.mkdir("sets")
    images, labels = bundle.reference()
    for number, (image, label) in enumerate(zip(images[:IMAGES], labels[:IMAGES], strict=True)):
        system.pipe(f"{URL}/{bundle.classes[label]}/{number}.png", png(255 - image))
    system.pipe("s3://sets/open/empty/note.txt", b"no image")
    return system


@pytest.fixture(scope="module")
def audited(start_server: Callable[..., "Server"], credentials: dict[str, str], stored: Any) -> "Server":
    assert stored.exists(URL)
    return start_server(F2AT_DATA="s3://sets/open", F2AT_REPORTS="s3://sets/reports", **credentials)


def test_the_report_is_that_of_an_audit_on_one_s_own_machine(audited: "Server", bundle: Bundle) -> None:
    audit = audited.submit("stored", data=URL, **SHORT)
    assert audit["data"] == URL
    assert "data" not in audit["request"]
    report = audited.finish("stored")
    assert (report["data"]["set_size"], report["data"]["n"]) == (IMAGES, SHORT["samples"])
    assert report["repeat"]["files"][1]["name"] == URL
    own = audit_bundle(bundle.path, AuditRequest(**SHORT), data=URL)
    assert deterministic_part(report) == deterministic_part(own)


def test_reports_are_kept_in_the_store_too(audited: "Server", stored: Any) -> None:
    audited.submit("kept", **SHORT)
    report = audited.finish("kept")
    assert json.loads(stored.cat_file("s3://sets/reports/kept.json")) == report


def test_the_key_of_an_audit_is_for_its_data_too(audited: "Server") -> None:
    audited.submit("keyed", data=URL, **SHORT)
    headers = {"Idempotency-Key": "keyed"}
    again = audited.client.post("/audits", json={"data": f"{URL}/", **SHORT}, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, "keyed")
    other = audited.client.post("/audits", json=SHORT, headers=headers)
    assert (other.status_code, other.json()["argument"]) == (409, "Idempotency-Key")


@pytest.mark.parametrize(
    ("request_", "argument", "detail"),
    [
        ({"data": "s3://sets/closed"}, "data", "data must be a folder of images in s3://sets/open"),
        ({"data": "s3://sets/open/../closed"}, "data", "data must be a folder of images in s3://sets/open"),
        ({"data": URL, "samples": None}, "samples", "samples must be given with data"),
    ],
)
def test_what_a_server_refuses(audited: "Server", request_: dict[str, Any], argument: str, detail: str) -> None:
    for route in ("/audits", "/estimate"):
        answer = audited.client.post(route, json={**SHORT, **request_})
        assert (answer.status_code, answer.json()["argument"]) == (422, argument)
        assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("location", "samples", "reason"),
    [
        ("s3://sets/open/empty", 1, "there are none in s3://sets/open/empty"),
        (URL, IMAGES + 1, f"samples must be at most {IMAGES}, all there are"),
    ],
)
def test_what_only_a_worker_can_know(audited: "Server", location: str, samples: int, reason: str) -> None:
    audit = audited.submit(data=location, **{**SHORT, "samples": samples})
    wait_for(lambda: audited.audit(audit["id"])["state"] not in ("queued", "running"), seconds=60)
    ended = audited.audit(audit["id"])
    assert (ended["state"], reason in ended["error"]) == ("failed", True), ended
