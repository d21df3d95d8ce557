"""Findings as Markdown, for the page that a pipeline shows of its run: what came out, in a table or two."""

import re
from collections.abc import Sequence

from f2at.audit.page.words import count
from f2at.evidence.findings import Check, Findings, Report, fallen, share

_TITLES = {"audit": "Robustness audit", "compare": "Robustness, compared with the baseline"}
_OUTCOMES = {"passed": "pass", "failed": "fail", "undecided": "inconclusive", "skipped": "measured"}


def summary(found: Findings) -> str:
    """The text of the file."""
    report, threat = found.report, found.report["threat_model"]
    subject = "" if found.command == "audit" else "Of the candidate: "
    attacks = f"{' and '.join(threat['knowledge'])} attacks of the suite {report['request']['suite']}"
    return "\n\n".join(
        [
            f"## {_TITLES[found.command]}: {_OUTCOMES[found.gate.state]}",
            escaped(found.reason),
            table(found.accuracies),
            escaped(f"{subject}{threat['norm']}, eps {threat['effective_eps']}, {attacks}. {fallen(report)}"),
            *([attack_table(report)] if found.command == "audit" else []),
            *([threat_table(report)] if report["threats"] else []),
            sanity_list(found.flags),
            *([f"Model `{report['model']['digest']}`"] if "digest" in report["model"] else []),
            "",
        ]
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head and whose first column names the rows."""
    head, *body = ([escaped(cell) for cell in row] for row in rows)
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def attack_table(report: Report) -> str:
    """What was tried, in its order, and what it broke."""
    head = ["attack", "tried on", "broke", "left standing"]
    rows = [
        [a["name"], count(a["attempted"], "image"), str(a["broken"]), share(a["robust"])] for a in report["attacks"]
    ]
    return table([head, *rows])


def threat_table(report: Report) -> str:
    """What stands under each threat beside the ball, and under all."""
    rows = [[s["definition"], share(s["robust"]), s["strength"]] for s in report["threats"]]
    last = ["all of these and the ball", share(report["worst_case"]), ""]
    return table([["other threats", "left standing", "attacks"], *rows, last])


def sanity_list(flags: Sequence[Check]) -> str:
    """How the sanity checks ended, and those that found something."""
    raised = [flag for flag in flags if flag.state == "raised"]
    skipped = sum(flag.state == "skipped" for flag in flags)
    first = f"Sanity checks: {len(raised) or 'none'} of {len(flags)} raised, {skipped or 'none'} not looked for."
    return "\n".join([first, *(f"- **{flag.title}**: {escaped(flag.evidence)}" for flag in raised)])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line: names come from whoever made the model or the request."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))
