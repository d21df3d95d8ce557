"""`f2at export RUN --output BUNDLE`: turn a finished training run, or anybody's ONNX file, into a bundle."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from f2at.audit.commands.foreign import OPTIONS, add_foreign_options, fitting, reading
from f2at.bundle.format import CLASSIFIER, GRADIENT, MANIFEST, PRECISIONS, REFERENCE, Bundle, check_destination
from f2at.command_line import Parser, next_step
from f2at.export.foreign import SAMPLES, export_onnx
from f2at.images.sets.opening import ACCEPTED

_OF_RUNS = ("checkpoint", "reference")
_OF_FILES = ("data", "samples", *OPTIONS)


def run(arguments: Sequence[str]) -> int:
    """Export a run, a checkpoint or an ONNX file as a bundle, and say how well the graphs agree with it."""
    options = _parser().parse_args(arguments)
    if options.onnx is not None:
        return _run_onnx(options)
    for name in _OF_FILES:
        if getattr(options, name) is not None:
            raise ValueError(f"{name.replace('_', '-')} goes with --onnx only; a training run knows its own")
    if options.source is None:
        raise ValueError("a training run's folder, a .safetensors checkpoint or --onnx FILE must be given; got neither")
    checkpoint, reference = _sources(options.source, options.checkpoint, options.reference)
    check_destination(options.output, overwrite=options.overwrite)
    from f2at.export.build import export_checkpoint  # brings PyTorch, which a wrong path need not wait for

    bundle = export_checkpoint(
        checkpoint, reference, options.output, precision=options.precision, overwrite=options.overwrite
    )
    _report(checkpoint, bundle)
    return 0


def _run_onnx(options: argparse.Namespace) -> int:
    if options.source is not None:
        raise ValueError(f"either a training run or --onnx is exported; got {options.source} and {options.onnx}")
    for name in _OF_RUNS:
        if getattr(options, name) is not None:
            raise ValueError(f"{name} goes with a training run or a checkpoint only; --onnx takes --data")
    if options.data is None:
        raise ValueError(f"data must be given with --onnx, labelled test images: {ACCEPTED}")
    given: dict[str, Any] = {name: getattr(options, name) for name in ("size", "samples", "output_name")}
    given |= fitting(options)
    bundle = export_onnx(
        options.onnx,
        options.data,
        options.output,
        classes=options.classes,
        precision=options.precision,
        overwrite=options.overwrite,
        **{name: value for name, value in given.items() if value is not None},
        **{name: value for name, value in reading(options).items() if name != "output"},
    )
    _report_onnx(options.onnx, bundle)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="f2at export",
        usage="f2at export RUN --output FOLDER [options]\n"
        "       f2at export --onnx MODEL.onnx --data DATA --classes NAMES.txt --output FOLDER [options]",
        description="Export a trained model as a bundle: a folder with the model and its gradient as ONNX graphs, "
        "proven equal to where they come from, that can be served and audited without PyTorch.",
        epilog="example: f2at export runs/digits --output bundles/digits",
    )
    parser.add_argument(
        "source",
        type=Path,
        nargs="?",
        metavar="RUN",
        help="the folder of a training run, or a .safetensors checkpoint (with --reference)",
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
    group = parser.add_argument_group("any classifier in an ONNX file")
    group.add_argument("--onnx", type=Path, metavar="MODEL.onnx", help="the file, in place of a training run")
    group.add_argument(
        "--data",
        type=Path,
        metavar="DATA",
        help="labelled test images: a folder with one for each class, an .npz or a .parquet file",
    )
    group.add_argument(
        "--samples", type=int, help=f"how many of them to draw for the bundle (default all, up to {SAMPLES:,})"
    )
    add_foreign_options(group)
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
    logits = manifest["parity"]["logits"]["error"]
    gradient = max(entry["error"] for entry in manifest["parity"]["gradient"].values())
    parity = f"relative error of logits {logits:.1e}, of gradients {gradient:.1e}, limit {TOLERANCE:.0e}"
    _print(f"{checkpoint} ({manifest['architecture']['name']}, {_shape(bundle)})", parity, bundle)


def _report_onnx(path: Path, bundle: Bundle) -> None:
    manifest, fit = bundle.manifest, bundle.preparation
    scores, gradient = manifest["parity"]["scores"], manifest["parity"]["gradient"]
    slope = "not slopes, since it rounds" if gradient["error"] is None else f"slopes up to {gradient['error']:.1e}"
    parity = f"error of scores {scores['error']:.1e}, limit {scores['tolerance']:.0e}; gradients are {slope}"
    _print(f"{path} ({_shape(bundle)}; pictures: {fit.fit}, {fit.interpolation})", parity, bundle)


def _shape(bundle: Bundle) -> str:
    height, width = bundle.input_size
    return f"{len(bundle.classes)} classes, {height}x{width} pixels"


def _print(source: str, parity: str, bundle: Bundle) -> None:
    manifest = bundle.manifest
    print(f"exported  {source}")
    for name in (CLASSIFIER, GRADIENT, REFERENCE):
        print(f"          {name:16} {len(bundle.files[name]) / 1e6:8.2f} MB")
    print(f"parity    {parity}")
    if "source" in manifest:
        print(f"accuracy  {manifest['metrics']['clean']:.1%} on {manifest['metrics']['images']} of the test images")
    if rounding := manifest.get("quantization"):
        print(
            f"int8      clean accuracy {rounding['int8_accuracy']:.1%}, float32 {rounding['float32_accuracy']:.1%}; "
            f"the same label on {rounding['agreement']:.1%} of the reference images"
        )
    print(f"digest    {bundle.digest}")
    print(next_step("audit", bundle.path, "--output", f"reports/{bundle.path.resolve().name}.json"))
    print(next_step("serve", bundle.path))
