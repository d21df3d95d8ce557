"""`f2at export RUN --output BUNDLE`: turn a finished training run, or anybody's ONNX file, into a bundle."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from f2at.audit.commands.foreign import OPTIONS, add_foreign_options, fitting, reading
from f2at.bundle.format import CLASSIFIER, GRADIENT, MANIFEST, PRECISIONS, REFERENCE, Bundle, check_destination
from f2at.command_line import Parser, next_step
from f2at.export.foreign import SAMPLES, export_onnx
from f2at.files import location
from f2at.images.sets.opening import ACCEPTED

_OF_RUNS = ("checkpoint", "reference")
_OF_FILES = ("data", "samples", "weights", *OPTIONS)
_NOT_WITH = {"onnx": ("weights",), "torch": ("layout", "output_name", "straight_through")}


def run(arguments: Sequence[str]) -> int:
    """Export a run, a checkpoint or an ONNX file as a bundle, and say how well the graphs agree with it."""
    options = _parser().parse_args(arguments)
    if options.onnx is not None or options.torch is not None:
        return _run_foreign(options)
    for name in _OF_FILES:
        if getattr(options, name) is not None:
            raise ValueError(f"{name.replace('_', '-')} goes with --onnx or --torch only; a training run knows its own")
    if options.source is None:
        raise ValueError(
            "a training run's folder, a .safetensors checkpoint, --onnx or --torch must be given; got none"
        )
    checkpoint, reference = _sources(options.source, options.checkpoint, options.reference)
    check_destination(options.output, overwrite=options.overwrite)
    from f2at.export.build import export_checkpoint  # brings PyTorch, which a wrong path need not wait for

    bundle = export_checkpoint(
        checkpoint, reference, options.output, precision=options.precision, overwrite=options.overwrite
    )
    _report(checkpoint, bundle)
    return 0


def _run_foreign(options: argparse.Namespace) -> int:
    """Export an ONNX file, or a PyTorch module."""
    given = [str(value) for value in (options.source, options.onnx, options.torch) if value is not None]
    if len(given) > 1:
        raise ValueError(f"either a training run, --onnx or --torch is exported; got {' and '.join(given)}")
    for name in _OF_RUNS:
        if getattr(options, name) is not None:
            raise ValueError(f"{name} goes with a training run or a checkpoint only; --onnx and --torch take --data")
    which = "onnx" if options.torch is None else "torch"
    for name in _NOT_WITH[which]:
        if getattr(options, name) is not None:
            raise ValueError(f"{name.replace('_', '-')} does not go with --{which}")
    if options.data is None:
        raise ValueError(f"data must be given with --{which}, labelled test images: {ACCEPTED}")
    arguments: dict[str, Any] = {
        name: getattr(options, name) for name in ("size", "samples", "output_name", "straight_through")
    }
    arguments |= fitting(options)
    arguments |= {name: value for name, value in reading(options).items() if name != "output"}
    arguments = {name: value for name, value in arguments.items() if value is not None}
    arguments |= {name: getattr(options, name) for name in ("classes", "precision", "overwrite")}
    if options.torch is None:
        bundle = export_onnx(options.onnx, options.data, options.output, **arguments)
    else:
        check_destination(options.output, overwrite=options.overwrite)
        from f2at.export.loading import load_module  # both bring PyTorch
        from f2at.export.module import export_module

        model = load_module(options.torch, options.weights)
        bundle = export_module(model, options.data, options.output, name=options.torch, **arguments)
    _report_foreign(given[0], bundle)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="f2at export",
        usage="f2at export RUN --output FOLDER [options]\n"
        "       f2at export --onnx MODEL.onnx --data DATA --classes NAMES.txt --output FOLDER [options]\n"
        "       f2at export --torch PACKAGE.MODULE:FUNCTION [--weights FILE] --data DATA --output FOLDER [options]",
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
    group = parser.add_argument_group("any classifier in an ONNX file or a PyTorch module")
    group.add_argument("--onnx", type=Path, metavar="MODEL.onnx", help="the file, in place of a training run")
    group.add_argument(
        "--torch",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="a PyTorch module in place of a training run: where it is, or what makes it when called without arguments",
    )
    group.add_argument(
        "--weights", type=Path, metavar="FILE", help="its state dict: .safetensors, or what torch.save wrote of tensors"
    )
    group.add_argument(
        "--data",
        type=location,
        metavar="DATA",
        help="labelled test images: a folder with one for each class, here or at the URL of a store, or an .npz or a "
        ".parquet file",
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


def _report_foreign(source: str, bundle: Bundle) -> None:
    manifest, fit = bundle.manifest, bundle.preparation
    scores, gradient = manifest["parity"]["scores"], manifest["parity"]["gradient"]
    if gradient["error"] is None:
        flat = "not compared: logits change by no more than rounding errors"
        slope = flat if gradient["flat"] else "not slopes, since it rounds"
    else:
        kind = {"autograd": "autograd's", "differences": "slopes"}[gradient["reference"]]
        slope = f"{kind} up to {gradient['error']:.1e}"
    parity = f"error of scores {scores['error']:.1e}, limit {scores['tolerance']:.0e}; gradients are {slope}"
    _print(f"{source} ({_shape(bundle)}; pictures: {fit.fit}, {fit.interpolation})", parity, bundle)


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
        if better := manifest["metrics"].get("preprocessing_forgotten"):
            print(f"warning   another preprocessing makes far more of the same images: {better}")
    if rounding := manifest.get("quantization"):
        print(
            f"int8      clean accuracy {rounding['int8_accuracy']:.1%}, float32 {rounding['float32_accuracy']:.1%}; "
            f"the same label on {rounding['agreement']:.1%} of the reference images"
        )
    print(f"digest    {bundle.digest}")
    print(next_step("audit", bundle.path, "--output", f"reports/{bundle.path.resolve().name}.json"))
    print(next_step("serve", bundle.path))
