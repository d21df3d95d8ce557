"""An endpoint as a target of attacks: its answers are all there is to go by."""

import json
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.audit.endpoint.address import EndpointError
from f2at.audit.endpoint.answers import Answer, Reading
from f2at.audit.endpoint.connection import Server
from f2at.audit.endpoint.limits import Limits
from f2at.audit.endpoint.protocols import Interface
from f2at.images.pixels import Images, to_images


class Asking:
    """Asks an endpoint about images, several requests at a time, within its limits.

    Args:
        server: where it is.
        interface: the protocol that it speaks.
        limits: how often it may be asked.
        connections: the most requests at a time.
    """

    def __init__(self, server: Server, interface: Interface, limits: Limits, *, connections: int = 4) -> None:
        if connections < 1:
            raise ValueError(f"connections must be at least 1; got {connections}")
        self.server, self.interface, self.limits, self.connections = server, interface, limits, connections
        # Requests of more images than may leave in a second would come in bursts.
        rate = limits.rate or float("inf")
        self.batch = interface.batch if interface.filled else int(max(1, min(interface.batch, rate)))
        self._pool = ThreadPoolExecutor(connections, "endpoint")

    def __call__(self, images: Images) -> list[Answer]:
        """An answer for each of images uint8 (N, H, W, 3).

        Raises:
            EndpointError: the endpoint does not answer, or not what can be read.
        """
        chunks = [images[start : start + self.batch] for start in range(0, len(images), self.batch)]
        if len(chunks) == 1:
            return self._ask(chunks[0])
        futures: list[Future[list[Answer]]] = []
        try:
            futures.extend(self._pool.submit(self._ask, chunk) for chunk in chunks)
            return [answer for future in futures for answer in _result(future)]
        except KeyboardInterrupt:
            self.server.give_up()  # or the process would wait for its threads to lose their patience
            raise
        finally:
            for future in futures:
                future.cancel()

    def _ask(self, images: Images) -> list[Answer]:
        count = len(images)
        if self.interface.filled:
            images = np.concatenate([images, np.repeat(images[-1:], self.batch - count, axis=0)])
        address, body, kind = self.interface.message(images)
        reply = self.server.send("POST", address, body, kind, before=lambda: self.limits.take(len(images)))
        if not 200 <= reply.status < 300:
            raise self.server.refusal(address, reply)
        try:
            value = json.loads(reply.body)
        except (ValueError, RecursionError):
            quoted = self.server.quoted(reply.body)
            raise EndpointError(f"{address} must answer with JSON; it answers {quoted}") from None
        return self.interface.answers(value, len(images))[:count]


def _result(future: Future[list[Answer]]) -> list[Answer]:
    """What it gives, waited for in pieces: a signal that comes just before a wait is seen only at the wait's end."""
    while not wait([future], timeout=1).done:
        pass
    return future.result()


class EndpointTarget:
    """A classifier behind HTTP; inputs are snapped to the uint8 grid, see `f2at.attacks.target.Target`."""

    gradients = False

    def __init__(self, asking: Asking, reading: Reading) -> None:
        self.asking, self.reading = asking, reading
        self.classes = len(reading.classes)
        self.scores = reading.scores != "labels"
        self.forwards_at_once = asking.batch * asking.connections

    @property
    def queries(self) -> Limits:
        """How many images were sent, and may be."""
        return self.asking.limits

    def logits(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Logits (N, C), as far as the endpoint's answers tell."""
        return np.stack([self.reading.logits(answer) for answer in self.asking(to_images(inputs))])

    def gradient(self, *_: Any) -> Any:
        """Raises ValueError: there are none."""
        raise ValueError("an endpoint has no gradients: use attacks that need none, or a surrogate model")
