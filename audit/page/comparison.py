"""Two audits side by side as a page: what `f2at compare` says, as a picture."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from f2at.audit.page.environment import environment
from f2at.audit.reports.compare import BETTER, WORSE

_KINDS = {BETTER: "pass", WORSE: "fail"}


class Line(NamedTuple):
    """A row: two shares, one above the other, and what is said of their difference.

    Attributes:
        name: of what is counted.
        baseline, candidate: shares with their intervals; None where one audit has none.
        change: in points, with its interval; "" where it is not tested.
        verdict: on it, in words.
        kind: "pass" for better, "fail" for worse, or "".
    """

    name: str
    baseline: Mapping[str, Any] | None
    candidate: Mapping[str, Any] | None
    change: str = ""
    verdict: str = ""
    kind: str = ""


def render_comparison(comparison: Mapping[str, Any], conclusion: str = "", outcome: str = "") -> str:
    """The page of a comparison (`f2at.compare_reports`); everything in it is escaped, nothing is fetched.

    Args:
        comparison: as it is in JSON.
        conclusion: what the gate says, in a sentence.
        outcome: its outcome, "pass", "fail" or "inconclusive".
    """
    return (
        environment()
        .get_template("comparison.html")
        .render(
            comparison=comparison,
            names=[_name(comparison, side) for side in ("baseline", "candidate")],
            conclusion=conclusion,
            outcome=outcome,
            tested=list(_tested(comparison)),
            classes=list(_shares(comparison["classes"], "robust")),
            corruptions=list(_shares(comparison["corruptions"])),
            flags=[
                (title, flag)
                for kind, title in (
                    ("raised", "newly raised"),
                    ("cleared", "no longer raised"),
                    ("in_both", "raised in both"),
                )
                for flag in comparison["flags"][kind]
            ],
        )
    )


def _name(comparison: Mapping[str, Any], side: str) -> str:
    return comparison["names"][side] or comparison["models"][side] or "A classifier without a name"


def _tested(comparison: Mapping[str, Any]) -> Iterator[Line]:
    """What a difference is tested of: clean and robust accuracy, and what stands under each threat."""
    attacked = comparison["accuracy"]
    for name, row in (("Accuracy on clean images", "clean"), (attacked[:1].upper() + attacked[1:], "robust")):
        yield _line(name, comparison[row], same=row == "clean" or comparison["same_attacks"])
    for row in comparison["threats"]:
        if row["change"]:
            yield _line(row["name"], row["change"], same=row["same_attacks"])
        else:
            old, new = (row[side] and row[side]["robust"] for side in ("baseline", "candidate"))
            yield Line(row["name"], old, new)


def _line(name: str, row: Mapping[str, Any], *, same: bool) -> Line:
    change = f"{100 * row['difference']:+.1f} points, {100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
    verdict = row["verdict"] + ("" if same else ", under other attacks")
    if row["p_value"] is not None:
        verdict += f"; only one right: {row['only_baseline']} and {row['only_candidate']}, p {row['p_value']:.2g}"
    kind = _KINDS.get(row["verdict"], "") if same else ""
    return Line(name, row["baseline"], row["candidate"], change, verdict, kind)


def _shares(rows: list[Mapping[str, Any]], key: str | None = None) -> Iterator[Line]:
    """Rows that are shown and not tested."""
    for row in rows:
        old, new = (row[side] and (row[side][key] if key else row[side]) for side in ("baseline", "candidate"))
        if old and new and old["n"] and new["n"]:
            yield Line(row["name"], old, new)
