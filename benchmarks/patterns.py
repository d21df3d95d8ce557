"""What natural and perturbed patterns of attacked images hold (F2AT, Fig. 9): the premise of L_pd, measured.

The paper takes X_nat of an attacked image for what is natural in it, and X_pert for the attack. For each K: how many
values of X_nat the attack changes, and by how much; how much X_pert is the clean image's own, and how much the attack.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import markdown_table, parser, publish
from f2at.attacks.grid import snap
from f2at.attacks.threat import parse_eps
from f2at.attacks.white_box.pgd import pgd
from f2at.audit.opening.bundle import open_model
from f2at.bundle.format import load_bundle
from f2at.images.bitplanes import natural_pattern, perturbed_pattern
from f2at.images.pixels import to_inputs

_COLUMNS = (
    "K",
    "a plane's step, levels",
    "values of X_nat that change, %",
    "mean change of those, levels",
    "X_pert with the clean image's X_pert",
    "X_pert with x' - x",
)


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("bundle", type=Path, help="folder of a bundle")
    arguments.add_argument("--eps", default="8/255", help="linf (default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=500, help="reference images (default: %(default)s)")
    options = arguments.parse_args()
    bundle = load_bundle(options.bundle)
    model, (images, labels) = open_model(bundle, threads=1), bundle.reference()
    eps = parse_eps(options.eps, "linf")
    clean, labels = images[: options.samples], labels[: options.samples]
    found = pgd(model.target, to_inputs(clean), labels, eps=float(eps), steps=20, rng=np.random.default_rng(0))
    attacked = snap(found, clean, eps=eps, norm="linf")
    rows = [_row(clean, attacked, planes) for planes in range(2, 7)]
    introduction = (
        f"# What the patterns of attacked images hold\n\n{options.bundle}, {len(clean)} images, PGD-20, linf "
        f"{options.eps}. The last two columns are correlations over all values, 1 being the same."
    )
    publish(
        "patterns",
        f"python -m benchmarks.patterns {options.bundle} --eps {options.eps} --samples {options.samples} --write",
        f"{introduction}\n\n{markdown_table(_COLUMNS, rows)}",
        ("numpy", "onnxruntime-gpu"),
        write=options.write,
    )


def _row(clean: NDArray[np.uint8], attacked: NDArray[np.uint8], planes: int) -> list[str]:
    before, after = (natural_pattern(x, planes=planes).astype(int) for x in (clean, attacked))
    changes = np.abs(after - before)[after != before]
    low, own = (perturbed_pattern(x, planes=planes) for x in (attacked, clean))
    return [
        str(planes),
        str(1 << (8 - planes)),
        f"{100 * changes.size / before.size:.1f}",
        f"{changes.mean():.0f}" if changes.size else "",
        f"{_correlation(low, own):.2f}",
        f"{_correlation(low, attacked.astype(int) - clean):.2f}",
    ]


def _correlation(one: NDArray[np.integer], other: NDArray[np.integer]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


if __name__ == "__main__":
    main()
