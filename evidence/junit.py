"""Findings as JUnit XML: a suite whose test cases are the gate, the sanity checks and the attacks that were run."""

import io
import re
from collections.abc import Mapping
from typing import Any

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from f2at.audit.page.words import count
from f2at.evidence.findings import Check, Findings, Report, facts, share

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(found: Findings) -> str:
    """The text of the file.

    The gate and every sanity check is a test case, named for what it claims: failed where that is not so, with the
    evidence, and skipped where nothing was looked for. An attack is a test case that passes: it says what was done, how
    long it took and what fell; it is skipped where no image was left for it.
    """
    suite = TestSuite(f"f2at {found.command}")
    started = found.report["run"].get("started")
    if started is not None:
        suite.timestamp = started.partition("+")[0]  # of UTC; the schema of Ant knows no other
    for name, value in facts(found.report).items():
        suite.add_property(name, _xml(value))
    for place, checks in (("gate", [found.gate]), ("sanity", found.flags)):
        suite.extend([_check(check, f"f2at.{found.command}.{place}.{check.name}") for check in checks])
    if found.command == "audit":
        suite.extend([_attack(row, found.report) for row in found.report["attacks"]])
        suite.extend([_threat(section, found.report) for section in found.report["threats"]])
    suite.update_statistics()
    document = JUnitXml("f2at")
    document.append(suite)
    text = io.BytesIO()
    document.write(text, pretty=True)
    return text.getvalue().decode()


def _check(check: Check, place: str) -> TestCase:
    case = TestCase(check.claim, place)
    if check.state == "passed":
        case.system_out = _xml(check.evidence)
    elif check.state == "skipped":
        case.append(Skipped(_xml(check.evidence)))
    else:
        failure = Failure(_xml(f"{check.title}: {check.evidence}"), check.state)
        failure.text = _xml(f"{check.meaning}\n\nIn the report: {check.place}")
        case.append(failure)
    return case


def _threat(section: Mapping[str, Any], report: Report) -> TestCase:
    seconds = report["run"]["seconds"]
    own = sum(seconds[stage] for stage in seconds if stage.startswith(f"{section['threat']}/"))
    case = TestCase(_xml(section["threat"]), "f2at.audit.threats", round(own, 3))
    case.system_out = _xml(f"{section['definition']}: {share(section['robust'])} stand. {section['claims']}.")
    return case


def _attack(row: Mapping[str, Any], report: Report) -> TestCase:
    seconds = report["run"]["seconds"].get(row["name"], 0.0)
    case = TestCase(_xml(row["name"]), "f2at.audit.attacks", round(seconds, 3))
    if row["attempted"]:
        tried = f"{row['title']}: tried on {count(row['attempted'], 'image')}, broke {row['broken']}"
        case.system_out = _xml(f"{tried}; {share(row['robust'])} stand.")
    else:
        case.append(Skipped("no image was left for it"))
    return case


def _xml(text: str) -> str:
    """Text without the characters that no XML may hold, as a file's name can."""
    return _NOT_IN_XML.sub("\ufffd", text)
