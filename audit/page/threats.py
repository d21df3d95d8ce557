"""The page's part on threats beside the ball: a card for each, with its chart, numbers and pictures."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from f2at.audit.page import svg
from f2at.audit.page.pictures import NOTHING, enlarged
from f2at.audit.page.words import count, level, percent
from f2at.images.png import read_base64_png

_NAMED = 3  # kinds of a scan that a chart has room to name


def threat_cards(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each threat what the template needs beside its section of the report."""
    classes = report["model"]["classes"]
    return [
        {
            "section": section,
            "chart": _chart(report, section, f"threat{number}"),
            "columns": _columns(section),
            "table": _table(section),
            "pictures": [_picture(example, classes) for example in section["examples"]],
            "worst": _worst(section),
            "mean": percent(fmean(row["value"] for row in section["scan"])) if section["scan"] else None,
        }
        for number, section in enumerate(report["threats"])
    ]


def _chart(report: Mapping[str, Any], section: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Accuracy against the threat's strength."""
    curve = section["curve"]
    if not curve or len(curve["points"]) < 2:
        return None
    points = curve["points"]
    at, values = [p["strength"] for p in points], [100 * p["value"] for p in points]
    kinds = _by_kind(section["scan"] or [])

    def draw(axes: Axes) -> None:
        svg.percentages(axes, "still correct, %")
        axes.set(xlim=(0, at[-1]), xlabel=curve["axis"])
        for rows in kinds.values() if len(kinds) > 1 else ():
            axes.plot([r["strength"] for r in rows], [100 * r["value"] for r in rows], color=svg.MUTED, linewidth=0.8)
        low, high = ([100 * p[end] for p in points] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=svg.ATTACK, alpha=0.15, linewidth=0)
        axes.plot(at, values, "o-", color=svg.ATTACK, markersize=3, linewidth=1.8)
        if curve["samples"] == report["robust"]["n"]:
            worst = 100 * report["worst_case"]["value"]
            svg.level(axes, worst, "ball and all threats", side="left", va="bottom")

    followed = "" if curve["samples"] == report["robust"]["n"] else " that were followed"
    many = " Thin lines are single changes." if len(kinds) > 1 else ""
    short = "" if section["scan"] else ", by short runs below the last"
    images = f"{count(curve['samples'], 'image')}{followed}"
    note = f"{images}; the worst of all up to a strength{short}, band: {level(report)}.{many}"
    label = f"Plot: accuracy against {curve['axis']}. The numbers are in the table below it."
    return {"svg": Markup(svg.inline_svg(draw, name=name, label=label)), "note": note}  # drawn here; text is escaped


def _columns(section: Mapping[str, Any]) -> list[str]:
    kinds = _by_kind(section["scan"] or [])
    if len(kinds) > 1:
        strengths = sorted({row["strength"] for row in section["scan"]})
        return ["Change", *(f"{strength:.4g}" for strength in strengths), "Mean"]
    return ["Change" if section["scan"] else "Strength", "Still correct", "Share"]


def _table(section: Mapping[str, Any]) -> list[list[str]]:
    """The numbers of the chart: a scan's by kind and strength, or the curve's."""
    scan = section["scan"]
    if scan is None:
        points = section["curve"]["points"] if section["curve"] else []
        return [[f"{p['strength']:.4g}", f"{p['k']} of {p['n']}", percent(p["value"])] for p in points]
    kinds = _by_kind(scan)
    if len(kinds) < 2:
        return [[row["name"], f"{row['k']} of {row['n']}", percent(row["value"])] for row in scan]
    strengths = sorted({row["strength"] for row in scan})
    table = []
    for kind, rows in kinds.items():
        found = {row["strength"]: row["value"] for row in rows}
        shares = [percent(found[s]) if s in found else "\u2013" for s in strengths]
        table.append([kind.capitalize(), *shares, percent(sum(found.values()) / len(found))])
    return table


def _by_kind(scan: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in scan:
        kinds.setdefault(row["kind"], []).append(row)
    return kinds


def _worst(section: Mapping[str, Any]) -> str | None:
    """The change of a scan that leaves the fewest images right."""
    row = min(section["scan"] or (), key=lambda r: r["k"], default=None)
    return None if row is None else f"{row['name']}: {percent(row['value'])} right"


def _picture(example: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    prediction = example["prediction"]
    return {
        "name": classes[example["label"]],
        "mistaken_for": NOTHING if prediction is None else classes[prediction],
        "how": example["how"],
        "views": [
            (title, enlarged(read_base64_png(example[key])))
            for title, key in (("Clean", "clean"), ("Changed", "changed"))
        ],
    }
