"""What bundles withstand of every threat, in one audit each, and what that costs against the audit of the ball alone.

Seconds are of the steps of one run, the ball's and each threat's, on one thread, so that their ratio is of two things
measured in the same run.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import markdown_table, parser, publish
from f2at import audit_bundle
from f2at.audit import AuditRequest

_THREATS = (
    "l2",
    "l1",
    "l0:pixels=5",
    "patch:area=2%",
    "universal",
    "rotate-translate:degrees=30,shift=10%",
    "corruptions:severity=5",
    "jpeg:quality=10",
    "brightness:range=30%",
    "resize:factor=2",
)


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("bundles", type=Path, nargs="+", help="folders of bundles")
    arguments.add_argument("--eps", nargs="+", default=["8/255"], help="linf, one for each bundle (default: 8/255)")
    arguments.add_argument("--threats", nargs="+", default=list(_THREATS), help="(default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=200, help="images (default: %(default)s)")
    arguments.add_argument("--suite", default="adaptive", help="(default: %(default)s)")
    options = arguments.parse_args()
    if len(options.eps) != len(options.bundles):
        arguments.error("--eps must be one for each bundle")
    reports = [
        audit_bundle(
            bundle,
            AuditRequest(suite=options.suite, eps=eps, samples=options.samples, threats=options.threats, examples=0),
            threads=1,
        )
        for bundle, eps in zip(options.bundles, options.eps, strict=True)
    ]
    names = [f"{bundle.name}, linf {eps}" for bundle, eps in zip(options.bundles, options.eps, strict=True)]
    body = (
        f"# What models withstand of every threat\n\nSuite `{options.suite}`, {options.samples} images each; right "
        "images of all, in percent, with 95 % intervals.\n\n"
        f"{markdown_table(('threat', *names), _accuracies(reports))}\n\n## What it costs\n\n"
        "Seconds of the steps of the same run, one thread of ONNX Runtime, and evaluations of one image (gradients + "
        f"answers) by attacks.\n\n{markdown_table(('threat', *names), _costs(reports))}"
    )
    publish(
        "threats",
        f"python -m benchmarks.threats {' '.join(map(str, options.bundles))} --eps {' '.join(options.eps)} "
        f"--samples {options.samples} --suite {options.suite} --threats {' '.join(options.threats)} --write",
        body,
        ("numpy", "onnxruntime-gpu"),
        write=options.write,
    )


def _accuracies(reports: list[dict[str, Any]]) -> list[list[str]]:
    rows = [["clean", *(_share(r["clean"]) for r in reports)], ["the ball", *(_share(r["robust"]) for r in reports)]]
    for number, section in enumerate(reports[0]["threats"]):
        rows.append([f"`{section['threat']}`", *(_share(r["threats"][number]["robust"]) for r in reports)])
    return [*rows, ["all of these", *(_share(r["worst_case"]) for r in reports)]]


def _costs(reports: list[dict[str, Any]]) -> list[list[str]]:
    ball = ["the ball, with what is measured besides"]
    total = ["all / the ball"]
    for report in reports:
        own = _seconds(report, None)
        ball.append(f"{own:.1f} s, {_evaluations(report['attacks'])}")
        total.append(f"{report['run']['total_seconds'] / own:.2f}")
    rows = []
    for number, section in enumerate(reports[0]["threats"]):
        cells = []
        for report in reports:
            found = report["threats"][number]
            tried = _evaluations(found["attacks"])
            if found["scan"] is not None:
                tried = f"{len(found['scan']) * report['data']['n']:,}"
            cells.append(f"{_seconds(report, found['threat']):.1f} s, {tried}")
        rows.append([f"`{section['threat']}`", *cells])
    return [ball, *rows, total]


def _evaluations(attacks: list[Mapping[str, Any]]) -> str:
    gradients, answers = (sum(a[f"{kind}_evaluations"] for a in attacks) for kind in ("gradient", "forward"))
    return f"{gradients:,} + {answers:,}"


def _seconds(report: Mapping[str, Any], threat: str | None) -> float:
    """Of a threat's steps, or of all that are no threat's."""
    seconds: Mapping[str, float] = report["run"]["seconds"]
    if threat is None:
        return sum(value for stage, value in seconds.items() if ":" not in stage)
    return sum(value for stage, value in seconds.items() if stage.startswith(f"{threat}/"))


def _share(accuracy: Mapping[str, Any]) -> str:
    return f"{100 * accuracy['value']:.1f} [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"


if __name__ == "__main__":
    main()
