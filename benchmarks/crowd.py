"""Load from many clients: how 500 open connections, and an overload of requests, affect the requests that are answered.

Overload is 200 clients that each ask again as soon as they are answered, refused or not; a polite client would wait as
`Retry-After` says. The service limits the queue (F2AT_MAX_PENDING), which bounds how long an accepted request waits.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import markdown_table, parser, publish
from benchmarks.serving import served
from f2at.bundle.format import load_bundle
from f2at.images.png import png

HEALTHY = 4  # clients
CROWD = 200
IDLE = 250  # connections
SLOW = 250  # clients that send one byte per second


@dataclass
class Answers:
    """Seconds of the requests by status, and how many of the refusals had a Retry-After."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    retry_after: int = 0

    def row(self, name: str) -> list[str]:
        """A row of the table."""
        counts = Counter({status: len(times) for status, times in self.seconds.items()})
        cuts = statistics.quantiles(self.seconds.get(200, [0, 0]), n=100)
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(counts.items()))
        refused = counts.total() - counts[200]
        retry_after = f"{self.retry_after} of {refused}" if refused else ""
        return [name, f"{1000 * cuts[49]:.1f}", f"{1000 * cuts[98]:.1f}", statuses, retry_after]


async def ask(port: int, request: bytes, answers: Answers, until: float) -> None:
    """Send requests on one connection, one after another."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        started = time.monotonic()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r")[0]))
        status = int(head.split()[1])
        answers.seconds.setdefault(status, []).append(time.monotonic() - started)
        answers.retry_after += status != 200 and "retry-after:" in head
    writer.close()


async def dawdle(port: int, request: bytes) -> None:
    """Send a request byte by byte."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in request:
        writer.write(bytes([byte]))
        await asyncio.sleep(1)


async def phase(port: int, requests: Sequence[bytes], seconds: float) -> list[Answers]:
    """Run one client per request, all at once; return the answers of each."""
    answers = [Answers() for _ in requests]
    until = time.monotonic() + seconds
    await asyncio.gather(*(ask(port, *each, until) for each in zip(requests, answers, strict=True)))
    return answers


def together(parts: Sequence[Answers]) -> Answers:
    """The answers of several clients as one's."""
    whole = Answers(retry_after=sum(part.retry_after for part in parts))
    for part in parts:
        for status, times in part.seconds.items():
            whole.seconds.setdefault(status, []).extend(times)
    return whole


async def measure(port: int, image: bytes, seconds: float) -> list[list[str]]:
    """The rows of the table."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(image)}\r\n\r\n"
    )
    predict, live = head.encode() + image, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await phase(port, [predict] * HEALTHY, 1)
    rows = [together(await phase(port, [predict] * HEALTHY, seconds)).row(f"{HEALTHY} clients")]
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(IDLE)]
    slow = [asyncio.create_task(dawdle(port, predict)) for _ in range(SLOW)]
    await asyncio.sleep(2)
    crowded = together(await phase(port, [predict] * HEALTHY, seconds))
    rows.append(
        crowded.row(f"{HEALTHY} clients, beside {IDLE} idle connections and {SLOW} that send one byte per second")
    )
    for _, writer in idle:
        writer.close()
    for task in slow:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    *parts, probe = await phase(port, [predict] * CROWD + [live], seconds)
    rows += [together(parts).row(f"{CROWD} clients"), probe.row("beside them, `GET /livez`")]
    return rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    arguments.add_argument("--seconds", type=float, default=10, help="of each phase (default: %(default)s)")
    options = arguments.parse_args()
    image = png(load_bundle(options.bundle).reference()[0][0])
    with served(options.bundle) as (client, _):
        assert client.base_url.port is not None
        rows = asyncio.run(measure(client.base_url.port, image, options.seconds))
    body = "\n".join(
        [
            f"One server process on loopback, the clients on the same cores, {options.seconds:.0f} s each. Clients ask "
            "again at once, refused or not.",
            "",
            markdown_table(["who", "p50 of 200s, ms", "p99 of 200s, ms", "answers", "refusals with Retry-After"], rows),
        ]
    )
    packages = ["bentoml", "uvicorn", "uvloop", "onnxruntime-gpu", "onnxruntime"]
    publish("crowd", f"python -m benchmarks.crowd {options.bundle}", body, packages, write=options.write)


if __name__ == "__main__":
    main()
