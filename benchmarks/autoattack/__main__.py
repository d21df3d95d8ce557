"""Our audit's suites compared with the official AutoAttack: the same images of the same model, every pass counted.

    python -m benchmarks.autoattack reference RUN --official CHECKOUT --eps 8/255 --output FILE.npz
    python -m benchmarks.autoattack suites FILE.npz BUNDLE --suites standard,adaptive,quick
    python -m benchmarks.autoattack compare [TITLE=]FILE.npz ... --output benchmarks/results/autoattack.md

The first two record the result for each sample, and resume where they were interrupted. The official AutoAttack is not
part of this project; `reference` says how to get it.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.autoattack import official, ours
from benchmarks.autoattack.agreement import (
    GOALS,
    OFFICIAL,
    attack_table,
    budget_plot,
    budget_table,
    common_part,
    summary_table,
)
from benchmarks.autoattack.record import Record, Rows, carry_out
from benchmarks.common import environment
from f2at.attacks.target import Target
from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import NORMS, parse_eps
from f2at.audit.suites import SUITES, suite_for
from f2at.bundle.format import CLASSIFIER, GRADIENT, MANIFEST, load_bundle
from f2at.bundle.runtime import create_session
from f2at.images.pixels import Images
from f2at.images.sets.npz import read_labelled
from f2at.models.checkpoint import load_checkpoint

_CHUNK = 100  # batch size of the official evaluation, and the most that an interrupted run repeats
_EXPLANATION = """\
Both sides attack the same images in the same order, attack after attack on the samples that still stand. A gradient
evaluation is one sample's backward pass; it takes a forward pass, which is counted among the forward passes. The
official suite judges its images as floats, ours judges them rounded to 8 bits, as the deployed model gets them. Budget:
robust accuracy if each sample may take so many forward + backward passes; 100 % is what the official suite spends on a
sample that stands. A sample falls at the pass whose image, inside the ball, is misclassified first.
Seconds are those of one thread; the machine was shared, so processor seconds are the fairer ones."""


def reference(options: argparse.Namespace) -> None:
    """Run the official AutoAttack and store the record."""
    autoattack = official.load_official(options.official)
    model, info, digest = _load_run(options.run)
    images, labels = _reference_images(options.run)
    indices = ours.drawn(len(labels), min(options.samples, len(labels)))
    eps = parse_eps(options.eps, options.norm)
    about = {
        "what": f"official AutoAttack {official.COMMIT}, standard",
        "checkpoint": digest,
        "dataset": info.dataset,
        "architecture": dict(info.architecture),
        "norm": options.norm,
        "eps": str(eps),
        "audit_seed": ours.SEED,
        "attack_seed": official.SEED,
        "chunk": _CHUNK,
        "threads": options.threads,
    }

    def run(record: Record, size: int) -> None:
        rows = indices[record.done : record.done + size]
        official.run_official(record, images[rows], labels[rows], model, autoattack, eps=eps, norm=options.norm)

    carry_out(Record.empty(about, official.attacks_for(len(info.classes)), indices), options.output, _CHUNK, run)


def suites(options: argparse.Namespace) -> None:
    """Run our suites on the samples of a record, and store a record of each beside it."""
    known = Record.load(options.record)
    norm, eps = known.about["norm"], parse_eps(known.about["eps"], known.about["norm"])
    images, labels, target, to_target, model = _open_model(options.model, options.threads)
    indices = known.samples["index"]
    for name in options.suites:
        suite = suite_for(name, norm)
        about = {
            "what": f"suite {name}",
            "model": model,
            "attacks": [{"name": attack.name, **attack.parameters} for attack in suite.attacks],
            "every": dict(suite.every),
            "norm": norm,
            "eps": str(eps),
            "seed": ours.SEED,
            "threads": options.threads,
        }

        def run(record: Record, size: int, suite: Any = suite) -> None:
            rows = indices[record.done : record.done + size]
            ours.run_suite(record, images[rows], labels[rows], target, suite, eps=eps, norm=norm, to_target=to_target)

        path = _beside(options.record, name)
        if options.overwrite:
            path.unlink(missing_ok=True)
        carry_out(Record.empty(about, [attack.name for attack in suite.attacks], indices), path, ours.CHUNK, run)


def compare(options: argparse.Namespace) -> None:
    """Write tables and a plot of records and of the suites' records beside them."""
    parts, sections = {}, []
    for name, path in options.records:
        found = {suite: _beside(path, suite) for suite in dict.fromkeys([*GOALS, *SUITES])}
        records = {OFFICIAL: path, **{suite: beside for suite, beside in found.items() if beside.exists()}}
        part = common_part({suite: Record.load(each) for suite, each in records.items()})
        about, n = part[OFFICIAL].about, part[OFFICIAL].done
        architecture = about["architecture"]
        title = f"{name or about['dataset']}, {about['norm']} {about['eps']}"
        parts[title] = part
        sections += [
            f"## {title}",
            f"{architecture['name']}, width {architecture['width']}, {n} images.",
            summary_table(part),
            attack_table(part),
            budget_table(part),
        ]
    plot = options.output.with_suffix(".png")
    text = [
        "# Our suites and the official AutoAttack",
        f"{_EXPLANATION}",
        *sections,
        f"![Robust accuracy against passes]({plot.name})",
        environment(("torch", "onnxruntime-gpu", "onnxruntime")) + f", AutoAttack {official.COMMIT}",
        "Again:",
        "```\n" + "\n".join(line.strip() for line in (__doc__ or "").splitlines() if line.startswith("    ")) + "\n```",
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n\n".join(text) + "\n", encoding="ascii")
    budget_plot(parts, plot)
    print(options.output.read_text())


def _beside(path: Path, suite: str) -> Path:
    return path.with_suffix(f".{suite}.npz")


def _load_run(run: Path) -> tuple[torch.nn.Module, Any, str]:
    """Model for fast gradients of its inputs, description, and sha256 of the checkpoint."""
    checkpoint = run / "best.safetensors"
    model, info = load_checkpoint(checkpoint)
    model = model.requires_grad_(False).to(memory_format=torch.channels_last)
    return model, info, hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def _reference_images(run: Path) -> tuple[Images, Rows]:
    images, labels = read_labelled(run / "reference.npz", name="reference")
    return images, labels.astype(np.int64)


def _open_model(path: Path, threads: int) -> tuple[Images, Rows, Target, Callable[[NDArray[Any]], Any], dict[str, str]]:
    """Reference images and labels, target, what moves arrays to it, and its description."""
    if (path / MANIFEST).is_file():
        bundle = load_bundle(path)
        sessions = [
            create_session(bundle.files[name], threads=threads, providers=["CPUExecutionProvider"])
            for name in (CLASSIFIER, GRADIENT)
        ]
        return *bundle.reference(), OnnxTarget(*sessions), np.asarray, {"bundle": bundle.digest}
    model, _, digest = _load_run(path)
    return *_reference_images(path), TorchTarget(model), torch.from_numpy, {"checkpoint": digest}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.command(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.autoattack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("reference", help="run the official AutoAttack on a training run's reference images")
    command.add_argument("run", type=Path, help="folder of a training run")
    command.add_argument("--official", type=Path, required=True, help="checkout of the official AutoAttack")
    command.add_argument("--norm", choices=NORMS, default="linf", help="(default: %(default)s)")
    command.add_argument("--eps", default="8/255", help="(default: %(default)s)")
    command.add_argument("--samples", type=int, default=1000, help="at most (default: %(default)s)")
    command.add_argument("--output", type=Path, required=True, help="record to write, .npz; one that exists is resumed")
    command.set_defaults(command=reference)

    command = commands.add_parser("suites", help="run our suites on the same images")
    command.add_argument("record", type=Path, help="written by reference; ours go beside it")
    command.add_argument("model", type=Path, help="the run's exported bundle, or the run itself, attacked in PyTorch")
    command.add_argument("--suites", type=_suites, default="standard,adaptive,quick", help="(default: %(default)s)")
    command.add_argument("--overwrite", action="store_true", help="start over")
    command.set_defaults(command=suites)

    command = commands.add_parser("compare", help="write the tables and the plot")
    command.add_argument("records", type=_titled, nargs="+", help="[TITLE=]FILE written by reference")
    command.add_argument("--output", type=Path, required=True, help="Markdown to write; a .png goes beside it")
    command.set_defaults(command=compare)
    return parser


def _titled(text: str) -> tuple[str, Path]:
    title, _, path = text.rpartition("=")
    return title, Path(path)


def _suites(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SUITES or SUITES[name].alone or SUITES[name].needs_surrogate:
            raise argparse.ArgumentTypeError(f"suites must be those that attack what still stands; got {name!r}")
    return names


if __name__ == "__main__":
    sys.exit(main())
