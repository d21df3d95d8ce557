"""Compares the records of lists of attacks on the same samples: numbers, tables and a plot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.autoattack.record import CLEAN, STANDS, Record
from benchmarks.common import markdown_table
from f2at.audit.reports.difference import paired_interval

OFFICIAL = "official"
BUDGETS = (0.01, 0.03, 0.1, 0.3, 1.0)  # shares of what the official suite spends on a sample that stands


@dataclass(frozen=True)
class Goal:
    """The goal of one of our suites: how far above its accuracy may be, and what share of either count it may take."""

    above: float
    share: float | None = None


GOALS: Mapping[str, Goal] = {"standard": Goal(0.2), "adaptive": Goal(0.1, share=0.1)}


@dataclass(frozen=True)
class Agreement:
    """A suite next to the official one, on N samples.

    Attributes:
        points: robust accuracy less the official one, in percentage points; low, high: its 95 % interval.
        only_ours, only_official: samples that stand under this suite alone, and under the official one alone.
        forward, backward: this suite's passes as shares of the official one's.
    """

    points: float
    low: float
    high: float
    only_ours: int
    only_official: int
    forward: float
    backward: float

    @classmethod
    def of(cls, ours: Record, official: Record) -> "Agreement":
        """Compare two records of the same samples."""
        stands, reference = standing(ours), standing(official)
        counts = [int((a & b).sum()) for a in (stands, ~stands) for b in (reference, ~reference)]
        both, only_ours, only_official, neither = counts
        low, high = paired_interval(both, only_ours, only_official, neither)
        return cls(
            points=100 * (only_ours - only_official) / len(stands),
            low=100 * low,
            high=100 * high,
            only_ours=only_ours,
            only_official=only_official,
            forward=passes(ours, "forward") / passes(official, "forward"),
            backward=passes(ours, "backward") / passes(official, "backward"),
        )

    def meets(self, goal: Goal) -> bool:
        """Whether the suite meets its goal on these samples."""
        cheap = goal.share is None or max(self.forward, self.backward) <= goal.share
        return cheap and self.points <= goal.above


def common_part(records: Mapping[str, Record]) -> dict[str, Record]:
    """The records cut to the samples that all of them have finished.

    Raises:
        ValueError: they are not of the same samples, or of models that differ on the clean images.
    """
    done = min(record.done for record in records.values())
    if done == 0:
        raise ValueError(f"every record must have finished samples; {', '.join(records)} have none in common")
    cut = {name: _first(record, done) for name, record in records.items()}
    first, *others = cut.values()
    for name, record in zip(list(cut)[1:], others, strict=True):
        same = [
            np.array_equal(record.samples["index"], first.samples["index"]),
            np.array_equal(record.samples["broken_by"] == CLEAN, first.samples["broken_by"] == CLEAN),
            *(record.about[key] == first.about[key] for key in ("norm", "eps")),
        ]
        if not all(same):
            raise ValueError(f"records must be of the same model, samples and threat model; {name} differs")
    return cut


def _first(record: Record, n: int) -> Record:
    """The first n samples, and their part of the seconds, which are kept for all samples together."""
    seconds = record.seconds.copy()
    for kind in ("wall", "processor"):
        seconds[kind] *= n / record.done
    return Record(record.about, record.attacks, record.samples[:n], seconds, n)


def standing(record: Record) -> NDArray[np.bool_]:
    """Which samples stand after all attacks: bool (N,)."""
    return np.asarray(record.samples["broken_by"] == STANDS)


def passes(record: Record, kind: str) -> float:
    """Mean "forward" or "backward" passes of a sample."""
    return float(record.samples[kind].sum() / record.done)


def full_budget(official: Record) -> int:
    """The forward + backward passes of a sample that stands to the end: 100 % of the budget."""
    return int((official.samples["forward"] + official.samples["backward"]).sum(axis=1).max())


def accuracy_within(record: Record, budgets: Iterable[float]) -> list[float]:
    """Robust accuracy where every sample may take a budget of forward + backward passes; for each budget."""
    broken_by, fell = record.samples["broken_by"], record.samples["fell"]
    return [float(np.mean((broken_by != CLEAN) & ((fell < 0) | (fell > budget)))) for budget in budgets]


def summary_table(records: Mapping[str, Record]) -> str:
    """Accuracies, agreement, cost and goals; a column for each record, the official one first."""
    official = records[OFFICIAL]
    agreements = {name: Agreement.of(record, official) for name, record in records.items() if name != OFFICIAL}
    suites = agreements.values()
    clean = [record.samples["broken_by"] != CLEAN for record in records.values()]
    robust = [standing(record) for record in records.values()]
    on_grid = [standing(record) | (record.samples["grid_margin"] <= 0) for record in records.values()]
    rows = [
        ["clean accuracy, %", *_percent(clean)],
        ["robust accuracy, %", *_percent(robust)],
        ["robust accuracy once rounded to 8 bits, %", *_percent(on_grid)],
        ["points above the official (95 % interval)", ""]
        + [f"{each.points:+.2f} ({each.low:+.2f} to {each.high:+.2f})" for each in suites],
        ["samples that stand here alone", "", *(str(each.only_ours) for each in suites)],
        ["samples that stand under the official alone", "", *(str(each.only_official) for each in suites)],
    ]
    costs = {
        "forward passes an image": [passes(record, "forward") for record in records.values()],
        "gradient evaluations an image": [passes(record, "backward") for record in records.values()],
        "processor seconds": [float(record.seconds["processor"].sum()) for record in records.values()],
        "wall seconds": [float(record.seconds["wall"].sum()) for record in records.values()],
    }
    for title, (reference, *others) in costs.items():
        rows.append([title, f"{reference:.0f}", *(f"{each:.0f} ({each / reference:.2%})" for each in others)])
    rows.append(["goal", "", *(_goal(name, agreement) for name, agreement in agreements.items())])
    return markdown_table(["", *records], rows)


def _percent(marks: Sequence[NDArray[np.bool_]]) -> list[str]:
    return [f"{100 * each.mean():.2f}" for each in marks]


def _goal(name: str, agreement: Agreement) -> str:
    goal = GOALS.get(name)
    if goal is None:
        return ""
    cost = "" if goal.share is None else f", both counts <= {goal.share:.0%}"
    return f"<= +{goal.above} points{cost}: {'met' if agreement.meets(goal) else 'missed'}"


def attack_table(records: Mapping[str, Record]) -> str:
    """Attack after attack: what stands, and what it cost."""
    rows = []
    for name, record in records.items():
        samples, n = record.samples, record.done
        for place, attack in enumerate(record.attacks):
            fallen = (samples["broken_by"] >= CLEAN) & (samples["broken_by"] <= 1 + place)
            numbers = [
                str((samples["forward"][:, place] > 0).sum()),
                str((samples["broken_by"] == 1 + place).sum()),
                f"{100 * (1 - fallen.mean()):.2f}",
                f"{samples['forward'][:, place].sum() / n:.0f}",
                f"{samples['backward'][:, place].sum() / n:.0f}",
                f"{record.seconds['processor'][place]:.0f}",
            ]
            rows.append([name if place == 0 else "", attack, *numbers])
    head = [
        "suite",
        "attack",
        "attempted",
        "broken",
        "standing, %",
        "forward an image",
        "gradients an image",
        "processor s",
    ]
    return markdown_table(head, rows)


def budget_table(records: Mapping[str, Record]) -> str:
    """Robust accuracy, in percent, within shares of the official budget."""
    full = full_budget(records[OFFICIAL])
    budgets = [share * full for share in BUDGETS]
    columns = [accuracy_within(record, budgets) for record in records.values()]
    rows = [
        [f"{share:.0%}", f"{budget:.0f}", *(f"{100 * value:.2f}" for value in values)]
        for share, budget, *values in zip(BUDGETS, budgets, *columns, strict=True)
    ]
    return markdown_table(["budget", "passes", *records], rows)


def budget_plot(parts: Mapping[str, Mapping[str, Record]], path: Path) -> None:
    """Robust accuracy against passes, a panel for each title, as PNG."""
    from matplotlib.figure import Figure  # slow to import, and needed only here

    names = list(dict.fromkeys(name for records in parts.values() for name in records))
    columns = min(3, len(parts))
    rows = -(-len(parts) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
    for place, (title, records) in enumerate(parts.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        budgets = np.unique(np.geomspace(1, full_budget(records[OFFICIAL]), 400).round())
        for name, record in records.items():
            values = [100 * value for value in accuracy_within(record, budgets)]
            axes.step(budgets, values, where="post", label=name, color=f"C{names.index(name)}")
        axes.set(
            title=title, xscale="log", xlabel="forward + backward passes of each sample", ylabel="robust accuracy, %"
        )
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
