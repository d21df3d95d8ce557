"""The accuracy-against-eps curve as inline SVG that takes its colours from the page around it."""

import io
import re
import threading
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Matplotlib wants colours, the page has variables: these stand in for them and are replaced in the SVG.
_COLOURS = {"#000001": "var(--ink)", "#000002": "var(--muted)", "#000003": "var(--line)", "#000004": "var(--accent)"}
_INK, _MUTED, _LINE, _ACCENT = _COLOURS
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "f2at", "font.size": 10}
_LOCK = threading.Lock()  # Matplotlib's settings are global


def curve_svg(report: Mapping[str, Any]) -> str:
    """The curve of a report: every sample's smallest error as a step, Wilson intervals at the radii tried."""
    with _LOCK, mpl.rc_context(_SETTINGS):
        figure = _draw(report)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue())


def _draw(report: Mapping[str, Any]) -> Figure:
    threat, curve = report["threat_model"], report["curve"]
    points, n = _interesting(curve["points"], threat["levels"]), curve["samples"]
    last = points[-1]["levels"]
    distances = [d["levels"] for d in curve["minimal_perturbations"] if d["levels"] is not None]
    steps = sorted(d for d in distances if d <= last)
    right = points[0]["k"]

    figure = Figure(figsize=(4.6, 3.1), layout="constrained")
    axes = figure.add_subplot()
    x = [point["levels"] for point in points]
    axes.step(
        [0, *steps, last],
        [100 * (right - fallen) / n for fallen in (*range(len(steps) + 1), len(steps))],
        where="post",
        color=_ACCENT,
        linewidth=1.8,
    )
    values = [100 * point["value"] for point in points]
    spread = [[100 * (p["value"] - p["low"]) for p in points], [100 * (p["high"] - p["value"]) for p in points]]
    axes.errorbar(x, values, spread, fmt="o", color=_ACCENT, markersize=3.5, elinewidth=3, alpha=0.35)
    axes.axvline(threat["levels"], color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"eps {threat['eps']}",
        (threat["levels"], 100),
        xytext=(4, -2),
        textcoords="offset points",
        color=_INK,
        va="top",
    )
    chance = 100 * max(c["n"] for c in report["classes"]) / sum(c["n"] for c in report["classes"])
    axes.axhline(chance, color=_MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate("best constant answer", (0, chance), xytext=(4, 2), textcoords="offset points", color=_MUTED)
    axes.set(xlim=(0, last), ylim=(0, 102), yticks=range(0, 101, 25))
    axes.set_xlabel("radius, in levels of 255" + ("" if threat["norm"] == "linf" else " (l2)"), color=_MUTED)
    axes.set_ylabel("still correct, %", color=_MUTED)
    axes.grid(axis="y", color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)
    return figure


def _interesting(points: list[Mapping[str, Any]], eps: float) -> list[Mapping[str, Any]]:
    """Up to the first radius, from twice eps on, where nothing is left: beyond it the curve is flat."""
    for count, point in enumerate(points, start=1):
        if point["k"] == 0 and point["levels"] >= 2 * eps:
            return points[:count]
    return points


def _inline(svg: str) -> str:
    """What HTML needs of an SVG file: no prologue, no namespaces, the page's colours and its font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| (?:width|height)="[\d.]+pt"', "", svg, count=4)
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg.replace("<svg", '<svg role="img" aria-label="Accuracy against radius"', 1)
