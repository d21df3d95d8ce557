"""The report as a page: one self-contained HTML file, readable on a phone, on paper and in the dark."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from f2at.audit.page import head, words
from f2at.audit.page.environment import environment
from f2at.audit.page.pictures import PLANES, gallery
from f2at.audit.reports.earlier import upgraded
from f2at.audit.suites import accuracy_name

_OPTIONAL = {
    "iterations": "accuracy against iterations",
    "curve": "accuracy against eps, and the nearest errors",
    "confidences": "confidence under attack",
}


class Beside(NamedTuple):
    """What a page cannot know from its report alone, since it depends on where the two lie.

    Attributes:
        report: address of the JSON report, relative to the page.
        signature: how the report's signature is checked, in a sentence.
        model_signature: what is known of the model's, in a sentence; None: nothing.
    """

    report: str
    signature: str
    model_signature: str | None = None


def beside_file(name: str, model_signature: str | None = None) -> Beside:
    """For a page in the folder of its report, which may be signed later."""
    signature = (
        f"A report is signed after its page is written. If this one is, the signature lies beside it in {name}.sig: "
        f"f2at verify {name} --public-key KEY checks it."
    )
    return Beside(quote(name), signature, model_signature)


def render_report(report: Mapping[str, Any], beside: Beside | None = None) -> str:
    """The page of a report (`f2at.audit.Audit.report`); everything in it is escaped, nothing is fetched.

    Args:
        report: as it is in JSON.
        beside: where the page is to lie; None: by itself.

    Raises:
        ValueError: the report is of a schema version that is not read.
    """
    from f2at.audit.page.plot import plots  # brings matplotlib, which takes a second that others need not wait
    from f2at.audit.page.threats import threat_cards

    report = upgraded(report)
    classes, checks = report["model"]["classes"], words.checks(report)
    return (
        environment()
        .get_template("report.html")
        .render(
            report=report,
            headline=words.headline(report),
            name=head.title(report),
            subject=head.subject(report),
            findings=head.findings(report),
            accuracy=accuracy_name(report["threat_model"]["knowledge"]),
            sentence=words.sentence(report),
            beside=beside,
            checks=checks,
            tally=words.tally(checks),
            level=words.level(report),
            name_width=min(22, max(map(len, classes))),
            found_besides=_found_besides(report),
            plots=plots(report),
            not_measured=[text for key, text in _OPTIONAL.items() if report[key] is None],
            threats=threat_cards(report),
            gallery=gallery(report["examples"], classes),
            planes=PLANES,
            repeat=report["repeat"],
            context=words.stated(report["context"]),
            provenance=_provenance(report),
        )
    )


def _found_besides(report: Mapping[str, Any]) -> list[tuple[str, int]]:
    """What broke images that the suite had left standing: what it is, and how many."""
    besides = [
        (
            "errors that the run over many iterations found besides",
            (report["iterations"] or {}).get("broken_beyond_suite"),
        ),
        (
            "errors inside eps that the search for the nearest one found besides",
            (report["curve"] or {}).get("broken_inside_eps"),
        ),
    ]
    return [(text, number) for text, number in besides if number]


def _provenance(report: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of names and values."""
    threat = report["threat_model"]
    techniques = [f"{t['id']} {t['name']} ({t['framework']})" for t in threat["techniques"]]
    model, data, surrogate = report["model"], report["data"], report["surrogate"] or {}
    groups = {
        "Model": {k: v for k, v in model.items() if k not in ("manifest", "classes")},
        "Manifest of the model": {k: v for k, v in model.get("manifest", {}).items() if k != "classes"},
        "Surrogate": {k: v for k, v in surrogate.items() if k != "manifest"},
        "Manifest of the surrogate": {k: v for k, v in surrogate.get("manifest", {}).items() if k != "classes"},
        "Data": {**data, "indices": f"{len(data['indices'])} places, listed in the JSON report"},
        "Request": report["request"],
        "Threat model": {**threat, "techniques": "; ".join(techniques)},
        "Harness": report["harness"],
        "Run": {**report["run"], "report schema": report["schema_version"]},
    }
    return [(title, list(_flatten(values))) for title, values in groups.items() if values]


def _flatten(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Leaves of nested JSON objects with their dotted paths; lists of plain values are leaves."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(inner, (*path, str(key)))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value, start=1):
            yield from _flatten(item, path if len(value) == 1 else (*path, str(number)))
    else:
        yield ".".join(path), value if isinstance(value, str) else json.dumps(value)
