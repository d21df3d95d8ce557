"""The service: what an audit does to predictions, how it starts, what it weighs, and what not needing torch saves."""

import os
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import httpx
from packaging.requirements import Requirement

from benchmarks.common import markdown_table, parser, publish
from f2at.bundle.format import load_bundle
from f2at.images.png import png
from f2at.serving.process.launch import LaunchError, RunningServer, is_ready, launch

ROOT = Path(__file__).parents[1]


@dataclass
class Latencies:
    """Milliseconds of the answered requests, and how many were not answered with 200."""

    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0

    def row(self, name: str) -> list[str]:
        """A row of the table."""
        cuts = statistics.quantiles(self.milliseconds, n=20)
        count = len(self.milliseconds) + self.failed
        return [name, f"{cuts[9]:.1f}", f"{cuts[18]:.1f}", f"{count}", f"{self.failed}"]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    arguments.add_argument("--requests", type=int, default=200, help="predictions in a phase (default: %(default)s)")
    arguments.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    arguments.add_argument("--clients", type=int, default=2, help="clients at a time (default: %(default)s)")
    arguments.add_argument("--eps", default="8/255", help="radius of the audit (default: %(default)s)")
    options = arguments.parse_args()
    image = png(load_bundle(options.bundle).reference()[0][0])
    with served(options.bundle) as (client, server):

        def phase(latencies: Latencies) -> Latencies:
            return predict(client, image, options.requests, options.clients, latencies)

        phase(Latencies())  # warm-up
        idle, busy = Latencies(), Latencies()
        samples = client.get("/model").json()["limits"]["max_samples"]
        for _ in range(options.rounds):  # alternating, so that a drift of the machine does not count as the audit's
            phase(idle)
            with audited(client, {"eps": options.eps, "samples": samples}):
                phase(busy)
                memory = {name: resident(pid) for name, pid in processes(server.process.pid)}

    serving, training = size_of([]), size_of(["train"])
    body = "\n".join(
        [
            f"One server on loopback, {options.clients} clients, {options.rounds} rounds of each, alternating; "
            f"the audit attacks {samples} images at {options.eps}.",
            "",
            markdown_table(
                ["predictions", "p50, ms", "p95, ms", "requests", "failed"],
                [idle.row("idle"), busy.row("during an audit")],
            ),
            "",
            markdown_table(
                ["", ""],
                [
                    ("start to /readyz", f"{server.seconds:.1f} s"),
                    *[(f"resident memory, {name}", f"{size / 1e6:.0f} MB") for name, size in memory.items()],
                    ("installed packages, serving", f"{serving / 1e9:.2f} GB"),
                    ("installed packages, with training", f"{training / 1e9:.2f} GB ({training / serving:.1f} x)"),
                ],
            ),
        ]
    )
    packages = ["bentoml", "dbos", "onnxruntime-gpu", "onnxruntime", "torch"]
    publish("serving", f"python -m benchmarks.serving {options.bundle}", body, packages, write=options.write)


@contextmanager
def served(bundle: Path) -> Iterator[tuple[httpx.Client, RunningServer]]:
    """This service, see `started`."""
    with started(["-m", "f2at", "serve", str(bundle.absolute()), "--port", "{port}"]) as server:
        yield server


@contextmanager
def started(
    arguments: Sequence[str],
    ready: Callable[[httpx.Client], bool] = is_ready,
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[httpx.Client, RunningServer]]:
    """A server with a state of its own, and a client of it.

    Args:
        arguments: of Python; "{port}" is the port to listen on.
        ready: whether it is.
        environment: further variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = {"BENTOML_HOME": f"{folder}/bentoml", "F2AT_STATE": f"{folder}/state"}
        own = {**os.environ, **own, "F2AT_RATE": "0", **(environment or {})}
        try:
            server = launch([sys.executable, *arguments], cwd=ROOT, environment=own, ready=ready)
        except LaunchError as error:
            sys.exit(str(error))
        with server, httpx.Client(base_url=server.url) as client:
            yield client, server


@contextmanager
def audited(client: httpx.Client, request: dict[str, object]) -> Iterator[None]:
    """While an audit runs; it is cancelled at the end, and must not have finished by itself before."""
    path = client.post("/audits", json=request).raise_for_status().headers["location"]
    while not ((audit := client.get(path).json())["progress"] or {}).get("done"):
        if audit["state"] not in ("queued", "running"):
            sys.exit(f"the audit is {audit['state']}: {audit.get('error')}")
        time.sleep(0.1)
    yield
    if client.get(path).json()["state"] != "running":
        sys.exit("the audit ended before the predictions did: ask for fewer --requests or a smaller --eps")
    client.delete(path).raise_for_status()
    time.sleep(1.5)  # the worker looks twice a second


def predict(client: httpx.Client, image: bytes, count: int, clients: int, latencies: Latencies) -> Latencies:
    """`count` predictions, `clients` at a time; adds to `latencies`."""

    def one(_: int) -> float | None:
        started = time.perf_counter()
        try:
            response = client.post("/predict", files={"image": image})
        except httpx.HTTPError:
            return None
        return 1000 * (time.perf_counter() - started) if response.status_code == 200 else None

    with ThreadPoolExecutor(clients) as pool:
        for milliseconds in pool.map(one, range(count)):
            if milliseconds is None:
                latencies.failed += 1
            else:
                latencies.milliseconds.append(milliseconds)
    return latencies


def processes(pid: int) -> Iterator[tuple[str, int]]:
    """The server's processes that matter, by what they do (Linux)."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    kinds = {
        b"_bentoml_impl.worker": "server process",
        b"\0worker\0": "audit worker",
        b"bentoml\0serve": "arbiter",
        b"decoding.worker": "decode worker",
    }
    yield next((name for mark, name in kinds.items() if mark in command), "other"), pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from processes(int(child))


def resident(pid: int) -> int:
    """Bytes of memory a process occupies."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def size_of(extras: list[str]) -> int:
    """Bytes of the installed files of all packages that the project's dependencies, with `extras`, bring in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    pending = [(Requirement(text), "") for text in wanted]
    while pending:
        requirement, extra = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wish in ["", *requirement.extras]:
            if (requirement.name.lower(), wish) in seen:
                continue
            seen.add((requirement.name.lower(), wish))
            with suppress(PackageNotFoundError):
                package = found[requirement.name.lower()] = distribution(requirement.name)
                pending += [(Requirement(text), wish) for text in package.requires or []]
    paths = {Path(str(file.locate())) for package in found.values() for file in package.files or []}
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    main()
