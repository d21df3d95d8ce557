"""Real servers on free ports, with a real bundle: a small network with random weights, exported."""

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from f2at.bundle.format import Bundle, write_bundle
from f2at.serving.process.launch import launch
from tests.e2e.browser import CHROMIUM, DESK, MOST

REPOSITORY = Path(__file__).parents[2]
SERVICE = "f2at.serving.service:RobustClassifier"


class Server:
    """One `bentoml serve` process group; every server has its own state folder and BENTOML_HOME."""

    def __init__(
        self, folder: Path, bundle: Path, *, target: str, cwd: Path, prefix: Sequence[str] = (), **environment: str
    ) -> None:
        self.folder = folder
        self.prefix = prefix  # of the command
        self.target = target
        self.cwd = cwd
        self.environment = {
            **os.environ,
            "BENTOML_HOME": str(folder / "bentoml"),
            "F2AT_BUNDLE": str(bundle),
            "F2AT_STATE": str(folder / "state"),
            "F2AT_AUDIT_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.start()

    def start(self) -> None:
        """Start and wait until it is ready."""
        command = ["-m", "bentoml", "serve", self.target, "--port", "{port}", "--host", "127.0.0.1"]
        self._server = launch(
            [*self.prefix, sys.executable, *command],
            cwd=self.cwd,
            environment=self.environment,
            log=self.folder / "log",
            patience=60,
        )
        self.process, self.url = self._server.process, self._server.url
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the server with a signal; none of its processes may have to be killed."""
        assert self._server.stop(number, patience=30)
        self.client.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        port = self.client.base_url.port
        assert port is not None
        return port

    def processes(self) -> list[int]:
        """The server's process and all below it."""
        return _family(self.process.pid)

    def workers(self) -> list[int]:
        """The process ids of the audit workers: one a model that has audits, or is served."""
        return [pid for pid in self.processes() if b"\0worker\0" in _command(pid)]

    def worker(self) -> int:
        """The process id of the audit worker, the only one."""
        [worker] = self.workers()
        return worker

    def text(self) -> str:
        """What the server logged so far."""
        return (self.folder / "log").read_text()

    def predict(self, image: np.ndarray) -> dict[str, Any]:
        """The answer for an image, sent as PNG."""
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        answer: dict[str, Any] = self.client.post("/predict", files={"image": buffer.getvalue()}).json()
        return answer

    def submit(self, key: str | None = None, **request: Any) -> dict[str, Any]:
        """Start an audit."""
        headers = {} if key is None else {"Idempotency-Key": key}
        response = self.client.post("/audits", json=request, headers=headers)
        assert response.status_code == 202, response.text
        audit: dict[str, Any] = response.json()
        return audit

    def audit(self, identifier: str) -> dict[str, Any]:
        """Look at an audit."""
        audit: dict[str, Any] = self.client.get(f"/audits/{identifier}").raise_for_status().json()
        return audit

    def finish(self, identifier: str, seconds: float = 120) -> dict[str, Any]:
        """Wait for an audit to end and return its report."""
        wait_for(lambda: self.audit(identifier)["state"] not in ("queued", "running"), seconds=seconds)
        assert self.audit(identifier)["state"] == "done", self.audit(identifier)
        report: dict[str, Any] = self.client.get(f"/audits/{identifier}/report").raise_for_status().json()
        return report

    def wait_for_step(self, identifier: str, step: int) -> dict[str, Any]:
        """Wait until an audit that is running has finished `step` steps."""

        def there() -> bool:
            audit = self.audit(identifier)
            assert audit["state"] in ("queued", "running"), audit
            return bool(audit["state"] == "running" and (audit["progress"] or {"done": 0})["done"] >= step)

        wait_for(there, seconds=120)
        return self.audit(identifier)


def wait_for(condition: Callable[[], object], *, seconds: float) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.1)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _family(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(child))]


def random_bundle(path: Path, seed: int) -> Bundle:
    """A narrow ResNet-18 with random weights; its own answers are the labels, so clean accuracy is 1."""
    import torch

    from f2at.attacks.objectives import OBJECTIVES
    from f2at.export.graphs import export_graphs
    from f2at.models import create_model

    torch.manual_seed(seed)
    model = create_model("resnet18", classes=10, width=8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).eval()
    blocks = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    images = blocks.repeat(4, axis=1).repeat(4, axis=2)
    with torch.no_grad():
        labels = model(torch.tensor(images).permute(0, 3, 1, 2).float() / 255).argmax(1).numpy()
    classifier, gradient = export_graphs(model, (16, 16))
    manifest = {"classes": [f"class {k}" for k in range(10)], "input_size": [16, 16], "objectives": list(OBJECTIVES)}
    return write_bundle(path, manifest=manifest, classifier=classifier, gradient=gradient, images=images, labels=labels)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What most servers serve."""
    return random_bundle(tmp_path_factory.mktemp("bundles") / "random", 0)


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another model of the same classes and images."""
    return random_bundle(tmp_path_factory.mktemp("bundles") / "other", 1)


@contextmanager
def _servers(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:

        def start(
            target: str = SERVICE, cwd: Path = REPOSITORY, prefix: Sequence[str] = (), **environment: str
        ) -> Server:
            folder = tmp_path_factory.mktemp("server")
            server = Server(folder, bundle.path, target=target, cwd=cwd, prefix=prefix, **environment)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def start_server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server with a state folder and environment of its own; stopped with the module, if still running.

    A server that is left idle still polls its database, so ten of them would slow down all tests that follow.
    """
    with _servers(bundle, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server most tests share."""
    with _servers(bundle, tmp_path_factory) as start:
        yield start()


@pytest.fixture(scope="module")
def narrow_server(start_server: Callable[..., Server]) -> Server:
    """A server where two predictions may wait and two audits, which never run."""
    return start_server(F2AT_MAX_PENDING="2", F2AT_MAX_AUDITS="2", F2AT_WORKER="off")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path; Debian's package has it")
    with sync_playwright() as playwright:
        # Chromium refuses to sandbox itself for root, which continuous integration runs as.
        sandbox = [] if os.getuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window that reports every failure and sends requests only to the server under test."""
    window = browser.new_page(viewport={"width": DESK[0], "height": DESK[1]})
    window.set_default_timeout(MOST)
    expect.set_options(timeout=MOST)
    errors: list[str] = []
    hosts: set[str] = set()
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.on("request", lambda request: hosts.add(request.url.split("/")[2].partition(":")[0]))
    yield window
    window.close()
    assert errors == []
    assert hosts <= {"127.0.0.1", ""}
