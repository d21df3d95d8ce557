"""Swapping the served model: no request is lost, and no answer names the wrong model."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper

from f2at.audit.reports.report import deterministic_part
from f2at.bundle.format import CLASSIFIER, GRADIENT, SIGNATURE, Bundle, write_bundle
from f2at.images.png import png
from f2at.serving.model.deployment import Record, StateError, choose_model, lock_state, record_path
from f2at.serving.model.store import stored_digests
from f2at.serving.model.swap import BusyError, SwapError, Switch
from f2at.serving.process.files import acquire_lock
from f2at.serving.settings import Settings
from tests.serving.model.test_trial import edited, endless, heavy

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

AUDIT: dict[str, Any] = {"suite": "custom", "attacks": [{"name": "fgsm"}], "samples": 75, "eps": "1/255"}
LONGER: dict[str, Any] = {"eps": "1/255", "samples": 50}


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)


def first_logits(bundle: Bundle, image: np.ndarray) -> np.ndarray:
    logits: np.ndarray = ort.InferenceSession(bundle.files[CLASSIFIER]).run(None, {"images": image[None]})[0][0]
    return logits


def variant(bundle: Bundle, path: Path, *, classifier: bytes | None = None, **manifest: Any) -> Bundle:
    """A changed copy of the bundle, written to `path`."""
    images, labels = bundle.reference()
    return write_bundle(
        path,
        manifest={**bundle.manifest, **manifest},
        classifier=classifier or bundle.files[CLASSIFIER],
        gradient=bundle.files[GRADIENT],
        images=images,
        labels=labels,
    )


def insatiable(classifier: bytes) -> bytes:
    """The same graph, but it needs more memory than any machine has."""
    model = onnx.load_model_from_string(classifier)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["wanted" if name == "logits" else name for name in node.output]
    shape = helper.make_tensor("", TensorProto.INT64, [1], [1 << 50])
    graph.node.extend(
        [
            helper.make_node("Constant", [], ["size"], value=shape),
            helper.make_node("ConstantOfShape", ["size"], ["emptiness"]),
            helper.make_node("ReduceMax", ["emptiness"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["wanted", "nothing"], ["logits"]),
        ]
    )
    return bytes(model.SerializeToString())


# ---- the protocol between the processes of a server, each played by a Switch of its own


@pytest.fixture
def settings(tmp_path: Path, bundle: Bundle) -> Settings:
    state = tmp_path / "state"
    settings = Settings(bundle=bundle.path, state=state, database_url=f"sqlite:///{state}/audits.sqlite", threads=1)
    choose_model(bundle.path, settings)
    return settings


@contextmanager
def running(*settings: Settings) -> Iterator[list[Switch]]:
    switches = [Switch(each) for each in settings]
    for switch in switches:
        switch.start()
    try:
        yield switches
    finally:
        for switch in switches:
            switch.stop()


def test_every_process_serves_the_other_model_when_a_swap_returns(
    settings: Settings, bundle: Bundle, other_bundle: Bundle
) -> None:
    stale = settings.state / "servers" / "4194304-dead"  # of a process that was killed
    stale.parent.mkdir()
    stale.write_text("{}")
    with running(settings, settings) as switches:
        old = weakref.ref(switches[0].deployment.predictor)
        record = switches[1].swap(other_bundle.path)
        assert {switch.deployment.digest for switch in switches} == {other_bundle.digest}
        assert {switch.deployment.audits.digest for switch in switches} == {other_bundle.digest}
        assert [switch.deployment.record for switch in switches] == [record, record]
        assert (record.serving, record.previous, record.candidate) == (other_bundle.digest, bundle.digest, None)
        assert not stale.exists()
        gc.collect()
        assert old() is None  # the previous model has been freed

        assert switches[0].roll_back().serving == bundle.digest
        assert {switch.deployment.digest for switch in switches} == {bundle.digest}
        assert switches[0].swap(bundle.path).since == switches[0].deployment.record.since  # nothing to do


def test_if_one_process_refuses_none_changes(settings: Settings, bundle: Bundle, other_bundle: Bundle) -> None:
    key = Ed25519PrivateKey.generate()
    public = settings.state / "key.pub.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (settings.state / "bundles" / bundle.digest.removeprefix("sha256:") / SIGNATURE).write_bytes(
        key.sign(bundle.manifest_bytes)
    )
    stricter = settings.model_copy(update={"public_key": public})  # will not load the other bundle, which is not signed
    with running(settings, stricter) as switches:
        before = Record.read(record_path(settings))
        with pytest.raises(SwapError, match="not signed"):
            switches[0].swap(other_bundle.path)
        after = Record.read(record_path(settings))
        assert replace(after, revision=before.revision) == before
        assert stored_digests(settings) == [bundle.digest]
        time.sleep(0.5)
        assert {switch.deployment.digest for switch in switches} == {bundle.digest}


def test_one_swap_at_a_time(settings: Settings, other_bundle: Bundle) -> None:
    with running(settings) as [switch]:
        lock = acquire_lock(settings.state / "swap.lock")
        assert lock is not None
        with pytest.raises(BusyError):
            switch.swap(other_bundle.path)
        os.close(lock)
        switch.swap(other_bundle.path)


def test_only_what_may_be_needed_is_kept(settings: Settings, bundle: Bundle, other_bundle: Bundle) -> None:
    third = variant(bundle, settings.state / "third", note="third")
    with running(settings) as [switch]:
        switch.deployment.audits.submit(AUDIT, "of-the-first")
        switch.swap(other_bundle.path)
        assert [path.name for path in switch.models_needing_workers()] == [
            digest.removeprefix("sha256:") for digest in (other_bundle.digest, bundle.digest)
        ]
        switch.swap(third.path)
        assert {*stored_digests(settings)} == {bundle.digest, other_bundle.digest, third.digest}
        audits = switch.deployment.audits
        again, new = audits.submit(AUDIT, "of-the-first")  # retried after the swap: still the same audit
        assert (again["model"], new) == (bundle.digest, False)
        audits.cancel("of-the-first")
        switch.roll_back()
        assert {*stored_digests(settings)} == {other_bundle.digest, third.digest}


def test_a_swap_outlives_restarts_until_another_model_is_configured(
    settings: Settings, bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    with running(settings) as [switch]:
        switch.swap(other_bundle.path)
    assert choose_model(bundle.path, settings).digest == other_bundle.digest
    third = variant(bundle, tmp_path / "third", note="third")
    assert choose_model(third.path, settings).digest == third.digest
    with running(settings) as [switch]:
        assert switch.roll_back().serving == other_bundle.digest
    record_path(settings).write_text("damaged")
    assert choose_model(bundle.path, settings).digest == bundle.digest


def test_a_state_folder_is_one_servers(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    lock_state(settings)
    with pytest.raises(StateError, match="F2AT_STATE"):
        lock_state(settings)


# ---- a real server, of two processes


@dataclass
class Load:
    """Clients that predict without a pause, and compare every answer with the model that it names."""

    url: str
    images: list[bytes]
    expected: dict[str, list[int]]
    seen: set[str] = field(default_factory=set)
    answers: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait(self) -> None:
        """Wait for some more answers."""
        target = self.answers + 40
        wait_for(lambda: self.answers >= target)

    def _run(self) -> None:
        while not self._stop.is_set():
            with httpx.Client(base_url=self.url, timeout=30) as client:  # now and then by a new connection
                for number, image in enumerate(self.images):
                    self._predict(client, number, image)

    def _predict(self, client: httpx.Client, number: int, image: bytes) -> None:
        try:
            response = client.post("/predict", files={"image": image}).raise_for_status()
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return
        answer, digest = response.json(), response.headers["x-model-digest"]
        if answer["model"] != digest or answer["index"] != self.expected[digest][number]:
            self.failures.append(f"image {number} by {digest}: {answer}")
        self.seen.add(digest)
        self.answers += 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, other_bundle: Bundle) -> Path:
    """F2AT_BUNDLES: good bundles and bad ones."""
    folder = tmp_path_factory.mktemp("models")
    for each, name in ((bundle, "one"), (other_bundle, "two"), (other_bundle, "altered")):
        shutil.copytree(each.path, folder / name)
    classifier = bytearray(other_bundle.files[CLASSIFIER])
    classifier[-100] ^= 1
    (folder / "altered" / CLASSIFIER).write_bytes(classifier)
    variant(bundle, folder / "renamed", classes=[f"other {k}" for k in range(10)])
    variant(bundle, folder / "insatiable", classifier=insatiable(bundle.files[CLASSIFIER]))
    edited(bundle, folder / "endless", endless)
    heavy(bundle, folder / "heavy", 1100)
    return folder


@pytest.fixture(scope="module")
def pair(start_server: Callable[..., "Server"], folder: Path) -> "Server":
    """A server with two processes, whose model may be swapped."""
    settings = {"F2AT_BUNDLES": str(folder), "F2AT_RATE": "0", "F2AT_SWAP_SECONDS": "15"}
    return start_server(BENTOML_CONFIG_OPTIONS="services.f2at.workers=2", **settings)


def swap(server: "Server", **body: Any) -> httpx.Response:
    return server.client.post("/model", json=body, timeout=60)


def served(server: "Server") -> set[str]:
    """The digests served on new connections, to any process."""
    return {httpx.get(f"{server.url}/model").headers["x-model-digest"] for _ in range(12)}


def test_a_swap_under_load_loses_no_request(pair: "Server", bundle: Bundle, other_bundle: Bundle) -> None:
    images = bundle.reference()[0][:20]
    expected = {
        each.digest: [int(first_logits(each, image).argmax()) for image in images] for each in (bundle, other_bundle)
    }
    assert expected[bundle.digest] != expected[other_bundle.digest]
    with Load(pair.url, [png(image) for image in images], expected) as load:
        load.wait()
        for body, digest, previous in (
            ({"bundle": "two"}, other_bundle.digest, bundle.digest),
            ({"rollback": True}, bundle.digest, other_bundle.digest),
            ({"bundle": "two"}, other_bundle.digest, bundle.digest),
            ({"bundle": "one"}, bundle.digest, other_bundle.digest),
        ):
            response = swap(pair, **body)
            assert response.status_code == 200, response.text
            assert response.headers["x-model-digest"] == response.json()["digest"] == digest
            assert response.json()["previous"] == previous
            assert served(pair) == {digest}
            load.wait()
    assert load.failures == []
    assert load.seen == {bundle.digest, other_bundle.digest}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"bundle": "altered"}, "is not the file the manifest describes"),
        ({"bundle": "renamed"}, "must have the classes of the bundle"),
        ({"bundle": "insatiable"}, "cannot be loaded and run"),
        ({"bundle": "endless"}, "which F2AT_SWAP_SECONDS allows"),
        ({"bundle": "heavy"}, "are read at the most"),
        ({"bundle": "missing"}, "no such folder"),
        ({"bundle": "../one"}, "name of a folder"),
        ({"bundle": 1}, "name of a folder"),
        ({"bundle": "one", "force": True}, "The body must be"),
        ({"rollback": False}, "The body must be"),
        ({}, "The body must be"),
    ],
)
def test_a_model_that_cannot_serve_is_refused(
    pair: "Server", bundle: Bundle, body: dict[str, Any], reason: str
) -> None:
    swap(pair, bundle="one").raise_for_status()
    response = swap(pair, **body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert reason in response.json()["detail"]
    assert served(pair) == {bundle.digest}
    if response.json()["type"].endswith("model-refused"):
        assert reason in pair.text().split("the new model was refused")[-1]


def test_only_this_machine_swaps_models(pair: "Server") -> None:
    elsewhere = {"Host": "evil.example"}
    assert pair.client.post("/model", json={"bundle": "two"}, headers=elsewhere).status_code == 403
    assert pair.client.post("/model", content=b'{"bundle": "two"}').status_code == 415  # another site's form
    assert pair.client.get("/model", headers=elsewhere).status_code == 200


def test_a_server_without_a_folder_of_bundles_takes_none(server: "Server") -> None:
    response = swap(server, bundle="one")
    assert response.status_code == 422
    assert "F2AT_BUNDLES" in response.json()["detail"]


def test_audits_end_on_the_model_that_they_were_asked_for(pair: "Server", bundle: Bundle, other_bundle: Bundle) -> None:
    swap(pair, bundle="one").raise_for_status()
    undisturbed = pair.finish(pair.submit(**AUDIT)["id"])
    under_way = pair.submit(**LONGER)["id"]
    pair.wait_for_step(under_way, 1)
    queued = pair.submit(**AUDIT)["id"]
    swap(pair, bundle="two").raise_for_status()
    on_the_new = pair.submit(**AUDIT)["id"]

    reports = {name: pair.finish(name) for name in (on_the_new, under_way, queued)}
    digests = {name: report["model"]["digest"] for name, report in reports.items()}
    assert digests == {on_the_new: other_bundle.digest, under_way: bundle.digest, queued: bundle.digest}
    same = [json.dumps(deterministic_part(report), sort_keys=True) for report in (undisturbed, reports[queued])]
    assert same[0] == same[1]
    wait_for(lambda: len(pair.workers()) == 1)


def test_hangup_reads_the_configured_bundle_again(
    start_server: Callable[..., "Server"], folder: Path, bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    current = tmp_path / "current"

    def point_to(name: str) -> None:
        current.unlink(missing_ok=True)
        current.symlink_to(folder / name)

    point_to("one")
    server = start_server(F2AT_BUNDLE=str(current), F2AT_WORKER="off", F2AT_BUNDLES=str(folder))
    family = server.processes()
    point_to("two")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: served(server) == {other_bundle.digest})
    assert server.processes() == family  # nothing was restarted

    point_to("altered")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the new model was refused" in server.text())
    assert served(server) == {other_bundle.digest}

    point_to("two")
    swap(server, bundle="one").raise_for_status()
    server.stop()
    server.start()
    assert served(server) == {bundle.digest}  # swapped in while "two" was configured, as it still is
    second = subprocess.run(
        [sys.executable, "-m", "f2at", "serve", str(folder / "one"), "--port", "0"],
        env=server.environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode != 0
    assert "another server is running on" in second.stderr
    server.stop()
