"""`f2at audit MODEL`: audit a bundle, any ONNX classifier or an endpoint, write report.json and report.html."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from f2at.attacks.threat import NORMS
from f2at.audit import Audit, AuditRequest
from f2at.audit.commands.bar import progress_bar
from f2at.audit.commands.endpoint import add_endpoint_options
from f2at.audit.commands.foreign import add_foreign_options
from f2at.audit.commands.model import Opened, open_all, suited
from f2at.audit.commands.outputs import check_outputs
from f2at.audit.commands.planning import add_planning_options, check_planning_options, plan
from f2at.audit.commands.shapes import Shape, add_shape_options, shape_files, write_shapes
from f2at.audit.journal import Journal
from f2at.audit.perform import perform
from f2at.audit.provenance.context import read_context
from f2at.audit.provenance.notation import parse_attack
from f2at.audit.reports.files import page_path, write_report
from f2at.audit.reports.statistics import CONFIDENCE
from f2at.audit.suites import CUSTOM, FOR_THRESHOLDS, SUITES, accuracy_name
from f2at.bundle.format import SIGNATURE
from f2at.command_line import Parser
from f2at.files import is_url, location

EXIT_CODES = {None: 0, "pass": 0, "fail": 3, "inconclusive": 4}
INTERRUPTED = 130
_SAMPLES, _DRAWS = 8, 11  # for a model that answers at random


def run(arguments: Sequence[str], *, shapes: Sequence[Shape] = ()) -> int:
    """Audit, write the two files and the shapes asked for, print a summary and return the exit code.

    A shape is rendered of the report and the path that it was written to.
    """
    parser = audit_parser()
    add_shape_options(parser, shapes)
    options = parser.parse_args(arguments)
    check_planning_options(options)
    if options.plan:
        opened = open_all(options)
        print(plan(options, suited(audit_request(options), options, opened.model), opened))
        return 0
    if options.output is None:
        parser.error("the following arguments are required: --output")
    output, page = options.output, page_path(options.output, name="output")
    also = shape_files(options, shapes)
    places = [("output", output), ("output", page), *((shape.option, path) for shape, path in also)]
    inputs = [options.model, options.data, options.surrogate, options.context]
    check_outputs(places, inputs, overwrite=options.overwrite)
    context = None if options.context is None else read_context(options.context)
    request = audit_request(options)
    opened = open_all(options)
    audit = _steadied(opened, suited(request, options, opened.model))

    # The first write to the folder is now rather than after minutes of work.
    journal = Journal(output.with_suffix(".unfinished"), audit, anew=options.overwrite)
    try:
        with nullcontext() if options.quiet else progress_bar(audit, kept=len(journal)) as meter:
            report = perform(audit, journal=journal, meter=meter, context=context)
        write_report(report, output, model_signature=_signature_of(options.model))
    except KeyboardInterrupt:
        kept = f"{len(journal)} of {len(audit.steps)} steps are kept; the same command goes on from there"
        print(f"f2at audit: interrupted: {kept}", file=sys.stderr)
        return INTERRUPTED
    finally:
        if not len(journal):
            journal.delete()
    journal.delete()
    write_shapes(also, report, output)
    print(_summary(report))
    print("", *(path for _, path in places), sep="\n")
    return EXIT_CODES[report["verdict"]["outcome"]]


def _steadied(opened: Opened, request: AuditRequest) -> Audit:
    """The audit, with means and majorities where the model answers at random and the request does not say how often."""
    audit = opened.audit(request)
    if request.random or opened.model.asked_at_a_price or not audit.wavers():
        return audit
    print(
        "f2at audit: the model answers the same images differently: attacks follow means over "
        f"{_SAMPLES} evaluations, and an image is right if more than half of {_DRAWS} answers are "
        "(--samples-per-gradient, --draws)",
        file=sys.stderr,
    )
    return opened.audit(request.model_copy(update={"samples_per_gradient": _SAMPLES, "draws": _DRAWS}))


def audit_request(options: argparse.Namespace) -> AuditRequest:
    """What the options ask for."""
    attacks = [parse_attack(text) for text in options.attack] or None
    if attacks and options.suite not in (None, CUSTOM):
        raise ValueError(f"suite must be left out where attacks are given; got {options.suite}")
    answers_alone = "black-box" if options.black_box or is_url(options.model) else None
    suite = CUSTOM if attacks else options.suite or answers_alone
    return AuditRequest(
        **({} if suite is None else {"suite": suite}),
        attacks=attacks,
        eps=options.eps,
        norm=options.norm,
        samples=options.samples,
        seed=options.seed,
        min_robust_accuracy=options.min_robust_accuracy,
        accept_weak=options.accept_weak,
        confidence=options.confidence,
        examples=options.examples,
        curve=not options.no_curve and options.max_queries is None,
        samples_per_gradient=options.samples_per_gradient,
        draws=options.draws,
        threats=options.threat,
        gate=options.gate,
    )


def _summary(report: Mapping[str, Any]) -> str:
    """The report in a dozen lines."""
    threat, verdict, clean, robust = (report[key] for key in ("threat_model", "verdict", "clean", "robust"))
    effective = threat["effective_eps"]
    note = "" if effective == threat["eps"] else f" (8-bit images can use {effective})"
    # What else broke images: attacks on some of them that continue where the suite stops.
    late = {
        "iterations": report["iterations"]["broken_beyond_suite"] if report["iterations"] else 0,
        "curve": report["curve"]["broken_inside_eps"] if report["curve"] else 0,
    }
    width = max(len(name) for name in ("iterations", *(attack["name"] for attack in report["attacks"]))) + 2
    lines = [
        *(f"model {report['model'][name]}" for name in ("url", "digest") if name in report["model"]),
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
    name, suite = accuracy_name(threat["knowledge"]), report["suite"]
    interval = f"{100 * robust['confidence']:g} % interval {robust['low']:.1%} to {robust['high']:.1%}"
    lines += ["", f"{name} {robust['value']:.1%}, {interval}"]
    lines.append(f"suite {suite['name']}, {suite['strength']}: {suite['claims']}")
    if clean["k"] == robust["k"] > 0:
        lines.append("the attacks broke nothing: every image that is right without them is right under them")
    lines += _threat_lines(report)
    if verdict["outcome"]:
        lines += [f"threshold {verdict['threshold']:.1%}: {verdict['outcome']}", f"  {verdict['reason']}"]
    lines += [f"flag: {flag['title']} ({flag['evidence']})" for flag in report["flags"] if flag["raised"]]
    return "\n".join(lines)


def _threat_lines(report: Mapping[str, Any]) -> list[str]:
    """A line for each threat beside the ball, and one for all of them."""
    sections = report["threats"]
    if not sections:
        return []
    width = max(len(section["threat"]) for section in sections) + 2
    rows = [f"{s['threat']:<{width}}{_share(s['robust'])}  {s['strength']}" for s in sections]
    worst = report["worst_case"]
    level = f"{100 * worst['confidence']:g} % interval {worst['low']:.1%} to {worst['high']:.1%}"
    return [
        "",
        f"{'threat':<{width}}{'standing':>16}",
        *rows,
        f"under all of these, too: {worst['value']:.1%}, {level}",
    ]


def _signature_of(model: str | Path) -> str | None:
    """What is known of the signature of a bundle."""
    if isinstance(model, str) or not model.is_dir():
        return None
    if not (model / SIGNATURE).is_file():
        return "The bundle is not signed."
    name = model.name or "BUNDLE"
    return f"The bundle has one, which the audit did not check: f2at verify {name} --public-key KEY does."


def _share(accuracy: Mapping[str, Any]) -> str:
    counts = f"{accuracy['k']}/{accuracy['n']}"
    return f"{counts:>9}{accuracy['value']:>7.1%}"


def audit_parser() -> Parser:
    """What `f2at audit` takes."""
    parser = Parser(
        prog="f2at audit",
        usage="f2at audit BUNDLE --output REPORT.json [options]\n"
        "       f2at audit MODEL.onnx --data DATA --output REPORT.json [options]\n"
        "       f2at audit https://HOST/PATH --data DATA --output REPORT.json [options]\n"
        "       f2at audit MODEL --plan --min-robust-accuracy SHARE --expect SHARE [options]",
        description="Attack a model with labelled images and report how many of its answers survive.",
        epilog="exit codes: 0 done (and the threshold, if any, is met); 2 bad input; 3 the threshold is not met; "
        "4 the threshold lies inside the confidence interval, so more samples are needed to tell, or is reached by a "
        "weak suite alone, or on images that do not show that the model is better than chance; 130 interrupted: "
        "what is done is kept beside the report, and the same command goes on",
    )
    parser.add_argument(
        "model",
        type=location,
        metavar="MODEL",
        help="a bundle's folder, an ONNX file, or the URL of a model behind HTTP, whose key is in F2AT_ENDPOINT_KEY",
    )
    parser.add_argument(
        "--suite",
        help=f"list of attacks: {', '.join(SUITES)} (default quick, {FOR_THRESHOLDS} for a threshold, black-box for "
        "what gives no gradients)",
    )
    parser.add_argument(
        "--attack",
        action="append",
        default=[],
        metavar="NAME[:parameter=value,...]",
        help="in place of a suite, as often as needed: pgd:steps=50,step_size=2/255; see f2at list",
    )
    parser.add_argument(
        "--eps", default="8/255", help="largest change, pixels in [0, 1]: 8/255 or 0.03 (default 8/255)"
    )
    parser.add_argument("--norm", default="linf", help=f"how the change is measured: {', '.join(NORMS)} (default linf)")
    parser.add_argument(
        "--threat",
        action="append",
        default=[],
        metavar="NAME[:parameter=value,...]",
        help="audit another threat as well, as often as needed: patch:area=2%%, rotate-translate:degrees=30; see "
        "f2at list",
    )
    parser.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="THREAT",
        help="let this threat, one of those given, count for the threshold besides the ball",
    )
    parser.add_argument("--samples", type=int, help="how many images to draw (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of every random number (default 0)")
    parser.add_argument("--min-robust-accuracy", type=float, help="threshold from 0 to 1 to compare the result with")
    parser.add_argument(
        "--accept-weak", action="store_true", help="let the threshold be passed by a suite that claims no strength"
    )
    parser.add_argument(
        "--confidence", type=float, default=CONFIDENCE, help=f"level of the intervals (default {CONFIDENCE})"
    )
    parser.add_argument(
        "--no-curve", action="store_true", help="leave out the search for the nearest error of each image"
    )
    parser.add_argument(
        "--samples-per-gradient",
        type=int,
        default=1,
        help="for a model that answers at random: attacks follow the mean of so many evaluations (default 1)",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=1,
        help="for such a model: an image is right if more than half of so many answers are (default 1)",
    )
    parser.add_argument("--examples", type=int, default=8, help="pictures of adversarial images to show (default 8)")
    parser.add_argument(
        "--data",
        type=location,
        metavar="DATA",
        help="labelled images: a folder with one for each class, here or at the URL of a store, or an .npz or a "
        ".parquet file (default the bundle's)",
    )
    parser.add_argument(
        "--surrogate", type=Path, metavar="BUNDLE", help="another model, whose gradients transfer attacks follow"
    )
    group = parser.add_argument_group("any classifier in an ONNX file, or behind HTTP")
    add_foreign_options(group)
    group.add_argument("--black-box", action="store_true", help="attack it by its answers alone, without gradients")
    add_endpoint_options(parser.add_argument_group("a model behind HTTP"))
    parser.add_argument(
        "--context", type=Path, metavar="FILE.toml", help="what the report is to say of responsibility, use and data"
    )
    add_planning_options(parser.add_argument_group("before an audit"))
    parser.add_argument("--threads", type=int, default=0, help="threads of ONNX Runtime (default 0: all cores)")
    parser.add_argument("--output", type=Path, help="report to write, .json; .html goes beside it")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser
