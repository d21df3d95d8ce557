"""The model and the images that the options of `f2at audit` name."""

import argparse
from pathlib import Path

from f2at.attacks.targets.onnx_classifier import LAYOUTS
from f2at.audit import Audit, AuditRequest
from f2at.audit.opening.bundle import open_bundle
from f2at.audit.opening.model import Model
from f2at.audit.opening.onnx import open_onnx
from f2at.images.labelled import read_labelled
from f2at.images.pixels import Images, Labels

_ONNX_ONLY = ("class_names", "layout", "mean", "std", "scale", "output_name")


def is_onnx(model: Path) -> bool:
    """Whether a model is an ONNX file: any file is, and what is named like one; bundles are folders."""
    return model.is_file() or (model.suffix == ".onnx" and not model.is_dir())


def open_audit(options: argparse.Namespace, request: AuditRequest) -> Audit:
    """The audit that the options describe."""
    model, images, labels = _model(options)
    surrogate = None
    if options.surrogate is not None:
        surrogate, *_ = open_bundle(options.surrogate, threads=options.threads)
    return model.audit(images, labels, request, surrogate=surrogate)


def _model(options: argparse.Namespace) -> tuple[Model, Images, Labels]:
    """The model to audit, and labelled images for it."""
    if not is_onnx(options.model):
        for name in _ONNX_ONLY:
            if getattr(options, name) is not None:
                raise ValueError(f"{name.replace('_', '-')} goes with an ONNX file only; a bundle knows its own")
        opened = open_bundle(options.model, threads=options.threads)
        return opened if options.data is None else (opened[0], *read_labelled(options.data, name="data"))
    if options.data is None:
        raise ValueError("data must be given for an ONNX file: an .npz file with images and labels")
    images, labels = read_labelled(options.data, name="data")
    model = open_onnx(
        options.model,
        classes=options.class_names,
        size=images.shape[1:3],
        threads=options.threads,
        output=options.output_name,
        layout=options.layout,
        mean=options.mean,
        std=options.std,
        scale=options.scale,
    )
    return model, images, labels


def add_onnx_options(group: argparse._ArgumentGroup) -> None:
    """Images reach the graph as (scale x - mean) / std, x in [0, 1]; a graph of uint8 pixels takes them as they are."""
    group.add_argument("--class-names", type=_names, metavar="A,B,...", help="one for each output (default 0,1,...)")
    group.add_argument("--mean", type=_channels, metavar="R,G,B", help="subtracted from pixels in [0, 1] (default 0)")
    group.add_argument("--std", type=_channels, metavar="R,G,B", help="then divided by (default 1)")
    group.add_argument("--scale", type=float, help="multiplied by before, 255 for a graph of levels (default 1)")
    group.add_argument("--layout", choices=LAYOUTS, help="where the channels are, if the graph does not tell")
    group.add_argument("--output-name", metavar="NAME", help="the output with the logits, if there are several")


def _names(text: str) -> list[str]:
    return text.split(",")


def _channels(text: str) -> list[float]:
    """A number for each channel, or one for all."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"must be one number or three, as in 0.5,0.4,0.4; got {text!r}")
    return numbers * (3 // len(numbers))
