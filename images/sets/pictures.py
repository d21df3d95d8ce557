"""Labelled picture files, in class folders or elsewhere: read and decoded one by one."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np

from f2at.images.decode import decode_own
from f2at.images.folders import class_folders, read_picture
from f2at.images.pixels import Images
from f2at.images.preparation import Preparation
from f2at.images.sets.base import LabelledSet, Rows

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "eval"}


class Picture(NamedTuple):
    """A picture file."""

    name: str
    data: bytes


class Files(Protocol):
    """Where picture files are."""

    def __call__(self, rows: Sequence[int]) -> Iterator[Picture]:
        """These, in ascending order, one at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures(LabelledSet):
    """Picture files of any size.

    Attributes:
        files: where they are.
        preparation: how they become arrays; None until a model is known.
    """

    files: Files
    preparation: Preparation | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) once there is a preparation."""
        return None if self.preparation is None else self.preparation.size

    def prepared(self, preparation: Preparation) -> Self:
        """The same files, read in this way."""
        return replace(self, preparation=preparation)

    def read(self, rows: Rows) -> Images:
        """See `LabelledSet`."""
        preparation = self._decided()
        wanted = np.asarray(rows, np.int64)
        found = np.empty((len(wanted), *preparation.size, 3), np.uint8)
        unique, places = np.unique(wanted, return_inverse=True)
        by_row: list[list[int]] = [[] for _ in unique]
        for place, number in enumerate(places.tolist()):
            by_row[number].append(place)
        for own, picture in zip(by_row, self.files(unique.tolist()), strict=True):
            found[own] = decode_own(picture.name, picture.data, preparation)
        return found

    def digest(self) -> str:
        """Of the files, their labels and the preparation: the same wherever the files are kept. Nothing is decoded."""
        preparation = self._decided()
        height, width = preparation.size
        digest = hashlib.sha256(f"{height} {width} {preparation.fit} {preparation.interpolation}".encode("ascii"))
        for picture in self.files(range(len(self))):
            digest.update(hashlib.sha256(picture.data).digest())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def _decided(self) -> Preparation:
        if self.preparation is None:
            raise ValueError("size must be given for pictures of any size: call prepared() first")
        return self.preparation


class _Paths:
    """Files on disk."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)

    def __call__(self, rows: Sequence[int]) -> Iterator[Picture]:
        for row in rows:
            path = self._paths[row]
            yield Picture(str(path), read_picture(path))


def open_folder(root: Path) -> Pictures:
    """The pictures in `root/CLASS/`, by `f2at.images.folders.class_folders`; none is opened.

    Raises:
        OSError: a folder cannot be read.
        ValueError: there are no classes, or a class has no pictures.
    """
    found = class_folders(root)
    check_split(found.classes, root)
    return Pictures(
        files=_Paths(path for path, _ in found.files),
        labels=np.array([label for _, label in found.files], np.int64),
        names=found.classes,
        notes=found.notes,
    )


def check_split(classes: Sequence[str], place: object) -> None:
    """Refuse folders that are named like the parts of a data set, and not like classes.

    Raises:
        ValueError: all of them are; the message says `place`.
    """
    if {name.lower() for name in classes} <= _SPLITS:
        raise ValueError(
            f"data must be a folder with one folder of images for each class; {place} holds {', '.join(classes)}: "
            "give one of those"
        )
