"""What it costs a prediction that images are decoded where they can be stopped: in worker processes, or in the server.

Without HTTP, which costs the same either way: from the pieces of a body to the answer, as the service does it. Each
request joins a file of its own of them: one that is decoded again and again would stay in the processor's cache, which
favours whoever does not copy it, and which nobody's files do.
"""

import asyncio
import io
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import interleaved, markdown_table, parser, publish, ratio
from f2at.bundle.format import load_bundle
from f2at.serving.decoding.cost import cost_of
from f2at.serving.decoding.pool import Decoders, Pictures
from f2at.serving.decoding.refusals import decode_images
from f2at.serving.model.predictor import Predictor
from f2at.serving.settings import Settings

_PIECE = 1 << 16  # bytes that a server reads at once

# name, (width, height), format, requests in a round
FILES = (
    ("PNG, 32 x 32", (32, 32), "PNG", 300),
    ("JPEG, 0.2 megapixels", (500, 400), "JPEG", 120),
    ("JPEG, 2 megapixels", (1600, 1200), "JPEG", 40),
    ("JPEG, 12 megapixels", (4000, 3000), "JPEG", 12),
)


def photograph(size: tuple[int, int], form: str) -> bytes:
    """A file with about as much detail as a photograph of this (width, height)."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse, np.float32) + generator.normal(0, 6, (size[1], size[0], 1))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
        buffer, form, **({"quality": 85} if form == "JPEG" else {})
    )
    return buffer.getvalue()


def received(data: bytes) -> Callable[[], list[bytes]]:
    """Gives the files of a request, in memory of their own, as a server joins them."""
    pieces = [data[start : start + _PIECE] for start in range(0, len(data), _PIECE)]
    return lambda: [b"".join(pieces)]


def processor_seconds() -> float:
    """Of this process and those it has started, so far (Linux)."""
    total = time.process_time()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


Decode = Callable[[], Awaitable[Pictures]]


def measure(predictor: Predictor, ways: dict[str, Decode], clients: int, requests: int, rounds: int) -> list[str]:
    """Cells: predictions per second in the server, and how throughput and predictions per processor second compare."""
    spent: dict[str, list[float]] = {way: [] for way in ways}

    async def client(decode: Decode) -> None:
        for _ in range(requests // clients):
            await predictor.predict(await decode())

    async def crowd(decode: Decode) -> None:
        await asyncio.gather(*(client(decode) for _ in range(clients)))

    def run(runner: asyncio.Runner, way: str) -> None:
        before = processor_seconds()
        runner.run(crowd(ways[way]))
        spent[way].append(processor_seconds() - before)

    with asyncio.Runner() as runner:
        seconds = interleaved({way: partial(run, runner, way) for way in ways}, rounds)
    rate = requests // clients * clients * rounds / sum(seconds["server"])
    processor = ratio(spent["server"][1:], spent["workers"][1:])  # the first are the warm-up
    return [f"{rate:.0f}", ratio(seconds["server"], seconds["workers"]), processor]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path, help="folder of the bundle")
    arguments.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    arguments.add_argument("--clients", type=int, default=4, help="clients at a time (default: %(default)s)")
    options = arguments.parse_args()
    settings = Settings(decode_seconds=60)
    predictor, decoders = Predictor(load_bundle(options.bundle), settings), Decoders(settings)
    preparation = predictor.bundle.preparation
    limits = {"max_pixels": settings.max_pixels, "max_total": settings.max_request_pixels}
    rows = []
    for name, size, form, requests in FILES:
        data = photograph(size, form)
        files = received(data)

        async def here(files: Callable[[], list[bytes]] = files) -> Pictures:
            return partial(decode_images, files(), preparation, **limits)

        names = count()  # no client is kept from using all workers

        async def there(files: Callable[[], list[bytes]] = files, names: Iterator[int] = names) -> Pictures:
            return await decoders.decode(files(), preparation, f"client {next(names)}")

        cells = measure(predictor, {"server": here, "workers": there}, options.clients, requests, options.rounds)
        rows.append([f"{name} ({len(data) / 1e3:.0f} kB)", cost_of([data], preparation).name.lower(), *cells])
    decoders.stop()
    predictor.close()
    body = "\n".join(
        [
            f"{options.clients} requests at a time, {options.rounds} rounds of each way, alternating; medians of the "
            f"rounds, with quartiles. {settings.decoders} workers. What is small is decoded in the server process "
            "either way, after a look at its header. Beside other work: the machine's load average was "
            f"{os.getloadavg()[0]:.0f}.",
            "",
            markdown_table(
                [
                    "file",
                    "its cost",
                    "predictions per second, decoded in the server",
                    "throughput, workers : server",
                    "predictions per processor second, workers : server",
                ],
                rows,
            ),
        ]
    )
    packages = ["pillow", "numpy", "onnxruntime-gpu", "onnxruntime"]
    publish("decoding", f"python -m benchmarks.decoding {options.bundle}", body, packages, write=options.write)


if __name__ == "__main__":
    main()
