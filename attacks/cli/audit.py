"""`python -m attacks BUNDLE`: audit a bundle or any ONNX classifier, write report.json and report.html."""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attacks.audit import Audit, AuditRequest, Step, run_audit
from attacks.audit.files import write_report
from attacks.audit.suites import CUSTOM, SUITES
from attacks.cli.models import open_bundle, read_images
from attacks.threat import NORMS

EXIT_CODES = {None: 0, "pass": 0, "fail": 3, "inconclusive": 4}


def run(arguments: Sequence[str]) -> int:
    """Audit, write the two files, print a summary and return the exit code."""
    options = _parser().parse_args(arguments)
    output, page = options.output, options.output.with_suffix(".html")
    if output.suffix != ".json":
        raise ValueError(f"output must end in .json; got {output}")
    for path in (output, page):
        if path.exists() and not options.overwrite:
            raise ValueError(f"{path} exists; give --overwrite or another --output")
    audit = _open(options, _request(options))

    output.parent.mkdir(parents=True, exist_ok=True)  # now rather than after minutes of work
    started, clock = datetime.now(UTC), time.perf_counter()
    with tqdm(total=len(audit.steps), unit="step", disable=options.quiet) as bar:

        def advance(step: Step) -> None:
            bar.set_description(f"shard {step.shard + 1}/{len(audit.shards)} {step.stage}")
            bar.update()

        results = run_audit(audit, progress=advance)
    report = audit.report(
        results,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(time.perf_counter() - clock, 3),
    )
    write_report(report, output)
    print(_summary(report))
    print(f"\n{output}\n{page}")
    return EXIT_CODES[report["verdict"]["outcome"]]


def parse_attack(text: str) -> dict[str, Any]:
    """An attack as it is written on the command line, "pgd:steps=50,step_size=2/255", as an entry of a request.

    Values are JSON, fractions, or else text. Raises ValueError for what is not of this form.
    """
    name, _, rest = text.partition(":")
    entry: dict[str, Any] = {"name": name}
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        if not key or not equals or key in entry:
            raise ValueError(f"attack must be NAME[:parameter=value,...], each parameter once; got {text!r}")
        entry[key] = _value(value)
    return entry


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)  # NaN is text like any other word
    except ValueError:
        pass
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return text


def _request(options: argparse.Namespace) -> AuditRequest:
    attacks = [parse_attack(text) for text in options.attack] or None
    if attacks and options.suite not in (None, CUSTOM):
        raise ValueError(f"suite must be left out where attacks are given; got {options.suite}")
    return AuditRequest(
        suite=CUSTOM if attacks else options.suite or "quick",
        attacks=attacks,
        eps=options.eps,
        norm=options.norm,
        samples=options.samples,
        seed=options.seed,
        min_robust_accuracy=options.min_robust_accuracy,
        examples=options.examples,
    )


def _open(options: argparse.Namespace, request: AuditRequest) -> Audit:
    """The audit that the options describe."""
    if options.bundle is None:
        raise ValueError("bundle must be given, a folder written by python -m export")
    model = open_bundle(options.bundle, threads=options.threads)
    surrogate = None if options.surrogate is None else open_bundle(options.surrogate, threads=options.threads)
    images, labels = read_images(options.data) if options.data or model.reference is None else model.reference
    return Audit(
        model.target,
        images,
        labels,
        request,
        classes=model.classes,
        model=model.description,
        environment=model.environment,
        surrogate=None if surrogate is None else surrogate.target,
        surrogate_model=None if surrogate is None else surrogate.description,
    )


def _summary(report: Mapping[str, Any]) -> str:
    """The report in a dozen lines."""
    threat, verdict, clean, robust = (report[key] for key in ("threat_model", "verdict", "clean", "robust"))
    effective = threat["effective_eps"]
    note = "" if effective == threat["eps"] else f" (8-bit images can use {effective})"
    # What else broke images: attacks on some of them that go on where the suite stops.
    late = {
        "iterations": report["iterations"]["broken_beyond_suite"] if report["iterations"] else 0,
        "curve": report["curve"]["broken_inside_eps"],
    }
    width = max(len(name) for name in ("iterations", *(attack["name"] for attack in report["attacks"]))) + 2
    lines = [
        f"model {report['model']['digest']}",
        *([f"surrogate {report['surrogate']['digest']}"] if report["surrogate"] else []),
        f"{clean['n']} images, {threat['norm']}, eps {threat['eps']}{note}",
        "",
        f"{'attack':<{width}}{'attempted':>10}{'broken':>8}{'standing':>16}",
        f"{'clean':<{width}}{clean['n']:>10}{clean['n'] - clean['k']:>8}{_share(clean)}",
    ]
    for attack in report["attacks"]:
        alone = f"   alone{_share(attack['alone'])}" if attack["alone"] else ""
        counts = f"{attack['attempted']:>10}{attack['broken']:>8}{_share(attack['robust'])}"
        lines.append(f"{attack['name']:<{width}}{counts}{alone}")
    lines += [f"{name:<{width}}{'':>10}{broken:>8}" for name, broken in late.items() if broken]
    interval = f"{robust['low']:.1%} to {robust['high']:.1%}"
    lines += ["", f"robust accuracy {robust['value']:.1%}, 95 % interval {interval}"]
    if verdict["outcome"]:
        lines.append(f"threshold {verdict['threshold']:.1%}: {verdict['outcome']}")
    lines += [f"flag: {flag['title']} ({flag['evidence']})" for flag in report["flags"] if flag["raised"]]
    return "\n".join(lines)


def _share(accuracy: Mapping[str, Any]) -> str:
    counts = f"{accuracy['k']}/{accuracy['n']}"
    return f"{counts:>9}{accuracy['value']:>7.1%}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m attacks",
        usage="python -m attacks BUNDLE --output REPORT.json [options]\n"
        "       python -m attacks compare BASELINE.json CANDIDATE.json [options]\n"
        "       python -m attacks list | schema",
        description="Attack an exported model with its own reference images and report how many answers survive.",
        epilog="exit codes: 0 done (and the threshold, if any, is met); 2 bad input; 3 the threshold is not met; "
        "4 the threshold lies inside the confidence interval, so more samples are needed to tell",
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="folder written by python -m export")
    parser.add_argument("--suite", help=f"list of attacks: {', '.join(SUITES)} (default quick)")
    parser.add_argument(
        "--attack",
        action="append",
        default=[],
        metavar="NAME[:parameter=value,...]",
        help="in place of a suite, as often as needed: pgd:steps=50,step_size=2/255; see python -m attacks list",
    )
    parser.add_argument(
        "--eps", default="8/255", help="largest change, pixels in [0, 1]: 8/255 or 0.03 (default 8/255)"
    )
    parser.add_argument("--norm", default="linf", help=f"how the change is measured: {', '.join(NORMS)} (default linf)")
    parser.add_argument("--samples", type=int, help="how many images to draw (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of every random number (default 0)")
    parser.add_argument("--min-robust-accuracy", type=float, help="threshold from 0 to 1 to hold the result against")
    parser.add_argument("--examples", type=int, default=8, help="pictures of adversarial images to show (default 8)")
    parser.add_argument(
        "--data", type=Path, metavar="IMAGES.npz", help="images, uint8 (N, H, W, 3), and labels (default the bundle's)"
    )
    parser.add_argument(
        "--surrogate", type=Path, metavar="BUNDLE", help="another model, whose gradients transfer attacks follow"
    )
    parser.add_argument("--threads", type=int, default=0, help="threads of ONNX Runtime (default 0: all cores)")
    parser.add_argument("--output", type=Path, required=True, help="report to write, .json; .html goes beside it")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser
