"""One decode worker: what it answers, how it is stopped, and what it leaves behind."""

import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from f2at.images.png import png
from f2at.images.preparation import Preparation
from f2at.serving.decoding.decoder import Decoder, environment
from f2at.serving.problems import Problem
from f2at.serving.settings import Settings
from tests.slow import slow_jpeg

PREPARATION = Preparation((4, 6))
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    limits = {"max_pixels": 17_000_000, "max_request_pixels": 32_000_000}
    decoder = Decoder(Settings(decode_seconds=1, decode_memory=100, **limits))
    decoder.decode([png(PIXELS)], PREPARATION)
    yield decoder
    decoder.stop()


def pid_of(decoder: Decoder) -> int:
    assert decoder._process
    return decoder._process.pid


def refused(decoder: Decoder, *files: bytes) -> dict[str, object]:
    with pytest.raises(Problem) as caught:
        decoder.decode(files, PREPARATION)
    return caught.value.body


def encoded(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def test_pixels_come_back_as_they_are_prepared_here(decoder: Decoder) -> None:
    images = decoder.decode([png(PIXELS), png(PIXELS[::-1])], PREPARATION)
    np.testing.assert_array_equal(images, [PIXELS, PIXELS[::-1]])


def test_refusals_come_back_with_their_reasons(decoder: Decoder) -> None:
    first = pid_of(decoder)
    assert refused(decoder, b"GIF89a..")["type"] == "urn:problem-type:f2at:unsupported-image"
    damaged = refused(decoder, png(PIXELS)[:80])
    assert (damaged["status"], damaged["received"]) == (422, "80 bytes")
    large = refused(decoder, *[encoded(Image.new("1", (4000, 4000)), "PNG")] * 3)
    assert (large["status"], large["accepted"]) == (413, "at most 32000000 pixels in all")
    assert pid_of(decoder) == first


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_needs_too_much_memory_is_refused(decoder: Decoder, form: str) -> None:
    body = refused(decoder, encoded(Image.new("RGBA", (4000, 4100)), form))
    assert (body["status"], body["accepted"]) == (413, "what is decoded in 100 MiB")
    assert decoder.decode([png(PIXELS)], PREPARATION).shape == (1, 4, 6, 3)


def test_at_its_deadline_a_worker_is_stopped_and_replaced(decoder: Decoder) -> None:
    first, begun = pid_of(decoder), time.monotonic()
    body = refused(decoder, slow_jpeg(scans=30_000))
    assert time.monotonic() - begun < 3
    assert (body["status"], body["type"]) == (422, "urn:problem-type:f2at:image-too-slow")
    assert not Path(f"/proc/{first}").exists()
    assert decoder.decode([png(PIXELS)], PREPARATION).shape == (1, 4, 6, 3)


def test_a_worker_that_was_killed_is_replaced(decoder: Decoder) -> None:
    first = pid_of(decoder)
    os.kill(first, signal.SIGKILL)
    assert decoder._process
    decoder._process.wait()
    assert decoder.decode([png(PIXELS)], PREPARATION).shape == (1, 4, 6, 3)
    assert pid_of(decoder) != first


@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_ends_with_the_server_even_while_it_decodes(busy: bool) -> None:
    decoder = Decoder(Settings(decode_seconds=1))
    decoder.start()
    process, connection = decoder._process, decoder._connection
    assert process
    assert connection
    if busy:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("f2at.serving.decoding.frames.receive", lambda _: ({"count": 0}, [b""]))
            decoder.decode([slow_jpeg(scans=30_000)], PREPARATION)
    else:
        decoder.decode([png(PIXELS)], PREPARATION)
    connection.close()
    process.wait(timeout=5)


def test_a_worker_knows_no_secrets() -> None:
    assert environment({"PATH": "/bin", "F2AT_DATABASE_URL": "postgresql://user:secret@host/name"}).keys() == {
        "PATH",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MALLOC_ARENA_MAX",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
    }
