"""What every benchmark states beside its numbers, and the file that stores them."""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with the flag that every benchmark has."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--write", action="store_true", help="store the result under benchmarks/results/ as well")
    return result


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round; a round runs all of them, so that drift affects them equally."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for index in range(warm_up + rounds):
        for name, candidate in candidates.items():
            started = time.perf_counter()
            candidate()
            if index >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> str:
    """Median of the ratios within each round, with the quartiles."""
    ratios = sorted(left / right for left, right in zip(numerator, denominator, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; every row has a cell for each column."""
    columns = list(columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def publish(name: str, command: str, body: str, packages: Sequence[str], *, write: bool) -> None:
    """Print a result with what it depends on; with `write`, also store it as benchmarks/results/NAME.md."""
    text = f"{body}\n\n{environment(packages)}\n\nAgain: `{command}`\n"
    print(text)
    if write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(text)


def environment(packages: Sequence[str]) -> str:
    """Date, processor and versions, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"{package} {found}" for package in packages if (found := _version(package))]
    machine = f"{cores} cores of {_processor()}"
    return ", ".join([f"{datetime.now(UTC):%Y-%m-%d}", machine, f"Python {platform.python_version()}", *versions])


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
