"""What the command line opens: bundles, ONNX files, surrogates and labelled images."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.onnx_target import OnnxTarget
from attacks.target import Target
from export.bundle import CLASSIFIER, GRADIENT, load_bundle
from export.runtime import active_provider, create_session


class Model(NamedTuple):
    """A model as an audit takes it."""

    target: Target
    classes: Sequence[str]
    description: dict[str, Any]  # what the report says of it
    environment: dict[str, Any]  # what it runs on
    reference: tuple[NDArray[Any], NDArray[Any]] | None  # its own labelled images


def open_bundle(path: Path, *, threads: int) -> Model:
    """A bundle's two graphs and its reference images."""
    bundle = load_bundle(path)
    classifier, gradient = (create_session(bundle.files[name], threads=threads) for name in (CLASSIFIER, GRADIENT))
    return Model(
        OnnxTarget(classifier, gradient),
        bundle.classes,
        {"digest": bundle.digest, "manifest": dict(bundle.manifest)},
        {"provider": active_provider(classifier), "gradient_provider": active_provider(gradient)},
        bundle.reference(),
    )


def read_images(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labelled images from an .npz file: arrays "images", uint8 (N, H, W, 3), and "labels", integers (N,).

    Raises OSError where the file cannot be read, ValueError where it does not hold these two arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["images"], arrays["labels"]
    except (ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile):
        reason = "must be an .npz file with images, uint8 (N, H, W, 3), and labels, integers (N,)"
        raise ValueError(f"data {reason}; got {path}") from None
