"""`f2at export RUN --output BUNDLE`: turn a finished training run into a bundle."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from f2at.bundle.format import CLASSIFIER, GRADIENT, MANIFEST, PRECISIONS, REFERENCE, Bundle, check_destination
from f2at.command_line import Parser, next_step


def run(arguments: Sequence[str]) -> int:
    """Export a run or a checkpoint as a bundle, and say how well the graphs agree with PyTorch."""
    options = _parser().parse_args(arguments)
    checkpoint, reference = _sources(options.source, options.checkpoint, options.reference)
    check_destination(options.output, overwrite=options.overwrite)
    from f2at.export.build import export_checkpoint  # brings PyTorch, which a wrong path need not wait for

    bundle = export_checkpoint(
        checkpoint, reference, options.output, precision=options.precision, overwrite=options.overwrite
    )
    _report(checkpoint, bundle)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="f2at export",
        description="Export a trained model as a bundle: a folder with the model and its gradient as ONNX graphs, "
        "proven equal to the PyTorch model, that can be served and audited without PyTorch.",
        epilog="example: f2at export runs/digits --output bundles/digits",
    )
    parser.add_argument(
        "source", type=Path, help="the folder of a training run, or a .safetensors checkpoint (with --reference)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the bundle to write")
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        help="which checkpoint of a run: the best on validation data (default) or the last",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="labelled test images to put into the bundle (default: the run's reference.npz)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the classifier; int8 is smaller, faster and another model: audit it as well (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is already there")
    return parser


def _sources(source: Path, which: str | None, reference: Path | None) -> tuple[Path, Path]:
    """The checkpoint and the reference images that the command line means."""
    if (source / MANIFEST).is_file():
        raise ValueError(f"{source} is a bundle already; a training run or a .safetensors checkpoint is exported")
    if source.is_dir():
        checkpoint = source / f"{which or 'best'}.safetensors"
        if not checkpoint.is_file():
            raise ValueError(f"{source} has no {checkpoint.name}: it is no training run, or none that got that far")
        return checkpoint, reference or source / REFERENCE
    if which is not None:
        raise ValueError(f"--checkpoint chooses within the folder of a run, and {source} is not a folder")
    if not source.is_file():
        raise ValueError(f"{source} does not exist: a run's folder or a .safetensors file is needed")
    if reference is None:
        raise ValueError("--reference FILE is needed with a single checkpoint: labelled test images (.npz)")
    return source, reference


def _report(checkpoint: Path, bundle: Bundle) -> None:
    from f2at.export.parity import TOLERANCE

    manifest = bundle.manifest
    height, width = bundle.input_size
    logits = manifest["parity"]["logits"]["error"]
    gradient = max(entry["error"] for entry in manifest["parity"]["gradient"].values())
    model = f"{manifest['architecture']['name']}, {len(bundle.classes)} classes, {height}x{width} pixels"
    print(f"exported  {checkpoint} ({model})")
    for name in (CLASSIFIER, GRADIENT, REFERENCE):
        print(f"          {name:16} {len(bundle.files[name]) / 1e6:8.2f} MB")
    print(f"parity    relative error of logits {logits:.1e}, of gradients {gradient:.1e}, limit {TOLERANCE:.0e}")
    if rounding := manifest.get("quantization"):
        print(
            f"int8      clean accuracy {rounding['int8_accuracy']:.1%}, float32 {rounding['float32_accuracy']:.1%}; "
            f"the same label on {rounding['agreement']:.1%} of the reference images"
        )
    print(f"digest    {bundle.digest}")
    print(next_step("audit", bundle.path, "--output", f"reports/{bundle.path.resolve().name}.json"))
    print(next_step("serve", bundle.path))
