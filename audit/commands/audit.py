"""`f2at audit BUNDLE`: audit a bundle or any ONNX classifier, write report.json and report.html."""

import argparse
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from tqdm import tqdm

from f2at.attacks.targets.onnx_classifier import LAYOUTS
from f2at.attacks.threat import NORMS
from f2at.audit import Audit, AuditRequest, Step
from f2at.audit.opening import Model, open_bundle, open_onnx
from f2at.audit.perform import perform
from f2at.audit.reports.files import page_path, write_report
from f2at.audit.suites import CUSTOM, SUITES
from f2at.command_line import Parser
from f2at.images.labelled import read_labelled
from f2at.images.pixels import Images, Labels

_ONNX_ONLY = ("class_names", "layout", "mean", "std", "scale", "output_name")
EXIT_CODES = {None: 0, "pass": 0, "fail": 3, "inconclusive": 4}


def run(arguments: Sequence[str]) -> int:
    """Audit, write the two files, print a summary and return the exit code."""
    options = _parser().parse_args(arguments)
    output, page = options.output, page_path(options.output, name="output")
    for path in (output, page):
        if path.is_dir():
            raise ValueError(f"output must name a file to write; {path} is a folder")
        if path.exists() and not options.overwrite:
            raise ValueError(f"{path} exists; give --overwrite or another --output")
    audit = _open(options, _request(options))

    output.parent.mkdir(parents=True, exist_ok=True)  # now rather than after minutes of work
    with tqdm(total=len(audit.steps), unit="step", disable=options.quiet) as bar:

        def advance(step: Step) -> None:
            bar.set_description(f"shard {step.shard + 1}/{len(audit.shards)} {step.stage}")
            bar.update()

        report = perform(audit, progress=advance)
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
    usual = "quick" if options.onnx is None else "black-box"
    if attacks and options.suite not in (None, CUSTOM):
        raise ValueError(f"suite must be left out where attacks are given; got {options.suite}")
    return AuditRequest(
        suite=CUSTOM if attacks else options.suite or usual,
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
    model, images, labels = _model(options)
    surrogate = None
    if options.surrogate is not None:
        surrogate, *_ = open_bundle(options.surrogate, threads=options.threads)
    return model.audit(images, labels, request, surrogate=surrogate)


def _model(options: argparse.Namespace) -> tuple[Model, Images, Labels]:
    """The model to audit, and labelled images for it."""
    if options.bundle is not None and options.onnx is not None:
        raise ValueError(f"a bundle and --onnx FILE exclude each other; got {options.bundle} and {options.onnx}")
    if options.bundle is None and options.onnx is None:
        raise ValueError("either a bundle, written by f2at export, or --onnx FILE must be given")
    if options.onnx is None:
        for name in _ONNX_ONLY:
            if getattr(options, name) is not None:
                raise ValueError(f"{name.replace('_', '-')} goes with --onnx only; a bundle knows its own")
        opened = open_bundle(options.bundle, threads=options.threads)
        return opened if options.data is None else (opened[0], *read_labelled(options.data, name="data"))
    if options.data is None:
        raise ValueError("data must be given for --onnx: an .npz file with images and labels")
    images, labels = read_labelled(options.data, name="data")
    model = open_onnx(
        options.onnx,
        classes=options.class_names,
        size=images.shape[1:3],
        threads=options.threads,
        output=options.output_name,
        layout=options.layout,
        mean=options.mean,
        std=options.std,
        scale=options.scale,
    )
    return model, images, labels


def _summary(report: Mapping[str, Any]) -> str:
    """The report in a dozen lines."""
    threat, verdict, clean, robust = (report[key] for key in ("threat_model", "verdict", "clean", "robust"))
    effective = threat["effective_eps"]
    note = "" if effective == threat["eps"] else f" (8-bit images can use {effective})"
    # What else broke images: attacks on some of them that continue where the suite stops.
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


def _parser() -> Parser:
    parser = Parser(
        prog="f2at audit",
        usage="f2at audit BUNDLE --output REPORT.json [options]\n"
        "       f2at audit --onnx FILE --data IMAGES.npz --output REPORT.json [options]",
        description="Attack an exported model with its own reference images and report how many answers survive.",
        epilog="exit codes: 0 done (and the threshold, if any, is met); 2 bad input; 3 the threshold is not met; "
        "4 the threshold lies inside the confidence interval, so more samples are needed to tell",
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="folder written by f2at export")
    parser.add_argument("--suite", help=f"list of attacks: {', '.join(SUITES)} (default quick; with --onnx black-box)")
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
    parser.add_argument("--samples", type=int, help="how many images to draw (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of every random number (default 0)")
    parser.add_argument("--min-robust-accuracy", type=float, help="threshold from 0 to 1 to compare the result with")
    parser.add_argument("--examples", type=int, default=8, help="pictures of adversarial images to show (default 8)")
    parser.add_argument(
        "--data", type=Path, metavar="IMAGES.npz", help="images, uint8 (N, H, W, 3), and labels (default the bundle's)"
    )
    parser.add_argument(
        "--surrogate", type=Path, metavar="BUNDLE", help="another model, whose gradients transfer attacks follow"
    )
    _add_onnx_options(parser.add_argument_group("any classifier in an ONNX file, by attacks that need no gradients"))
    parser.add_argument("--threads", type=int, default=0, help="threads of ONNX Runtime (default 0: all cores)")
    parser.add_argument("--output", type=Path, required=True, help="report to write, .json; .html goes beside it")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _add_onnx_options(group: argparse._ArgumentGroup) -> None:
    """Images reach the graph as (scale x - mean) / std, x in [0, 1]; a graph of uint8 pixels takes them as they are."""
    group.add_argument("--onnx", type=Path, metavar="FILE", help="the file, in place of a bundle; needs --data")
    group.add_argument("--class-names", type=_names, metavar="A,B,...", help="one for each output (default 0,1,...)")
    group.add_argument("--mean", type=_channels, metavar="R,G,B", help="subtracted from pixels in [0, 1] (default 0)")
    group.add_argument("--std", type=_channels, metavar="R,G,B", help="then divided by (default 1)")
    group.add_argument("--scale", type=float, help="multiplied by before, 255 for a graph of levels (default 1)")
    group.add_argument("--layout", choices=LAYOUTS, help="where the channels are, if the graph does not tell")
    group.add_argument("--output-name", metavar="NAME", help="the output with the logits, if there are several")


def _names(text: str) -> list[str]:
    return text.split(",")


def _channels(text: str) -> list[float]:
    """A number for each channel, or one for all."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"must be one number or three, as in 0.5,0.4,0.4; got {text!r}")
    return numbers * (3 // len(numbers))
