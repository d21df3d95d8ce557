"""Whose images are decoded next: clients take turns, none gets every worker, and heavy files get half of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from f2at.serving.decoding.cost import Cost
from f2at.serving.problems import Problem


@dataclass(frozen=True, eq=False)
class Turn:
    """A request that waits for a worker, or has one.

    Attributes:
        client: whom limits count for.
        cost: of its files.
        begin: called when it gets a worker.
    """

    client: str
    cost: Cost
    begin: Callable[[], None]


class Turns:
    """Hands `workers` workers out.

    Each next worker goes to the client that has the fewest, of these to the one that got one the longest ago, and to
    its oldest request that may have one. A client may have all workers but one, heavy requests half of them in all.

    Args:
        workers: how many there are.
        most: requests that wait or have a worker; of one client half of that.
    """

    def __init__(self, workers: int, most: int) -> None:
        self._workers, self._most = workers, most
        self._waiting: dict[str, list[Turn]] = {}
        self._running = Counter[str]()
        self._last: dict[str, int] = {}  # of clients that are here, the number of their last turn
        self._begun = 0
        self._heavy = 0

    def __len__(self) -> int:
        return self._running.total() + sum(map(len, self._waiting.values()))

    def join(self, turn: Turn) -> None:
        """Wait for a worker, which may be there at once.

        Raises:
            Problem: 429 the client has too many requests here, 503 all clients together have.
        """
        own = self._running[turn.client] + len(self._waiting.get(turn.client, ()))
        most = max(1, self._most // 2)
        if own >= most:
            raise Problem(
                429,
                "too-many-requests",
                "Too many of your images are waiting to be decoded; try again in a second.",
                argument="image",
                accepted=f"images of at most {most} requests at a time",
                received="another request",
                headers={"Retry-After": "1"},
            )
        if len(self) >= self._most:
            raise overloaded()
        self._waiting.setdefault(turn.client, []).append(turn)
        self._begin()

    def leave(self, turn: Turn) -> None:
        """Give the worker back, or wait no longer."""
        if turn in self._waiting.get(turn.client, ()):
            self._remove(turn)
        else:
            self._running[turn.client] -= 1
            self._heavy -= turn.cost is Cost.HEAVY
            self._begin()
        if not self._running[turn.client]:
            del self._running[turn.client]
            if turn.client not in self._waiting:
                self._last.pop(turn.client, None)

    def _begin(self) -> None:
        while turn := self._next():
            self._remove(turn)
            self._begun += 1
            self._last[turn.client] = self._begun
            self._running[turn.client] += 1
            self._heavy += turn.cost is Cost.HEAVY
            turn.begin()

    def _next(self) -> Turn | None:
        if self._running.total() >= self._workers:
            return None
        heavy = self._heavy < max(1, self._workers // 2)
        for client in sorted(self._waiting, key=lambda client: (self._running[client], self._last.get(client, 0))):
            if self._running[client] >= max(1, self._workers - 1):
                return None
            for turn in self._waiting[client]:
                if heavy or turn.cost is not Cost.HEAVY:
                    return turn
        return None

    def _remove(self, turn: Turn) -> None:
        self._waiting[turn.client].remove(turn)
        if not self._waiting[turn.client]:
            del self._waiting[turn.client]


def overloaded() -> Problem:
    """For a request that waits for a worker too long, or would."""
    return Problem(
        503,
        "overloaded",
        "Too many images are waiting to be decoded; try again in a second.",
        headers={"Retry-After": "1"},
    )
