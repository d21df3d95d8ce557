"""Audits: the cost of a suite, and the share of its time that the harness takes."""

from pathlib import Path

from benchmarks.common import interleaved, markdown_table, parser, publish
from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.bundle import open_bundle
from f2at.audit.page.html import render_report

COLUMNS = ("bundle", "suite", "clean, %", "robust, %", "seconds", "harness", "images/s", "report page, s")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path, nargs="+", help="folders of the bundles to audit")
    arguments.add_argument("--eps", nargs="+", default=["8/255"], help="one for each bundle (default: 8/255)")
    arguments.add_argument("--samples", type=int, default=200, help="(default: %(default)s)")
    arguments.add_argument("--suites", nargs="+", default=["quick", "adaptive"], help="(default: quick adaptive)")
    arguments.add_argument("--threads", type=int, default=0, help="of ONNX Runtime (default: all cores)")
    options = arguments.parse_args()
    rows = [
        row(bundle, eps, suite, options.samples, options.threads)
        for bundle, eps in zip(options.bundle, options.eps, strict=True)
        for suite in options.suites
    ]
    body = "\n".join(
        [
            f"Audits of {options.samples} images offline, one run each; the harness's share is the time of all steps "
            "that is not spent inside ONNX Runtime's two sessions. Goal: 10 %.",
            "",
            markdown_table(COLUMNS, rows),
        ]
    )
    command = "python -m benchmarks.audit " + " ".join(map(str, options.bundle)) + f" --eps {' '.join(options.eps)}"
    publish("audit", command, body, ("onnxruntime-gpu", "onnxruntime", "numpy"), write=options.write)


def row(path: Path, eps: str, suite: str, samples: int, threads: int) -> list[str]:
    """One audit as a row of the table."""
    request = AuditRequest(suite=suite, eps=eps, samples=samples)
    audit = open_bundle(path, threads=threads).audit(None, request)
    report = audit.report(run_audit(audit))
    (page,) = interleaved({"page": lambda: render_report(report)}, rounds=1)["page"]
    total, inside = report["run"]["total_seconds"], report["run"]["model_seconds"]
    shares = (f"{100 * report[key]['value']:.1f}" for key in ("clean", "robust"))
    return [
        f"{path.name}, eps {eps}",
        suite,
        *shares,
        f"{total:.1f}",
        f"{1 - inside / total:.1%}",
        f"{samples / total:.1f}",
        f"{page:.2f}",
    ]


if __name__ == "__main__":
    main()
