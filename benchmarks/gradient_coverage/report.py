"""The tables of the result."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common import markdown_table
from benchmarks.gradient_coverage.architectures import ARCHITECTURES, EXPORTERS


def report(lines: Sequence[Mapping[str, Any]]) -> str:
    """Three tables: what holds of each exporter, each architecture, and each file; and what does not work, and why."""
    files = [line for line in lines if not line["exporter"]]
    of = {name: {line["name"]: line for line in lines if line["exporter"] == name} for name in EXPORTERS}
    failed = [line for line in lines if not line["works"]]
    parts = [
        markdown_table(
            ["exporter", "works", "error, median; worst", "cosine, worst", "vs torch, median (quartiles)"],
            ([exporter, *_summary(list(found.values()))] for exporter, found in of.items() if found),
        ),
        "Errors and cosines are of the worst of two images. At ReLU networks two float32 computations differ by more "
        "where a ReLU lies at its kink. A cell: error, cosine, speed against torch, seconds to build, size of the "
        "graph in MB (and in sizes of the exported file).",
        *(f"- {line['name']}, {line['exporter'] or 'file'}: {_reason(line)}" for line in failed),
        markdown_table(
            ["architecture", "pixels", *EXPORTERS],
            (
                [name, str(next((f[name]["size"] for f in of.values() if "size" in f.get(name, {})), "")), *cells]
                for name in ARCHITECTURES
                if any(cells := [_cell(found.get(name)) for found in of.values()])
            ),
        ),
        markdown_table(
            ["file of a package", "pixels", "error of the proof (limit 0.03)", "build, s", "MB"],
            (
                [line["name"], line["size"], str(line["proof"]["error"]), f"{line['build']:.1f}", _megabytes(line)]
                for line in files
                if line["works"]
            ),
        ),
    ]
    return "\n\n".join(parts)


def _summary(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    good = [line for line in lines if line["works"]]
    errors, speeds = [line["error"] for line in good], [line["speed"] for line in good]
    low, middle, high = statistics.quantiles(speeds, n=4)
    return [
        f"{len(good)} of {len(lines)}",
        f"{statistics.median(errors):.0e}; {max(errors):.0e}",
        f"{min(line['cosine'] for line in good):.6f}",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
    ]


def _cell(line: Mapping[str, Any] | None) -> str:
    if line is None:
        return ""
    if not line["works"]:
        return "no"
    exact = f"{line['error']:.0e}, {line['cosine']:.6f}"
    return f"{exact}, {line['speed']:.2f} x, {line['build']:.1f} s, {_megabytes(line)}"


def _reason(line: Mapping[str, Any]) -> str:
    return " ".join(line["reason"].split())[:300]


def _megabytes(line: Mapping[str, Any]) -> str:
    return f"{line['bytes'] / 1e6:.1f} ({line['times_the_file']:.2f})"
