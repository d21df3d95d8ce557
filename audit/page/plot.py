"""The plots of the evidence page: what each shows, drawn, in a sentence, and as a table of its numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from f2at.audit.page import svg
from f2at.audit.page.words import convergence, count, level, nearest, percent
from f2at.audit.reports.statistics import wilson_interval

_BANDWIDTH = 0.05  # of the density, in probability; fixed, so that two reports can be compared
_QUARTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_BINS = 40


@dataclass(frozen=True)
class Plot:
    """One card of the page.

    Attributes:
        legend: pairs of a CSS class of a key and its words; empty where the plot names its parts itself.
        rows: the numbers drawn, a table under `columns`.
    """

    title: str
    lead: str
    svg: Markup
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: tuple[tuple[str, str], ...] = ()


def plots(report: Mapping[str, Any]) -> list[Plot]:
    """Those that the report has numbers for."""
    made = [radius_plot(report)] if report["curve"] else []
    if report["iterations"] and report["iterations"]["samples"]:
        made.append(iterations_plot(report))
    if report["curve"] and any(d["levels"] is not None for d in report["curve"]["minimal_perturbations"]):
        made.append(distance_plot(report))
    if report["confidences"] and report["confidences"]["samples"]:
        made.append(confidence_plot(report))
    return made


def radius_plot(report: Mapping[str, Any]) -> Plot:
    """Accuracy against eps: every sample's smallest error is a step."""
    threat, curve = report["threat_model"], report["curve"]
    points, n = _interesting(curve["points"], threat["levels"]), curve["samples"]
    last, right = points[-1]["levels"], points[0]["k"]
    fallen = sorted(d for d in _distances(report) if d <= last)
    standing = [right - i for i in range(len(fallen) + 1)]
    confidence = report["robust"]["confidence"]
    low, high = np.array([wilson_interval(k, n, confidence) for k in (*standing, standing[-1])]).T
    chance = max(c["n"] for c in report["classes"]) / sum(c["n"] for c in report["classes"])

    def draw(axes: Axes) -> None:
        at = [0, *fallen, last]
        svg.percentages(axes, "still correct, %")
        axes.set(xlim=(0, last), xlabel=_radius_label(threat["norm"]))
        axes.fill_between(at, 100 * low, 100 * high, step="post", color=svg.ATTACK, alpha=0.15, linewidth=0)
        axes.step(at, [100 * k / n for k in (*standing, standing[-1])], where="post", color=svg.ATTACK, linewidth=1.8)
        axes.plot(
            [p["levels"] for p in points], [100 * p["value"] for p in points], "o", color=svg.ATTACK, markersize=3
        )
        # On the left the curve is above the words; where it falls early they are free on the right.
        early = sum(d < last / 3 for d in fallen) > right / 2
        svg.level(axes, 100 * chance, "best constant answer", side="right" if early else "left")
        svg.upright(axes, threat["levels"], f"eps {threat['effective_eps']}")

    return _plot(
        draw,
        "radius",
        "Accuracy against radius",
        nearest(report),
        note=f"{count(n, 'image')}. Every step is an image whose nearest known error is that far away; dots are the "
        f"radii tried, the band is the {level(report)}.",
        columns=("Radius, levels", "Still correct", "Share", level(report)),
        rows=[(f"{p['levels']:g}", *_shares(p)) for p in points],
    )


def iterations_plot(report: Mapping[str, Any]) -> Plot:
    """Accuracy against the steps of one long attack: flat at its end if the attack has converged."""
    iterations = report["iterations"]
    points, attack = iterations["points"], iterations["attack"]
    at = [p["iterations"] for p in points]

    def draw(axes: Axes) -> None:
        svg.percentages(axes, "still correct, %")
        axes.set_xscale("symlog", linthresh=1, linscale=0.3)
        axes.set(xlim=(at[0], max(at[-1], at[0] + 1)), xlabel=f"steps of {attack['name']}")
        ticks = [t for t in (0, 1, 2, 5, *(m * 10**e for e in range(1, 6) for m in (1, 2, 5))) if at[0] <= t <= at[-1]]
        axes.set_xticks(ticks, [str(t) for t in ticks])
        low, high = ([100 * p[end] for p in points] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=svg.ATTACK, alpha=0.15, linewidth=0)
        dots = "o-" if len(points) <= 15 else "-"
        axes.plot(at, [100 * p["value"] for p in points], dots, color=svg.ATTACK, markersize=3, linewidth=1.8)
        if iterations["samples"] == report["robust"]["n"]:
            worst = 100 * report["robust"]["value"]
            svg.level(axes, worst, "worst case of all attacks", va="top" if worst > 15 else "bottom")

    return _plot(
        draw,
        "iterations",
        "Accuracy against iterations",
        convergence(iterations),
        note=f"{count(iterations['samples'], 'image')} under {attack['name']} alone; band: {level(report)}.",
        columns=("Steps", "Still correct", "Share", level(report)),
        rows=[(f"{p['iterations']:,}", *_shares(p)) for p in points],
    )


def distance_plot(report: Mapping[str, Any]) -> Plot:
    """How far away the nearest error known of each image is."""
    threat = report["threat_model"]
    found, total = _distances(report), len(report["curve"]["minimal_perturbations"])
    edges = bins(threat["levels"], max(found), whole=threat["norm"] == "linf")
    # Half open as (a, b]: what lies at eps is inside the ball.
    counts = [sum(a < d <= b for d in found) for a, b in pairwise(edges)]
    inside = sum(d <= threat["levels"] for d in found)

    def draw(axes: Axes) -> None:
        axes.set(
            xlim=(0, edges[-1]), ylim=(0, 1.12 * max(counts)), xlabel=_radius_label(threat["norm"]), ylabel="images"
        )
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        width = edges[1] - edges[0]
        colours = [svg.ATTACK if b <= threat["levels"] else svg.CLEAN for b in edges[1:]]
        axes.bar(edges[:-1], counts, 0.9 * width, align="edge", color=colours)
        if threat["levels"] <= edges[-1]:
            svg.upright(axes, threat["levels"], f"eps {threat['effective_eps']}")

    never = total - len(found)
    return _plot(
        draw,
        "distances",
        "Smallest perturbations found",
        f"{inside} of {count(total, 'correctly classified image')} have a known error within eps.",
        note="Distance to the nearest error found, an upper bound on the true distance."
        + (f" Of {count(never, 'image')} no error was found at any radius." if never else ""),
        columns=("Levels", "Images"),
        rows=[(f"above {a:g} to {b:g}", str(c)) for (a, b), c in zip(pairwise(edges), counts, strict=True) if c],
        legend=(("", "within eps"), ("clean", "beyond eps")) if 0 < inside < len(found) else (),
    )


def confidence_plot(report: Mapping[str, Any]) -> Plot:
    """Densities of the true class's probability, clean and under attack (Fig. 10 of the F2AT paper)."""
    confidences = report["confidences"]
    attack = confidences["attack"]
    name = attack["name"] + (f"-{attack['parameters']['steps']}" if "steps" in attack["parameters"] else "")
    clean, adversarial = (np.array([s[key] for s in confidences["samples"]]) for key in ("clean", "adversarial"))
    grid = np.linspace(0, 1, 101)

    def draw(axes: Axes) -> None:
        curves = [density(values, grid) for values in (clean, adversarial)]
        axes.set(xlim=(0, 1), ylim=(0, 1.08 * max(c.max() for c in curves)), xlabel="probability of the true class")
        axes.set_yticks([])
        axes.set_ylabel("density", labelpad=16)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        for curve, colour in zip(curves, (svg.CLEAN, svg.ATTACK), strict=True):
            axes.fill_between(grid, curve, color=colour, alpha=0.22, linewidth=0)
            axes.plot(grid, curve, color=colour, linewidth=1.8)

    middle = [float(np.median(values)) for values in (clean, adversarial)]
    quantiles = zip(_QUARTILES, np.quantile(clean, _QUARTILES), np.quantile(adversarial, _QUARTILES), strict=True)
    return _plot(
        draw,
        "confidences",
        "Confidence in the true class",
        f"The median probability of the true class is {middle[0]:.2f} on clean images, {middle[1]:.2f} under {name}.",
        note=f"{count(len(clean), 'image')}; kernel densities, bandwidth {_BANDWIDTH}, reflected at 0 and 1.",
        columns=("Quantile", "Clean", f"Under {name}"),
        rows=[(f"{100 * q:.0f}\u00a0%", f"{c:.3f}", f"{a:.3f}") for q, c, a in quantiles],
        legend=(("clean", "clean images"), ("", f"under {name}")),
    )


def bins(eps: float, largest: float, *, whole: bool) -> list[float]:
    """Edges of equal bins from 0 past `largest`, eps among their multiples; few enough to be seen.

    Args:
        eps: radius in levels.
        largest: to be covered.
        whole: distances are whole levels, so that finer bins would stay empty in a pattern.
    """
    parts = [eps / part for part in (range(int(eps), 0, -1) if whole else (8, 4, 2, 1))]
    widths = [w for w in parts if not whole or w == int(w)] + [eps * 2**i for i in range(1, 20)]
    width = next(w for w in widths if largest / w <= _MOST_BINS)
    return [i * width for i in range(int(np.ceil(largest / width)) + 1)]


def density(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel density (G,) on [0, 1] of values (N,) there; what leaves at an end is reflected into it."""
    images = np.concatenate([values, -values, 2 - values])
    kernel = np.exp(-0.5 * ((grid[:, None] - images) / _BANDWIDTH) ** 2)
    return np.asarray(kernel.sum(axis=1) / (len(values) * _BANDWIDTH * np.sqrt(2 * np.pi)))


def _plot(
    draw: Callable[[Axes], None], name: str, title: str, lead: str, *, rows: Sequence[tuple[str, ...]], **rest: Any
) -> Plot:
    label = f"Plot: {title}. {lead} The numbers are in the table below it."
    drawn = Markup(svg.inline_svg(draw, name=name, label=label))  # drawn here; text in it is escaped
    return Plot(title, lead, drawn, rows=tuple(rows), **rest)


def _distances(report: Mapping[str, Any]) -> list[float]:
    return [d["levels"] for d in report["curve"]["minimal_perturbations"] if d["levels"] is not None]


def _shares(p: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{p['k']} of {p['n']}", percent(p["value"]), f"{percent(p['low'])} to {percent(p['high'])}"


def _radius_label(norm: str) -> str:
    return "radius, in levels of 255" + ("" if norm == "linf" else f" ({norm})")


def _interesting(points: list[Mapping[str, Any]], eps: float) -> list[Mapping[str, Any]]:
    """Up to the first radius, from twice eps on, where nothing is left: beyond it the curve is flat."""
    for number, point in enumerate(points, start=1):
        if point["k"] == 0 and point["levels"] >= 2 * eps:
            return points[:number]
    return points
