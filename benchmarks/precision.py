"""A classifier in float32 and rounded to int8, side by side: speed, clean accuracy, and accuracy under the same audit.

Both bundles are exported from one run (`f2at export RUN --output BUNDLE --precision int8`).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import interleaved, markdown_table, parser, publish, ratio
from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.bundle import open_model
from f2at.bundle.format import CLASSIFIER, Bundle, load_bundle
from f2at.bundle.runtime import create_session

BATCHES = (1, 64)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("float32", type=Path, help="folder of the bundle in float32")
    arguments.add_argument("int8", type=Path, help="folder of the bundle in int8")
    arguments.add_argument("--eps", default="8/255", help="(default: %(default)s)")
    arguments.add_argument("--suite", default="adaptive", help="(default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=500, help="(default: %(default)s)")
    arguments.add_argument("--threads", type=int, default=0, help="of ONNX Runtime (default: all cores)")
    arguments.add_argument("--rounds", type=int, default=20, help="of timing (default: %(default)s)")
    options = arguments.parse_args()
    bundles = [load_bundle(path) for path in (options.float32, options.int8)]
    if [bundle.precision for bundle in bundles] != ["float32", "int8"]:
        arguments.error(f"the bundles must be float32 and int8; got {[bundle.precision for bundle in bundles]}")
    request = AuditRequest(suite=options.suite, eps=options.eps, samples=options.samples)
    speeds = [speed(bundles, batch, options.threads, options.rounds) for batch in BATCHES]
    body = "\n".join(
        [
            f"{bundles[0].manifest['architecture']['name']}, {options.samples} images, suite {options.suite}, "
            f"eps {options.eps}; speed: float32's time / int8's, median (quartiles) of {options.rounds} rounds. The "
            "attacks on int8 follow the float32 gradient and stop where the int8 classifier is wrong.",
            "",
            markdown_table(
                [
                    "classifier",
                    "MB",
                    "clean, %",
                    "robust, % [95 %]",
                    *(f"speed, batch of {batch}" for batch in BATCHES),
                ],
                [
                    row(bundles[0], request, options.threads, ["1"] * len(BATCHES)),
                    row(bundles[1], request, options.threads, speeds),
                ],
            ),
        ]
    )
    command = f"python -m benchmarks.precision {options.float32} {options.int8} --eps {options.eps}"
    publish("precision", command, body, ("onnxruntime-gpu", "onnxruntime", "numpy"), write=options.write)


def speed(bundles: list[Bundle], batch: int, threads: int, rounds: int) -> str:
    """The first bundle's time for a batch over the second's."""
    images = bundles[0].reference()[0][:batch]
    runs = {name: predict(bundle, images, threads) for name, bundle in zip("ab", bundles, strict=True)}
    seconds = interleaved(runs, rounds)
    return ratio(seconds["a"], seconds["b"])


def predict(bundle: Bundle, images: np.ndarray, threads: int) -> Callable[[], None]:
    """About a thousand images, one batch after another."""
    session = create_session(bundle.files[CLASSIFIER], threads=threads, providers=["CPUExecutionProvider"])

    def run() -> None:
        for _ in range(max(1, 1000 // len(images))):
            session.run(["logits"], {"images": images})

    return run


def row(bundle: Bundle, request: AuditRequest, threads: int, speeds: list[str]) -> list[str]:
    """One bundle as a row of the table."""
    audit = open_model(bundle, threads=threads).audit(None, request)
    report = audit.report(run_audit(audit))
    clean, robust = report["clean"], report["robust"]
    interval = f"[{100 * robust['low']:.1f}, {100 * robust['high']:.1f}]"
    return [
        bundle.precision,
        f"{len(bundle.files[CLASSIFIER]) / 1e6:.2f}",
        f"{100 * clean['value']:.1f}",
        f"{100 * robust['value']:.1f} {interval}",
        *speeds,
    ]


if __name__ == "__main__":
    main()
