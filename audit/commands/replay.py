"""`f2at replay REPORT`: repeat the audit that a report describes, and say what differs."""

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from f2at.audit import Audit, AuditRequest
from f2at.audit.commands.audit import audit_parser, audit_request
from f2at.audit.commands.bar import progress_bar
from f2at.audit.commands.model import open_subject
from f2at.audit.opening.bundle import open_surrogate
from f2at.audit.opening.model import Model
from f2at.audit.perform import perform
from f2at.audit.provenance.differences import Difference, causes, differences, leaves
from f2at.audit.reports.files import read_report
from f2at.audit.reports.report import deterministic_part, without_examples
from f2at.command_line import Parser
from f2at.files import is_url, location
from f2at.images.sets.base import LabelledSet
from f2at.images.sets.store import FILE

_DIFFERENT = 4
_SHOWN = 40  # differences, as text
_WIDEST = 72  # characters of a value, and a digest has 71
_UNEXPLAINED = (
    "harness, processor and libraries are the same: the report was altered, or the model does not answer the same twice"
)


def run(arguments: Sequence[str]) -> int:
    """Audit again, print what differs and return the exit code."""
    options = _parser().parse_args(arguments)
    report = read_report(options.report)
    audit = _open(report, options)
    with nullcontext() if options.quiet else progress_bar(audit, kept=0) as meter:
        again = json.loads(json.dumps(perform(audit, meter=meter)))
    if "examples_withheld" in report["run"]:
        again = without_examples(again)
    then, now = deterministic_part(report), deterministic_part(again)
    found, explanations = list(differences(then, now)), causes(report["harness"], again["harness"])
    if options.format == "json":
        print(json.dumps({"differences": _table(found), "harness": _table(explanations)}, indent=2))
    else:
        print("\n".join(_summary(found, explanations, leaves(then))))
    return _DIFFERENT if found else 0


def _open(report: Mapping[str, Any], options: argparse.Namespace) -> Audit:
    """The audit by the command that the report names, of the files that are here.

    Raises:
        ValueError: it names none, or a file is missing or another one than the report's.
    """
    command, names, asked = _repetition(report, options.report)
    said = _said(command)
    request = audit_request(said)
    if request != asked:
        raise ValueError(f"{options.report} contradicts itself: its command asks for another audit than it was")
    beside = options.report.parent
    said.model = _model(names["model"], options.model, beside)
    said.data = _data(names.get("data"), options.data, beside)
    said.surrogate = _find("surrogate", names.get("surrogate"), options.surrogate, beside)
    said.quiet = options.quiet
    model, data = open_subject(said)
    surrogate = open_surrogate(said.surrogate, threads=said.threads)
    _check(report, said, model, data, surrogate)
    return model.audit(data, request, surrogate=surrogate)


def _repetition(report: Mapping[str, Any], path: Path) -> tuple[str, dict[str, str], AuditRequest]:
    """The report's command, the names of its files by what they are, and its request."""
    repeat = report["repeat"]
    if repeat is None:
        raise ValueError(
            f"{path} names no command that repeats it: it is of an earlier version, or of a model in somebody's program"
        )
    names = {file["what"]: file["name"] for file in repeat["files"]}
    if "model" not in names:
        raise ValueError(f"{path} is not a whole audit report: repeat.files: there is no model among them")
    return repeat["command"], names, AuditRequest(**report["request"])


def _said(command: str) -> argparse.Namespace:
    """The options of a report's command. It is of no version, and need not even be of this program."""
    told = StringIO()
    try:
        words = shlex.split(command)
        with redirect_stderr(told), redirect_stdout(told):
            options: argparse.Namespace = audit_parser().parse_args(words[2:])
    except SystemExit:  # --help, too, which would pass for success
        reason = told.getvalue().partition("\n")[0]
    except ValueError as error:
        reason = str(error)
    else:
        return options
    raise ValueError(f"the command in the report is none that this version takes: {reason}")


def _model(name: str, given: str | None, beside: Path) -> str | Path:
    if not is_url(name):
        found = _find("MODEL", name, None if given is None else Path(given), beside)
        assert found is not None
        return found
    if given is None or not is_url(given):  # a file from elsewhere is no reason to send images and keys to a host
        raise ValueError(f"MODEL must be given for a report of a model behind HTTP: its URL; it says {name}")
    return given


def _data(name: str | None, given: str | Path | None, beside: Path) -> str | Path | None:
    """Where the labelled images are; a set that the audit listed is listed again."""
    if isinstance(given, str):
        return given
    if name is None or not is_url(name):
        return _find("data", name, given, beside)
    if given is None and not name.startswith(FILE):  # nor to fetch whatever it names
        raise ValueError(f"data must be given for a report on images in a store: their URL; it says {name}")
    return f"{FILE}{_find('data', name.removeprefix(FILE), given, beside)}"


def _find(what: str, name: str | None, given: Path | None, beside: Path) -> Path | None:
    """Where a file is: where it is said to be, in this folder, or beside the report. None if the audit had none."""
    if given is not None or name is None:
        return given
    for place in (Path(name), beside / name):
        if place.exists():
            return place
    flag = what if what.isupper() else f"--{what}"
    raise ValueError(f"there is no {name} here or beside the report: give its path as {flag}")


def _check(
    report: Mapping[str, Any],
    said: argparse.Namespace,
    model: Model,
    data: LabelledSet | None,
    surrogate: Model | None,
) -> None:
    """Raise ValueError, naming which, unless model, data and surrogate are the report's."""
    key = "digest" if "digest" in report["model"] else "url"  # an endpoint that says no digest
    _same("MODEL", said.model, model.description.get(key), report["model"].get(key))
    if data is not None:
        _same("data", said.data, model.labelled(data).digest(), report["data"]["sha256"])
    if surrogate is not None:
        _same("surrogate", said.surrogate, surrogate.description["digest"], (report["surrogate"] or {}).get("digest"))


def _same(what: str, where: object, found: str | None, expected: str | None) -> None:
    if found != expected:
        raise ValueError(f"{what} {where} is another than the report's: {found}, not {expected}")


def _summary(found: Sequence[Difference], explanations: Sequence[Difference], values: int) -> Iterator[str]:
    yield from map(_line, found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"... and {len(found) - _SHOWN:,} more (--format json has them all)"
    if found:
        yield f"{len(found):,} of {values:,} values differ"
        yield "likely causes:" if explanations else _UNEXPLAINED
    else:
        yield f"nothing differs: all {values:,} values are the same"
        yield "although this does:" if explanations else "harness, processor and libraries are the same, too"
    yield from map(_line, explanations)


def _line(difference: Difference) -> str:
    then, now = (_shown(value) for value in difference[1:])
    return f"  {difference.field}: {then}, now {now}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _table(found: Sequence[Difference]) -> list[dict[str, Any]]:
    return [difference._asdict() for difference in found]


def _parser() -> Parser:
    parser = Parser(
        prog="f2at replay",
        intermixed=True,
        description="Repeat the audit that a report describes, and say what differs, field by field. On the same "
        "processor, ONNX Runtime, numpy and number of threads nothing does.",
        epilog="exit codes: 0 nothing differs; 2 bad input, or model or data are others than the report's; 4 something "
        "differs",
    )
    parser.add_argument("report", type=Path, help="a report, .json")
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="where its model is now, a folder, a file or a URL (default: what has its name here or beside the report)",
    )
    parser.add_argument("--data", type=location, help="where its labelled images are now (default: as for MODEL)")
    parser.add_argument("--surrogate", type=Path, metavar="BUNDLE", help="where its surrogate is now (the same)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default text)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser
