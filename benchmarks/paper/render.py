"""A result as Markdown, CSV and a picture, with the paper's numbers beside ours."""

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common import markdown_table
from benchmarks.paper.published import PUBLISHED, REMARKS, Value
from benchmarks.paper.runner import Outcome
from benchmarks.paper.terms import Experiment
from f2at.images.bitplanes import bit_planes
from f2at.images.png import read_base64_png

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """An experiment that was run.

    name: as in EXPERIMENTS; images: how many were evaluated; setting: lines of scale, hardware and command.
    """

    name: str
    experiment: Experiment
    outcomes: Sequence[Outcome]
    images: int
    setting: Sequence[str]

    def means(self, outcome: Outcome) -> list[float]:
        """The mean over the seeds for each column; not a number where the row was refused."""
        values = (outcome.values(self.experiment, column) for column in self.experiment.columns)
        return [statistics.fmean(v) if v else float("nan") for v in values]

    def published(self, row: str, column: str) -> Value | None:
        """The paper's value, if it prints one."""
        return PUBLISHED.get(self.name, {}).get(row, {}).get(column)


def write(result: Result, folder: Path) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.png; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{result.name}{suffix}" for suffix in (".md", ".csv", ".png")]
    paths[0].write_text(markdown(result), encoding="utf-8")
    paths[1].write_text(table(result), encoding="utf-8")
    if any(outcome.records for outcome in result.outcomes):
        draw(result).savefig(paths[2], dpi=120)
    else:
        paths.pop().unlink(missing_ok=True)  # no picture of an earlier result may remain beside this one
    return paths


def markdown(result: Result) -> str:
    """The table: our mean and deviation over the seeds, and in brackets the paper's."""
    columns = result.experiment.columns
    kind, _, number = result.name.partition("-")
    seeds = max((len(outcome.records) for outcome in result.outcomes), default=0)
    lines = [
        f"# {kind.capitalize()} {number}".rstrip(),
        "",
        f"{result.experiment.title}. Here: mean {PLUS_MINUS} standard deviation over {seeds} seed(s) on "
        f"{result.images} test images; **[in brackets: the paper's]**. {chance(result)}",
        "",
    ]
    rows = []
    for outcome in result.outcomes:
        cells = [outcome.row.name]
        for column in columns:
            ours = _number(*_spread(outcome.values(result.experiment, column)))
            theirs = result.published(outcome.row.name, column.name)
            cells.append(ours if theirs is None else f"{ours} **[{_number(*theirs)}]**")
        rows.append(cells)
    lines += [
        markdown_table(["", *(column.name for column in columns)], rows),
        "",
        *(f"- {o.row.name} was refused: {o.refusal}" for o in result.outcomes if o.refusal),
    ]
    lines += [f"- {line}" for line in (*result.setting, REMARKS.get(result.name, "")) if line]
    return "\n".join(lines) + "\n"


def chance(result: Result) -> str:
    """The sampling error of an accuracy on this many images."""
    return f"One seed's accuracy near 50 % has a standard error of {50 / result.images**0.5:.1f} points."


def table(result: Result) -> str:
    """CSV in long form: one line for each row and column, in percent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "mean", "deviation", "paper", "paper_deviation", "images", "values"])
    for outcome in result.outcomes:
        for column in result.experiment.columns:
            values = outcome.values(result.experiment, column)
            theirs = result.published(outcome.row.name, column.name) or (None, None)
            mean, deviation = _spread(values)
            printed = " ".join(f"{value:.4f}" for value in values)
            writer.writerow([outcome.row.name, column.name, mean, deviation, *theirs, result.images, printed])
    return text.getvalue()


def draw(result: Result) -> Figure:
    """The picture that the experiment asks for."""
    return _DRAWINGS[result.experiment.drawing](result)


def _spread(values: Sequence[float]) -> Value | tuple[None, None]:
    """Mean, and the sample deviation of two or more."""
    if not values:
        return None, None
    return round(statistics.fmean(values), 4), round(statistics.stdev(values), 4) if len(values) > 1 else None


def _number(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} {PLUS_MINUS} {deviation:.2f}"


def _bars(result: Result) -> Figure:
    """A group of bars for each column, the paper's values as lines across them."""
    figure, [axes] = _figure(result, 1, width=2 + 1.6 * len(result.experiment.columns))
    _draw_bars(result, axes, range(len(result.experiment.columns)))
    axes.legend(frameon=False, fontsize="small", ncols=min(5, len(result.outcomes)))
    return figure


def _draw_bars(result: Result, axes: Axes, places: Sequence[int]) -> None:
    columns = [result.experiment.columns[place] for place in places]
    share = 0.8 / len(result.outcomes)
    for index, outcome in enumerate(result.outcomes):
        x = np.arange(len(columns)) + (index - (len(result.outcomes) - 1) / 2) * share
        spreads = [_spread(outcome.values(result.experiment, column)) for column in columns]
        means, deviations = [s[0] or 0.0 for s in spreads], [s[1] or 0.0 for s in spreads]
        axes.bar(x, means, share, yerr=deviations, label=outcome.row.name, color=f"C{index % 10}", error_kw={"lw": 0.8})
        for place, column in zip(x, columns, strict=True):
            theirs = result.published(outcome.row.name, column.name)
            if theirs is not None:
                axes.hlines(theirs[0], place - share / 2, place + share / 2, colors="black", linewidth=1.5)
    axes.set_xticks(range(len(columns)), [column.name for column in columns], fontsize="small")
    axes.set(ylabel="%", ylim=(0, 100))
    axes.grid(axis="y", alpha=0.3)


def _classes(result: Result) -> Figure:
    """One panel for clean images, one for adversarial ones."""
    groups = _grouped(result, lambda name: name.rsplit(" ", 1)[0])
    figure, panels = _figure(result, len(groups), width=8 * len(groups))
    for axes, (name, places) in zip(panels, groups.items(), strict=True):
        _draw_bars(result, axes, places)
        axes.set_xticks(range(len(places)), [str(label) for label in range(len(places))])
        axes.set(title=name, xlabel="class")
        axes.legend(frameon=False, fontsize="small", ncols=5)
    return figure


def _lines(result: Result) -> Figure:
    """A panel for each kind of column ("eps 2/8": kind, place on the axis) and each group of rows ("GROUP/ROW")."""
    kinds = _grouped(result, lambda name: name.split(" ")[0])
    groups = list(dict.fromkeys(outcome.row.name.rpartition("/")[0] for outcome in result.outcomes))
    figure, panels = _figure(result, len(kinds) * len(groups), width=5 * len(kinds) * len(groups))
    for number, axes in enumerate(panels):
        kind, group = list(kinds)[number // len(groups)], groups[number % len(groups)]
        x = [result.experiment.columns[place].name.split(" ")[1] for place in kinds[kind]]
        for outcome in result.outcomes:
            before, _, name = outcome.row.name.rpartition("/")
            if before == group:
                means = result.means(outcome)
                axes.plot(x, [means[place] for place in kinds[kind]], marker="o", markersize=3, label=name)
        axes.set(title=group, xlabel="eps, in multiples of the trained one" if kind == "eps" else kind, ylabel="%")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    return figure


def _scatter(result: Result) -> Figure:
    """Clean accuracy across, robust accuracy up: ours filled, the paper's hollow."""
    groups = list(dict.fromkeys(outcome.row.name.rpartition("/")[0] for outcome in result.outcomes))
    figure, panels = _figure(result, len(groups), width=5 * len(groups))
    across, up = (column.name for column in result.experiment.columns[:2])
    for axes, group in zip(panels, groups, strict=True):
        rows = [outcome for outcome in result.outcomes if outcome.row.name.rpartition("/")[0] == group]
        for index, outcome in enumerate(rows):
            colour, name = f"C{index % 10}", outcome.row.name.rpartition("/")[2]
            axes.scatter(*result.means(outcome)[:2], color=colour, label=name)
            theirs = [result.published(outcome.row.name, column) for column in (across, up)]
            if theirs[0] and theirs[1]:
                axes.scatter(theirs[0][0], theirs[1][0], facecolors="none", edgecolors=colour)
        title = f"{group} (hollow: the paper's)" if result.name in PUBLISHED else group
        axes.set(title=title, xlabel=f"{across} (%)", ylabel=f"{up} (%)")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    return figure


def _rows(result: Result) -> Figure:
    """For many rows: stacked vertically, one panel per column, with the deviation over seeds."""
    columns = result.experiment.columns
    figure, panels = _figure(result, len(columns), width=2.5 + 1.8 * len(columns))
    figure.set_figheight(1.5 + 0.25 * len(result.outcomes))
    for axes, column in zip(panels, columns, strict=True):
        for place, outcome in enumerate(result.outcomes):
            mean, deviation = _spread(outcome.values(result.experiment, column))
            if mean is not None:
                axes.errorbar(mean, place, xerr=deviation, fmt="o", markersize=4, color="C0")
        axes.set(xlabel=f"{column.name} (%)", yticks=range(len(result.outcomes)), yticklabels=[])
        axes.invert_yaxis()
        axes.grid(alpha=0.3)
    panels[0].set_yticklabels([outcome.row.name for outcome in result.outcomes], fontsize="small")
    return figure


def _densities(result: Result) -> Figure:
    """Density of the true class's probability over the images of all seeds, one panel for each column."""
    columns = result.experiment.columns
    figure, panels = _figure(result, len(columns), width=5 * len(columns))
    for axes, column in zip(panels, columns, strict=True):
        place = result.experiment.evaluations.index(column.evaluation)
        for outcome in result.outcomes:
            if outcome.records:
                x, y = density(np.concatenate([records[place]["confidence"] for records in outcome.records]))
                axes.plot(x, y, label=outcome.row.name)
        axes.set(title=column.name, xlabel="probability of the true class", ylabel="density", xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize="small")
    return figure


def density(samples: Any, *, bandwidth: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density of numbers in [0, 1] at 201 points, mirrored at both ends so that it integrates to 1."""
    samples, x = np.asarray(samples, float), np.linspace(0, 1, 201)
    mirrored = np.concatenate([samples, -samples, 2 - samples])
    kernels = np.exp(-0.5 * ((x[:, None] - mirrored) / bandwidth) ** 2)
    return x, kernels.sum(1) / (len(samples) * bandwidth * np.sqrt(2 * np.pi))


def _planes(result: Result) -> Figure:
    """For each row, a clean image and its adversarial one: whole, then plane by plane from the most significant."""
    shown = [(outcome.row.name, outcome.records[0][0]["example"]) for outcome in result.outcomes if outcome.records]
    figure = Figure(figsize=(12, 0.6 + 2.8 * len(shown)), layout="constrained")
    figure.suptitle(result.experiment.title, fontsize="medium")
    grid = figure.subplots(2 * len(shown), 9, squeeze=False)
    for index, (name, example) in enumerate(shown):
        for line, which in enumerate(("clean", "adversarial")):
            pixels = read_base64_png(example[which])
            pictures = [pixels, *(255 * plane for plane in reversed(bit_planes(pixels)))]
            for place, picture in enumerate(pictures):
                axes = grid[2 * index + line, place]
                axes.imshow(picture, interpolation="nearest")
                axes.set(
                    xticks=[], yticks=[], title="" if index or line else f"plane {8 - place}" if place else "image"
                )
            grid[2 * index + line, 0].set_ylabel(f"{name}\n{which}", fontsize="small")
    return figure


def _figure(result: Result, panels: int, *, width: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(max(6.0, width), 4.2), layout="constrained")
    figure.suptitle(result.experiment.title, fontsize="medium")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _grouped(result: Result, kind: Callable[[str], str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, column in enumerate(result.experiment.columns):
        groups.setdefault(kind(column.name), []).append(place)
    return groups


_DRAWINGS: Mapping[str, Callable[[Result], Figure]] = {
    "bars": _bars,
    "lines": _lines,
    "scatter": _scatter,
    "rows": _rows,
    "classes": _classes,
    "densities": _densities,
    "planes": _planes,
}
