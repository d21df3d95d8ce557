"""What an audit or a comparison found, as a list of checks: what JUnit, SARIF and a summary say in their own ways."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from f2at.audit.page import words
from f2at.audit.page.head import worst_classes
from f2at.audit.reports.compare import WORSE

Report = Mapping[str, Any]
State = Literal["passed", "failed", "undecided", "raised", "skipped"]

THRESHOLD = "threshold"
NOT_WORSE = "not_worse"
LABELS = {"clean": "Clean accuracy", "robust": "Accuracy under attack"}
_GATES: Mapping[str | None, State] = {None: "skipped", "pass": "passed", "fail": "failed", "inconclusive": "undecided"}
_FLAGS: Mapping[bool | None, State] = {None: "skipped", True: "raised", False: "passed"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """Something that was looked at.

    Attributes:
        name: unique among the checks of a report; that of a sanity flag is the flag's.
        claim: what holds where it is passed; the name again in a report that does not say.
        title: what is wrong where it is not.
        meaning: what that means, in plain language.
        state: "failed" and "undecided" are those of a gate, "raised" that of a sanity flag; "skipped": not looked for.
        evidence: the numbers that it rests on, in a sentence or less.
        place: where they stand in the report, a JSON pointer.
    """

    name: str
    claim: str
    title: str
    meaning: str
    state: State
    evidence: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that was looked at.

    Attributes:
        command: that did, "audit" or "compare".
        gate: what a pipeline stops at.
        reason: why it stops there, or not, in a sentence; the evidence of the gate has the numbers, too.
        accuracies: those numbers as a table, a row for the clean accuracy and one for that under attack, below a head.
        flags: the sanity checks.
        report: that the places of the checks are in.
        path: of its file.
    """

    command: str
    gate: Check
    reason: str
    accuracies: Sequence[Sequence[str]]
    flags: Sequence[Check]
    report: Report
    path: Path

    @property
    def checks(self) -> list[Check]:
        """The gate and the flags."""
        return [self.gate, *self.flags]


def of_report(report: Report, path: Path) -> Findings:
    """What an audit found: its threshold, if there was one, and every sanity flag."""
    outcome, reason = report["verdict"]["outcome"], plain(words.headline(report)["text"])
    gate = Check(
        name=THRESHOLD,
        claim="The accuracy under attack reaches the threshold",
        title="The accuracy under attack is not shown to reach the threshold",
        meaning="A threshold was stated before the audit. It is passed where the lower end of the interval of the "
        "accuracy under attack reaches it, failed where not even the upper end does, and otherwise undecided.",
        state=_GATES[outcome],
        evidence=reason if outcome is None else f"{reason} {figures(report)} {fallen(report)}",
        place="/verdict",
    )
    return Findings(
        command="audit",
        gate=gate,
        reason=reason,
        accuracies=[
            ["", "images right", "share", f"{100 * report['clean']['confidence']:g} % interval"],
            *([label, *_cells(report[name])] for name, label in LABELS.items()),
        ],
        flags=_flags(report),
        report=report,
        path=path,
    )


def of_comparison(
    comparison: Mapping[str, Any], outcome: str, conclusion: str, candidate: Report, path: Path
) -> Findings:
    """What a comparison found: whether the candidate passes, and the sanity flags that it alone raises.

    Args:
        comparison: what `f2at.audit.reports.compare.compare_reports` returns.
        outcome: what `f2at.audit.reports.compare.gate` makes of it.
        conclusion: that in words.
        candidate: the candidate's report.
        path: of its file.
    """
    changes = [f"{label} {_change(comparison[name])}." for name, label in LABELS.items()]
    unlike = [f"Not alike: {'; '.join(comparison['warnings'])}."] if comparison["warnings"] else []
    worse = [name for name in LABELS if comparison[name]["verdict"] == WORSE]
    reason = f"{conclusion[:1].upper()}{conclusion[1:]}."
    gate = Check(
        name=NOT_WORSE,
        claim="The candidate is as good as the baseline",
        title="The candidate is not shown to be as good as the baseline",
        meaning="Two reports of the same threat model were compared, image by image where both drew the same. The "
        "candidate fails where it is worse than the rule allows by more than the draw of the images explains.",
        state=_GATES[outcome],
        evidence=" ".join([reason, *changes, *unlike]),
        place=f"/{worse[-1] if worse else 'robust'}",
    )
    newly = {flag["name"] for flag in comparison["flags"]["raised"]}
    return Findings(
        command="compare",
        gate=gate,
        reason=" ".join([reason, *unlike]),
        accuracies=[
            ["", "baseline", "candidate", "change in points", "verdict"],
            *([label, *_cells_of_change(comparison[name])] for name, label in LABELS.items()),
        ],
        flags=[_beside_the_baseline(flag, newly=flag.name in newly) for flag in _flags(candidate)],
        report=candidate,
        path=path,
    )


def facts(report: Report) -> dict[str, str]:
    """What was attacked, with what, and what came out, by name, each in a few characters."""
    model, threat, request = report["model"], report["threat_model"], report["request"]
    return {
        **{f"model_{name}": model[name] for name in ("digest", "url", "file") if name in model},
        "data_sha256": report["data"]["sha256"],
        "images": str(report["data"]["n"]),
        "suite": request["suite"],
        "knowledge": ", ".join(threat["knowledge"]),
        **{name: threat[name] for name in ("norm", "eps", "effective_eps")},
        "seed": str(request["seed"]),
        "clean_accuracy": share(report["clean"]),
        "accuracy_under_attack": share(report["robust"]),
    }


def figures(report: Report) -> str:
    """Both accuracies with their intervals, and under which attacks."""
    threat = report["threat_model"]
    return (
        f"{LABELS['clean']} {share(report['clean'])}; {LABELS['robust'].lower()} {share(report['robust'])}, "
        f"by {' and '.join(threat['knowledge'])} attacks of the suite {report['request']['suite']}, {threat['norm']} "
        f"eps {threat['effective_eps']}."
    )


def share(accuracy: Mapping[str, Any]) -> str:
    """An accuracy as a share, a count and an interval."""
    count, value, interval = _cells(accuracy)
    return f"{value} ({count}, {100 * accuracy['confidence']:g} % interval {interval})"


def fallen(report: Report) -> str:
    """How many images fell to what, and the class that lost most."""
    broken = Counter(sample["broken_by"] for sample in report["samples"] if sample["broken_by"] is not None)
    if not broken:
        return "Nothing broke an image."
    worst = worst_class(report)
    assert worst is not None  # a broken image has a class
    to = ", ".join(f"{number} to {name}" for name, number in broken.most_common())
    return (
        f"Images fell: {to}. Worst class: {worst['name']}, {worst['robust']['k']} of {worst['n']} right under attack."
    )


def worst_class(report: Report) -> Mapping[str, Any] | None:
    """The row of the class with the lowest accuracy under attack; None where there are no images."""
    return next(iter(worst_classes(report)), None)


def plain(text: str) -> str:
    """Text of the page, in which spaces do not break, for files in which they may."""
    return text.replace("\u00a0", " ")


def _flags(report: Report) -> list[Check]:
    return [
        Check(
            name=flag["name"],
            claim=flag["name"] if flag["check"] == flag["title"] else flag["check"],  # version 2 has no claims
            title=flag["title"],
            meaning=flag["meaning"],
            state=_FLAGS[flag["raised"]],
            evidence=flag["evidence"],
            place=f"/flags/{number}",
        )
        for number, flag in enumerate(report["flags"])
    ]


def _beside_the_baseline(flag: Check, *, newly: bool) -> Check:
    """A flag of the candidate: one that the baseline raised, too, is nothing that the candidate brings."""
    if flag.state != "raised" or newly:
        return flag
    return replace(flag, state="passed", evidence=f"raised by the baseline, too: {flag.evidence}")


def _change(row: Mapping[str, Any]) -> str:
    before, after, change, verdict = _cells_of_change(row)
    return f"{before} before, {after} after: {change} points, {verdict}"


def _cells(accuracy: Mapping[str, Any]) -> list[str]:
    value, low, high = (plain(words.percent(accuracy[key])) for key in ("value", "low", "high"))
    return [f"{accuracy['k']} of {accuracy['n']}", value, f"{low} to {high}"]


def _cells_of_change(row: Mapping[str, Any]) -> list[str]:
    low, difference, high = (f"{100 * row[key]:+.1f}" for key in ("low", "difference", "high"))
    before, after = (plain(words.percent(row[side]["value"])) for side in ("baseline", "candidate"))
    return [before, after, f"{difference} [{low}, {high}]", row["verdict"]]
