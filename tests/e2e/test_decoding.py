"""Images that take long or much memory to decode, while other clients are served."""

import io
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from PIL import Image

from f2at.bundle.format import Bundle
from f2at.images.png import png
from tests.e2e.attack import IMAGE, STRANGER, limited_memory, memory_rise_below, others
from tests.processes import processor_seconds, running
from tests.slow import slow_jpeg

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def attacked(start_server: Callable[..., "Server"]) -> Iterator["Server"]:
    """A server that gives a decode a second."""
    with limited_memory() as prefix:
        server = start_server(prefix=prefix, F2AT_DECODE_SECONDS="1", F2AT_DECODERS="3", F2AT_WORKER="off")
        yield server
        server.stop()


def photograph() -> bytes:
    """Ordinary, but not for the server process."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((800, 600)).convert("RGB").save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def decoders(server: "Server") -> set[int]:
    marked = set()
    for pid in server.processes():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"f2at.serving.decoding.worker" in command:
            marked.add(pid)
    return marked


def lost(server: "Server") -> int:
    """How many decode workers were killed at their deadline."""
    counts = re.findall(r'f2at_decoders_lost_total\{reason="deadline"\} (\d+)', server.client.get("/metrics").text)
    return int(counts[0]) if counts else 0


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("address", [STRANGER, "127.0.0.1"])  # the others' own: even one's own slow files do no harm
def test_files_that_take_minutes(attacked: "Server", bundle: Bundle, address: str, small: bool) -> None:
    slow = slow_jpeg(scans=30_000)
    attacked.client.post("/predict", content=photograph(), headers=IMAGE).raise_for_status()
    before = lost(attacked)

    def attack(_: int) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=30) as client:
            return client.post(f"{attacked.url}/predict", content=slow, headers=IMAGE)

    image = png(bundle.reference()[0][0]) if small else photograph()
    with memory_rise_below(200, attacked), others(attacked, image), ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(attack, range(8)))
    statuses = {answer.status_code for answer in answers}
    assert 422 in statuses <= {422, 503}
    assert {answer.json()["type"] for answer in answers if answer.status_code == 422} == {
        "urn:problem-type:f2at:image-too-slow"
    }
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)
    assert lost(attacked) - before == sum(answer.status_code == 422 for answer in answers)
    assert 1 <= len(decoders(attacked)) <= 3


def test_batches_of_very_many_pixels(attacked: "Server", bundle: Bundle) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (4000, 4000)).save(buffer, "PNG")
    files = [("images", buffer.getvalue())] * 32

    over = time.monotonic() + 2

    def attack(_: int) -> Iterator[httpx.Response]:
        while time.monotonic() < over:
            yield httpx.post(f"{attacked.url}/predict_batch", files=files, timeout=30)

    before = sum(processor_seconds(pid) for pid in decoders(attacked))
    with (
        memory_rise_below(200, attacked),
        others(attacked, png(bundle.reference()[0][0])),
        ThreadPoolExecutor(2) as pool,
    ):
        answers = [answer for some in pool.map(lambda number: list(attack(number)), range(2)) for answer in some]
    for answer in answers:
        assert answer.status_code == 413
        assert answer.json()["accepted"] == "at most 64000000 pixels in all"
    # One of these images takes half a second; the headers of all of them take milliseconds.
    assert (sum(processor_seconds(pid) for pid in decoders(attacked)) - before) / len(answers) < 0.1


def test_large_images_of_every_kind(attacked: "Server") -> None:
    """Those that take the most of what is accepted, and of what is refused."""
    alpha, grey = Image.new("RGBA", (4000, 4000), (9, 9, 9, 9)), Image.fromarray(np.zeros((4000, 4000), np.uint16))
    cases = [(alpha, "PNG", 200), (grey, "PNG", 200), (alpha.resize((3200, 3200)), "WEBP", 200), (alpha, "WEBP", 413)]
    with memory_rise_below(200, attacked):
        for image, form, status in cases:
            buffer = io.BytesIO()
            image.save(buffer, form, **({"method": 0} if form == "WEBP" else {}))
            answer = attacked.client.post("/predict", content=buffer.getvalue(), headers=IMAGE)
            slow = answer.json().get("title") == "Image too slow"  # for a machine that is busy
            assert answer.status_code == status or slow, answer.text


def test_decoders_end_with_a_server_that_is_killed(attacked: "Server") -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(httpx.post, f"{attacked.url}/predict", content=slow_jpeg(), headers=IMAGE)
        time.sleep(0.5)
        own = decoders(attacked)
        assert own
        for pid in set(attacked.processes()) - own:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in own):
        assert time.monotonic() < deadline
        time.sleep(0.1)
