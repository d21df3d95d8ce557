"""Labelled images, whatever they are kept in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from f2at.files import is_url, name_of
from f2at.images.sets.base import LabelledSet, in_memory
from f2at.images.sets.npz import open_npz
from f2at.images.sets.parquet import open_parquet
from f2at.images.sets.pictures import open_folder
from f2at.images.sets.store import open_listed

ACCEPTED = "a folder with one folder of images for each class, an .npz file or a .parquet file"
_ARROW, _ZIP = b"PAR1", b"PK"


def open_labelled(place: str | Path) -> LabelledSet:
    """The labelled images at a place. Labels are read, pixels are not.

    Args:
        place: a path of a folder with one folder of pictures for each class; of an .npz file with images, uint8
            (N, H, W, 3), and labels, integers (N,); or of a Parquet file with columns `image` and `label`. Or the URL
            of such a folder, in a store or after file://, see `f2at.images.sets.store.open_listed`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none of these, or not whole.
    """
    if isinstance(place, str) and is_url(place):
        return open_listed(place)
    return replace(_open(Path(place)), source=name_of(Path(place)))


def _open(path: Path) -> LabelledSet:
    if path.is_dir():
        return open_folder(path)
    if path.exists() and not path.is_file():  # a pipe, which would never end
        raise ValueError(f"data must be {ACCEPTED}; {path} is no regular file")
    with path.open("rb") as file:
        start = file.read(len(_ARROW))
    if start == _ARROW or path.suffix == ".parquet":
        return open_parquet(path)
    if path.suffix == ".npz" or start.startswith(_ZIP):
        return open_npz(path)
    raise ValueError(f"data must be {ACCEPTED}; got {path}")


def as_labelled(images: ArrayLike | Path, labels: ArrayLike | None) -> LabelledSet:
    """Images, uint8 (N, H, W, 3), with their labels, or the labelled images at a path; see `open_labelled`."""
    if isinstance(images, str | Path):
        return open_labelled(images)
    if labels is None:
        raise ValueError("labels must be given with images that are arrays")
    return in_memory(np.asarray(images), np.asarray(labels))
