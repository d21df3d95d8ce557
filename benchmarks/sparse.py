"""Few pixels and patches: what gradient ascent and random search each leave standing, and what they spend.

Each attack runs alone, on the same images that the model gets right; a suite would run the random search on what ascent
leaves. Images are judged as the harness judges them: rounded to 8 bits, inside the set, by the classifier's logits.

With --official, the authors' own Sparse-RS is run beside ours, with the same numbers of queries. It is not part of this
project.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
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

REPOSITORY, COMMIT = "https://github.com/fra31/sparse-rs", "21d8759"
_SETTINGS = {"L0": {"p_init": 0.3}, "patches": {"p_init": 0.4, "update_loc_period": 4}}  # of its README
_COLUMNS = ("attack, alone", "stand", "with the ascent above it", "gradients a sample", "forwards a sample")


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("bundle", type=Path, help="folder of a bundle")
    arguments.add_argument("--pixels", type=int, default=24, help="l0 (default: %(default)s)")
    arguments.add_argument("--area", type=float, default=0.02, help="of a patch, a share (default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=100, help="images that are right (default: %(default)s)")
    arguments.add_argument("--queries", type=int, nargs="+", default=[300, 1000, 3000], help="of the random searches")
    arguments.add_argument("--official", type=Path, metavar="CHECKOUT", help="of Sparse-RS")
    options = arguments.parse_args()
    official = None if options.official is None else load_official(options.official)
    bundle = load_bundle(options.bundle)
    target, (images, labels) = open_model(bundle, threads=1).target, bundle.reference()
    right = np.flatnonzero(~misclassified(target.logits(to_inputs(images)), labels))[: options.samples]
    images, labels = images[right], labels[right]
    side = patch_side(options.area, *images.shape[1:3])
    pixels = partial(_table, target, images, labels, "pixels", options.pixels, keep_pixels)
    patches = partial(_table, target, images, labels, "side", side, keep_patch)
    searches = ({"sparse_rs": sparse_rs}, {"patch_rs": patch_rs})
    if official is not None:
        searches[0]["Sparse-RS, official"] = _official(official, "L0", options.pixels)
        searches[1]["Sparse-RS, official"] = _official(official, "patches", side**2)
    body = (
        f"# Few pixels and patches\n\n{options.bundle}, {len(images)} images that it gets right. "
        "How many of them stand:\n\n"
        f"## {options.pixels} pixels\n\n{pixels(sparse_pgd, searches[0], options.queries)}\n\n"
        f"## A patch of {side} x {side} pixels\n\n{patches(patch_ascent, searches[1], options.queries)}"
    )
    if official is not None:
        body += f"\n\nOfficial: {REPOSITORY} at {COMMIT}, {_SETTINGS}."
    queries = " ".join(map(str, options.queries))
    publish(
        "sparse",
        f"python -m benchmarks.sparse {options.bundle} --pixels {options.pixels} --area {options.area} "
        f"--samples {options.samples} --queries {queries}{'' if official is None else ' --official CHECKOUT'} --write",
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
    keep: Callable[..., Images],
    ascent: Callable[..., Any],
    searches: Mapping[str, Callable[..., Any]],
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
    for name, search in searches.items():
        for count in queries:
            stand, spent = run(search, queries=count)
            rows.append([f"{name}, {count} queries", str(stand.sum()), str((stand & left).sum()), *spent])
    return markdown_table(_COLUMNS, rows)


def load_official(directory: Path) -> Callable[..., Any]:
    """The class RSAttack of a checkout.

    Raises:
        ValueError: there is none; the message says how to get one.
    """
    if not (directory / "rs_attacks.py").is_file():
        raise ValueError(
            f"{directory} must be a checkout of Sparse-RS: "
            f"git clone {REPOSITORY} {directory} && git -C {directory} checkout {COMMIT}"
        )
    sys.path.insert(0, str(directory.resolve()))
    from rs_attacks import RSAttack  # type: ignore[import-not-found]

    return RSAttack  # type: ignore[no-any-return]


def _official(attack: Callable[..., Any], norm: str, size: int) -> Callable[..., Any]:
    """Sparse-RS as an attack of ours: it asks for the logits of tensors."""
    import torch

    def run(target: Target, inputs: NDArray[Any], labels: Labels, *, queries: int, **_: Any) -> NDArray[Any]:
        def logits(x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.asarray(target.logits(x.numpy())))

        given = torch.from_numpy(inputs), torch.from_numpy(labels)
        found = attack(logits, norm=norm, eps=size, n_queries=queries, verbose=False, device="cpu", **_SETTINGS[norm])
        images: NDArray[Any] = found.perturb(*given)[1].numpy()
        return images

    return run


if __name__ == "__main__":
    main()
