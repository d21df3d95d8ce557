"""Labelled images in an .npz file."""

import zipfile
from pathlib import Path

import numpy as np

from f2at.images.pixels import Images, Labels

_WANTED = "data must be an .npz file with images, uint8 (N, H, W, 3), and labels, integers (N,)"


def read_images(path: Path) -> tuple[Images, Labels]:
    """Labelled images from an .npz file: arrays "images", uint8 (N, H, W, 3), and "labels", integers (N,).

    Raises OSError where the file cannot be read, ValueError where it does not hold these two arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{_WANTED}; got {path}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or labels.shape != images.shape[:1]:
        raise ValueError(f"{_WANTED}; got {images.dtype} {images.shape} and {labels.dtype} {labels.shape} in {path}")
    return images, labels
