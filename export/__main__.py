"""`python -m f2at.export`: turn a finished training run into a bundle; sign and verify what is handed on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from f2at.bundle.commands import run_sign, run_verify
from f2at.bundle.format import CLASSIFIER, GRADIENT, PRECISIONS, REFERENCE, Bundle

COMMANDS = {"sign": run_sign, "verify": run_verify}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. What is no command is a run to export."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        _export(arguments) if command is None else command(arguments[1:])
    except (ValueError, NotImplementedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _export(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    from f2at.export.build import build_bundle  # brings PyTorch, which signatures do without

    checkpoint, reference = _sources(options.source, options.checkpoint, options.reference)
    bundle = build_bundle(
        checkpoint, reference, options.output, precision=options.precision, overwrite=options.overwrite
    )
    _report(checkpoint, bundle)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m f2at.export",
        usage="python -m f2at.export RUN --output BUNDLE [options]\n"
        "       python -m f2at.export sign BUNDLE|REPORT.json --key FILE\n"
        "       python -m f2at.export verify BUNDLE|REPORT.json --public-key FILE",
        description="Export a trained model as a bundle: a folder with the model and its gradient as ONNX graphs, "
        "proven equal to the PyTorch model, that can be served and audited without PyTorch.",
        epilog="example: python -m f2at.export runs/digits --output bundles/digits",
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
    if source.is_dir():
        return source / f"{which or 'best'}.safetensors", reference or source / REFERENCE
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
    print(f"next      python -m f2at.audit {bundle.path}")
    print(f"          python -m f2at.serving serve {bundle.path}")


if __name__ == "__main__":
    sys.exit(main())
