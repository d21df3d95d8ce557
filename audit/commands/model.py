"""The model and the images that the options of `f2at audit` name."""

import argparse
from pathlib import Path

from f2at.audit import Audit, AuditRequest
from f2at.audit.commands.foreign import OPTIONS, reading
from f2at.audit.opening.bundle import open_bundle
from f2at.audit.opening.model import Model
from f2at.audit.opening.onnx import open_onnx
from f2at.images.labelled import read_labelled
from f2at.images.pixels import Images, Labels


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
        for name in (*OPTIONS, "black_box"):
            if getattr(options, name):
                raise ValueError(f"{name.replace('_', '-')} goes with an ONNX file only; a bundle knows its own")
        opened = open_bundle(options.model, threads=options.threads)
        return opened if options.data is None else (opened[0], *read_labelled(options.data, name="data"))
    if options.data is None:
        raise ValueError("data must be given for an ONNX file: an .npz file with images and labels")
    images, labels = read_labelled(options.data, name="data")
    model = open_onnx(
        options.model,
        classes=options.classes,
        size=images.shape[1:3],
        threads=options.threads,
        black_box=options.black_box,
        **reading(options),
    )
    return model, images, labels
