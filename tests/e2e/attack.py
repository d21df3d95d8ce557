"""A server under attack: its memory is limited as where it is deployed, and others are served all the while."""

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import yaml

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

REPOSITORY = Path(__file__).parents[2]
STRANGER = "127.0.0.2"
IMAGE = {"Content-Type": "image/png"}  # or any other


@contextmanager
def limited_memory() -> Iterator[list[str]]:
    """What to put before a command so that it gets as much memory as deploy/kubernetes gives a server, and no more."""
    deployment, *_ = yaml.safe_load_all((REPOSITORY / "deploy" / "kubernetes" / "server.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    for parent, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent) / f"f2at-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:  # there are none, or not for this user
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(1 << 30))
                yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
                return
        finally:
            group.rmdir()
    yield []


@contextmanager
def others(server: "Server", image: bytes) -> Iterator[None]:
    """Other clients all the while: each is answered, and all but the slowest of a hundred within a second.

    That is a second beyond what the slowest of a hundred take before, if the machine is busy with something else.
    """
    seconds: dict[str, list[float]] = {"/predict": [], "/livez": []}
    wrong: list[object] = []
    over = threading.Event()

    def ask(path: str) -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while not over.wait(0.01):
                begun = time.monotonic()
                try:
                    answer = client.get(path) if path == "/livez" else client.post(path, content=image, headers=IMAGE)
                    if answer.status_code != 200:
                        wrong.append(answer.text)
                except httpx.TransportError as error:
                    wrong.append(error)
                seconds[path].append(time.monotonic() - begun)

    threads = [threading.Thread(target=ask, args=[path]) for path in ("/predict", "/predict", "/livez")]
    for thread in threads:
        thread.start()
    try:
        while not (all(len(times) > 30 for times in seconds.values()) or wrong):
            time.sleep(0.05)
        before = {path: np.quantile(times, 0.99) for path, times in seconds.items()}
        for times in seconds.values():
            times.clear()
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    for path, times in seconds.items():
        assert len(times) > 30
        assert np.quantile(times, 0.99) < 1 + before[path]


@contextmanager
def memory_rise_below(megabytes: float, server: "Server") -> Iterator[None]:
    """What the server's processes occupy together, also those that are killed, rises by less than that."""
    rest, over = _occupied(server), threading.Event()
    most = rest

    def look() -> None:
        nonlocal most
        while not over.wait(0.03):
            most = max(most, _occupied(server))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert rest > 100  # or nothing was read
    assert most - rest < megabytes, f"{rest:.0f} MB at rest, {most:.0f} MB at most"


def _occupied(server: "Server") -> float:
    """Megabytes of all processes: what each has for itself, and the files, which they share, once."""
    total, files = 0, 0
    for pid in server.processes():
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # it has ended
            continue
        status = {name: int(value) for name, value in re.findall(r"(\w+):\s+(\d+) kB", text)}
        if status:
            total += status["RssAnon"]
            files = max(files, status["RssFile"])
    return (total + files) * 1024 / 1e6
