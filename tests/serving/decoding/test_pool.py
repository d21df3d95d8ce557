"""The pool: small files stay here, slow ones hold up nobody else, and a client that leaves frees no busy worker."""

import asyncio
import io
import time

import numpy as np
import pytest
from PIL import Image

from f2at.images.png import png
from f2at.images.preparation import Preparation
from f2at.serving.decoding.pool import Decoders
from f2at.serving.problems import Problem
from f2at.serving.settings import Settings
from tests.slow import slow_jpeg

PREPARATION = Preparation((4, 6))


def photograph() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (900, 800), "navy").save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def test_small_files_are_decoded_where_they_are_needed() -> None:
    async def decode() -> np.ndarray:
        decoders = Decoders(Settings())
        pictures = await decoders.decode([png(np.ones((4, 6, 3), np.uint8))], PREPARATION, "a")
        assert not decoders._all
        return pictures()

    assert asyncio.run(decode()).sum() == 72


def test_slow_files_hold_up_nobody_else() -> None:
    slow, photo = slow_jpeg(), photograph()

    async def race() -> None:
        decoders = Decoders(Settings(decode_seconds=1, decoders=3))
        decoders.start()
        try:
            for client in ("good", "evil"):
                await decoders.decode([photo], PREPARATION, client)  # the workers are up
            attack = [asyncio.create_task(decoders.decode([slow], PREPARATION, "evil")) for _ in range(4)]
            await asyncio.sleep(0.1)
            seconds: list[float] = []
            while not all(task.done() for task in attack):
                begun = time.monotonic()
                pictures = await decoders.decode([photo], PREPARATION, "evil" if len(seconds) % 2 else "good")
                assert pictures().shape == (1, 4, 6, 3)
                seconds.append(time.monotonic() - begun)
            assert max(seconds) < 1
            problems = [task.exception() for task in attack]
            assert {problem.status for problem in problems if isinstance(problem, Problem)} == {422, 503}
        finally:
            decoders.stop()

    asyncio.run(race())


def test_a_client_that_leaves_frees_no_worker_that_is_busy() -> None:
    async def leave() -> None:
        decoders = Decoders(Settings(decode_seconds=1, decoders=1))
        decoders.start()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await decoders.decode([slow_jpeg()], PREPARATION, "evil")
            assert len(decoders._turns) == 1
            await decoders.decode([photograph()], PREPARATION, "good")
            assert len(decoders._turns) == 0
            assert len(decoders._idle) == 1
        finally:
            decoders.stop()

    asyncio.run(leave())
