"""The decoders of a server process, and the way of a request's files through them."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from f2at.images.preparation import Preparation
from f2at.serving.decoding.cost import Cost, cost_of
from f2at.serving.decoding.decoder import Decoder
from f2at.serving.decoding.refusals import decode_images
from f2at.serving.decoding.turns import Turn, Turns, overloaded
from f2at.serving.process.metrics import DECODING
from f2at.serving.settings import Settings

_FIRST = 2  # one of them can have a heavy file
Pictures = Callable[[], NDArray[np.uint8]]


class Decoders:
    """Up to F2AT_DECODERS processes, most of them started when they are first needed; for one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turns = Turns(settings.decoders, settings.max_pending)
        self._threads = ThreadPoolExecutor(settings.decoders, thread_name_prefix="decode")
        self._all: list[Decoder] = []
        self._idle: list[Decoder] = []  # those that have just been started first
        # How long a request may wait for a worker: one that a heavy file has is free after half of this.
        self._patience = 2 * settings.decode_seconds

    def start(self) -> None:
        """Start the first workers, so that they are there when they are needed."""
        self._all = [Decoder(self._settings) for _ in range(min(_FIRST, self._settings.decoders))]
        self._idle = [*self._all]
        for decoder in self._all:
            decoder.start()

    def stop(self) -> None:
        """End all workers."""
        for decoder in self._all:
            decoder.stop()
        self._threads.shutdown(wait=False)

    async def decode(self, files: Sequence[bytes], preparation: Preparation, client: str) -> Pictures:
        """Decode the image files of a request of `client`.

        Returns:
            Gives the pixels, uint8 (N, H, W, 3), prepared for the model. What is cheap for certain is only decoded
            then, by the caller's thread, and may raise the same problems.

        Raises:
            Problem: as `Decoder.decode`, and 429 or 503 when too many requests wait.
        """
        cost = cost_of(files, preparation)
        if cost is Cost.SMALL:
            settings = self._settings
            limits = {"max_pixels": settings.max_pixels, "max_total": settings.max_request_pixels}
            return partial(decode_images, files, preparation, **limits)
        begun = asyncio.Event()
        turn = Turn(client, cost, begun.set)
        self._turns.join(turn)
        DECODING.inc()
        try:
            async with asyncio.timeout(self._patience):
                await begun.wait()
        except TimeoutError:
            self._leave(turn)
            raise overloaded() from None
        except asyncio.CancelledError:
            self._leave(turn)
            raise
        # Shielded: a client that leaves does not free the worker.
        work = asyncio.ensure_future(self._work(turn, files, preparation))
        # Its error is raised here, unless the client has left: then it is looked at all the same.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        images = await asyncio.shield(work)
        return lambda: images

    async def _work(self, turn: Turn, files: Sequence[bytes], preparation: Preparation) -> NDArray[np.uint8]:
        if self._idle:
            # A heavy file takes its time anyway, so it gets one that may not be ready yet.
            decoder = self._idle.pop(0 if turn.cost is Cost.HEAVY else -1)
        else:
            self._all.append(decoder := Decoder(self._settings))
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, decoder.decode, files, preparation)
        finally:
            self._idle.insert(len(self._idle) if decoder.proven else 0, decoder)
            self._leave(turn)

    def _leave(self, turn: Turn) -> None:
        DECODING.dec()
        self._turns.leave(turn)
