"""From a checkpoint and reference images to a verified bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from f2at.bundle.format import Bundle, BundleError
from f2at.export.graphs import export_graphs
from f2at.export.parity import check_parity
from f2at.export.writing import check_request, write_export
from f2at.images.preparation import Preparation
from f2at.images.sets.npz import read_labelled
from f2at.models import CheckpointInfo, load_checkpoint


def export_checkpoint(
    checkpoint: str | Path,
    reference: str | Path,
    output: str | Path,
    *,
    precision: str = "float32",
    overwrite: bool = False,
) -> Bundle:
    """Export a checkpoint, prove that the graphs compute the same, and write the bundle.

    Args:
        checkpoint: a .safetensors file written by training.
        reference: an .npz file with labelled test images: images uint8 (N,H,W,3), labels integers (N,).
        output: the folder to write.
        precision: of the classifier, "float32" or "int8". The first 512 reference images, without their labels, give
            the ranges of int8.
        overwrite: replace a bundle that is there.

    Raises:
        ValueError: an input cannot be used (CheckpointError, BundleError), or the graphs differ from the model
            (ParityError); nothing is written.
    """
    checkpoint, reference, output = Path(checkpoint), Path(reference), Path(output)
    check_request(output, precision=precision, overwrite=overwrite)
    model, info = load_checkpoint(checkpoint)
    try:
        images, labels = read_labelled(reference, name="reference", size=info.input_size, classes=len(info.classes))
    except FileNotFoundError:
        raise BundleError(
            f"no reference images at {reference}: an .npz file with images and labels is needed"
        ) from None
    labels = labels.astype(np.int64)
    classifier, gradient = export_graphs(model, info.input_size)
    return write_export(
        output,
        manifest=_describe(info, parity=check_parity(model, classifier, gradient, images, labels)),
        classifier=classifier,
        gradient=gradient,
        images=images,
        labels=labels,
        precision=precision,
        overwrite=overwrite,
    )


def _describe(info: CheckpointInfo, *, parity: Mapping[str, Any]) -> dict[str, Any]:
    height, width = info.input_size
    return {
        "architecture": dict(info.architecture),
        "classes": list(info.classes),
        "dataset": info.dataset,
        "input_size": [height, width],
        "metrics": dict(info.metrics),
        "parity": dict(parity),
        "preprocessing": {
            "input": f"uint8 RGB, {height}x{width} pixels; the graph divides by 255 and normalises",
            **Preparation(info.input_size, info.fit, info.interpolation).describe(),
            "mean": list(info.architecture["mean"]),
            "std": list(info.architecture["std"]),
        },
        "recipe": dict(info.recipe),
        "versions": {"training": dict(info.versions), "export": {"torch": torch.__version__}},
    }
