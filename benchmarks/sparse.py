"""Few pixels and patches: what gradient ascent and random search each leave standing, and what they spend.

Each attack runs alone, on the same images that the model gets right; a suite would run the random search on what ascent
leaves. Images are judged as the harness judges them: rounded to 8 bits, inside the set, by the classifier's logits.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import markdown_table, parser, publish
from f2at.attacks import CountingTarget, Target
from f2at.attacks.sparse.patch_ascent import patch_ascent
from f2at.attacks.sparse.patch_rs import patch_rs
from f2at.attacks.sparse.sets import keep_patch, keep_pixels, patch_side
from f2at.attacks.sparse.sparse_pgd import sparse_pgd
from f2at.attacks.sparse.sparse_rs import sparse_rs
from f2at.attacks.survivors import misclassified
from f2at.audit.opening.bundle import open_model
from f2at.bundle.format import load_bundle
from f2at.images.pixels import Images, Labels, to_inputs

_COLUMNS = ("attack, alone", "stand", "with the ascent above it", "gradients a sample", "forwards a sample")


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("bundle", type=Path, help="folder of a bundle")
    arguments.add_argument("--pixels", type=int, default=24, help="l0 (default: %(default)s)")
    arguments.add_argument("--area", type=float, default=0.02, help="of a patch, a share (default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=100, help="images that are right (default: %(default)s)")
    arguments.add_argument("--queries", type=int, nargs="+", default=[300, 1000, 3000], help="of the random searches")
    options = arguments.parse_args()
    bundle = load_bundle(options.bundle)
    target, (images, labels) = open_model(bundle, threads=1).target, bundle.reference()
    right = np.flatnonzero(~misclassified(target.logits(to_inputs(images)), labels))[: options.samples]
    images, labels = images[right], labels[right]
    side = patch_side(options.area, *images.shape[1:3])
    pixels = partial(_table, target, images, labels, "pixels", options.pixels, sparse_pgd, sparse_rs, keep_pixels)
    patches = partial(_table, target, images, labels, "side", side, patch_ascent, patch_rs, keep_patch)
    body = (
        f"# Few pixels and patches\n\n{options.bundle}, {len(images)} images that it gets right. "
        "How many of them stand:\n\n"
        f"## {options.pixels} pixels\n\n{pixels(options.queries)}\n\n"
        f"## A patch of {side} x {side} pixels\n\n{patches(options.queries)}"
    )
    queries = " ".join(map(str, options.queries))
    publish(
        "sparse",
        f"python -m benchmarks.sparse {options.bundle} --pixels {options.pixels} --area {options.area} "
        f"--samples {options.samples} --queries {queries} --write",
        body,
        ("numpy", "onnxruntime-gpu"),
        write=options.write,
    )


def _table(
    target: Target,
    images: Images,
    labels: Labels,
    size: str,
    number: int,
    ascent: Callable[..., Any],
    search: Callable[..., Any],
    keep: Callable[..., Images],
    queries: list[int],
) -> str:
    def run(attack: Callable[..., Any], **options: Any) -> tuple[NDArray[np.bool_], list[str]]:
        counting, rng = CountingTarget(target), np.random.default_rng(0)
        found = attack(counting, to_inputs(images), labels, rng=rng, **{size: number}, **options)
        kept = keep(found, images, **{size: number})
        stand = ~misclassified(target.logits(to_inputs(kept)), labels)
        spent = (counting.gradient_evaluations, counting.forward_evaluations)
        return stand, [f"{evaluations / len(images):.1f}" for evaluations in spent]

    left, spent = run(ascent)
    rows = [[ascent.__name__, str(left.sum()), "", *spent]]
    for count in queries:
        stand, spent = run(search, queries=count)
        rows.append([f"{search.__name__}, {count} queries", str(stand.sum()), str((stand & left).sum()), *spent])
    return markdown_table(_COLUMNS, rows)


if __name__ == "__main__":
    main()
