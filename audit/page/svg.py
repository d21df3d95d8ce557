"""Matplotlib axes as inline SVG: no prologue, no fonts of its own, and the colours of the page around it."""

import io
import re
import threading
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

# Matplotlib wants colours, the page has variables: these stand in for them and are replaced in the SVG.
INK, MUTED, LINE, CLEAN, ATTACK = (f"#00000{i}" for i in range(1, 6))
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", CLEAN: "--clean", ATTACK: "--accent"}
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "f2at", "font.size": 10.5, "text.parse_math": False}
_LOCK = threading.Lock()  # Matplotlib's settings are global
_DASHED = (0, (4, 3))


def inline_svg(draw: Callable[[Axes], None], *, name: str, label: str) -> str:
    """What `draw` puts on empty axes, as an <svg> element; the same drawing gives the same text.

    Args:
        draw: receives the axes; to be coloured with the constants of this module only.
        name: unique on the page, put before every id.
        label: what the picture shows, for those who cannot see it.
    """
    with _LOCK, mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.6, 2.9))
        axes = figure.add_axes((0.115, 0.17, 0.87, 0.78))
        draw(axes)
        _plain(axes)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), name, label)


def upright(axes: Axes, x: float, text: str) -> None:
    """A dashed upright line with its name at the top, on the side where there is room."""
    axes.axvline(x, color=INK, linewidth=1, linestyle=_DASHED)
    left, right = axes.get_xlim()
    room = x <= (left + right) / 2
    note(axes, text, (x, axes.get_ylim()[1]), side="left" if room else "right", color=INK, va="top")


def level(axes: Axes, y: float, text: str, *, side: str = "right", va: str = "bottom") -> None:
    """A dotted level line with its name at one end, above it ("bottom") or below ("top")."""
    axes.axhline(y, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    note(axes, text, (axes.get_xlim()[side == "right"], y), side=side, color=MUTED, va=va)


def note(axes: Axes, text: str, at: tuple[float, float], *, side: str, color: str, va: str) -> None:
    """A few words that end ("right") or begin ("left") beside a point."""
    offset = (4 if side == "left" else -4, -2 if va == "top" else 2)
    axes.annotate(text, at, xytext=offset, textcoords="offset points", color=color, ha=side, va=va, fontsize=9.5)


def percentages(axes: Axes, ylabel: str) -> None:
    """An upright axis from 0 to 100 %, with room for words above."""
    axes.set(ylim=(0, 113), yticks=range(0, 101, 25), ylabel=ylabel)


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)


def _inline(svg: str, name: str, label: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| (?:width|height)="[\d.]+pt"', "", svg, count=4)
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    # Groups carry ids that nothing refers to; what is referred to must differ from the next plot's.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    # Hundredths of a point are more than a screen shows.
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
