"""Command line: audit a bundle, write report.json and report.html. No server and no PyTorch needed."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attacks.audit import Audit, AuditRequest, Step, run_audit
from attacks.audit.html import render
from attacks.audit.suites import SUITES
from attacks.onnx_target import OnnxTarget
from attacks.threat import NORMS
from export.bundle import CLASSIFIER, GRADIENT, Bundle, load_bundle
from export.runtime import active_provider, create_session

EXIT_CODES = {None: 0, "pass": 0, "fail": 3, "inconclusive": 4}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _audit(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def open_audit(
    bundle: Bundle, request: AuditRequest, *, threads: int = 0, providers: Sequence[str] | None = None
) -> Audit:
    """The audit of a bundle's own reference images by its own two graphs."""
    classifier, gradient = (
        create_session(bundle.files[name], threads=threads, providers=providers) for name in (CLASSIFIER, GRADIENT)
    )
    images, labels = bundle.reference()
    return Audit(
        OnnxTarget(classifier, gradient),
        images,
        labels,
        request,
        classes=bundle.classes,
        model={"digest": bundle.digest, "manifest": dict(bundle.manifest)},
        environment={"provider": active_provider(classifier), "gradient_provider": active_provider(gradient)},
    )


def _audit(options: argparse.Namespace) -> int:
    output, page = options.output, options.output.with_suffix(".html")
    if output.suffix != ".json":
        raise ValueError(f"output must end in .json; got {output}")
    for path in (output, page):
        if path.exists() and not options.overwrite:
            raise ValueError(f"{path} exists; give --overwrite or another --output")
    request = AuditRequest(
        suite=options.suite,
        eps=options.eps,
        norm=options.norm,
        samples=options.samples,
        seed=options.seed,
        min_robust_accuracy=options.min_robust_accuracy,
        examples=options.examples,
    )
    audit = open_audit(load_bundle(options.bundle), request, threads=options.threads)

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
    output.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="ascii")
    page.write_text(render(report), encoding="utf-8")
    print(_summary(report))
    print(f"\n{output}\n{page}")
    return EXIT_CODES[report["verdict"]["outcome"]]


def _summary(report: Mapping[str, Any]) -> str:
    """The report in a dozen lines."""
    threat, verdict, clean = report["threat_model"], report["verdict"], report["clean"]
    effective = threat["effective_eps"]
    note = "" if effective == threat["eps"] else f" (8-bit images can use {effective})"
    lines = [
        f"model {report['model']['digest']}",
        f"{clean['n']} images, {threat['norm']}, eps {threat['eps']}{note}",
        "",
        f"{'attack':<12}{'attempted':>10}{'broken':>8}{'standing':>16}",
        f"{'clean':<12}{clean['n']:>10}{clean['n'] - clean['k']:>8}{_share(clean)}",
    ]
    lines += [
        f"{attack['name']:<12}{attack['attempted']:>10}{attack['broken']:>8}{_share(attack['robust'])}"
        for attack in report["attacks"]
    ]
    if report["curve"]["broken_inside_eps"]:
        lines.append(f"{'curve':<12}{'':>10}{report['curve']['broken_inside_eps']:>8}{_share(report['robust'])}")
    low, high = report["robust"]["low"], report["robust"]["high"]
    lines += ["", f"robust accuracy {report['robust']['value']:.1%}, 95 % interval {low:.1%} to {high:.1%}"]
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
        description="Attack an exported model with its own reference images and report how many answers survive.",
        epilog="exit codes: 0 done (and the threshold, if any, is met); 2 bad input; 3 the threshold is not met; "
        "4 the threshold lies inside the confidence interval, so more samples are needed to tell",
    )
    parser.add_argument("bundle", type=Path, help="folder written by python -m export")
    parser.add_argument("--suite", default="quick", help=f"list of attacks: {', '.join(SUITES)} (default quick)")
    parser.add_argument(
        "--eps", default="8/255", help="largest change, pixels in [0, 1]: 8/255 or 0.03 (default 8/255)"
    )
    parser.add_argument("--norm", default="linf", help=f"how the change is measured: {', '.join(NORMS)} (default linf)")
    parser.add_argument("--samples", type=int, help="how many reference images to draw (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of every random number (default 0)")
    parser.add_argument("--min-robust-accuracy", type=float, help="threshold from 0 to 1 to hold the result against")
    parser.add_argument("--examples", type=int, default=8, help="pictures of adversarial images to show (default 8)")
    parser.add_argument("--threads", type=int, default=0, help="threads of ONNX Runtime (default 0: all cores)")
    parser.add_argument("--output", type=Path, required=True, help="report to write, .json; .html goes beside it")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
