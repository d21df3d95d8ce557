"""Class folders of pictures in an object store, or mounted: listed as a whole, and read where they are drawn."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from f2at.command_line import first_line
from f2at.files import is_url, name_of
from f2at.images.folders import SUFFIXES, class_folders, hidden, read_picture
from f2at.images.labelled import check_names
from f2at.images.sets.base import Rows
from f2at.images.sets.pictures import Picture, Pictures, check_split

FILE = "file://"  # before a path: listed as a store is, where a path alone is read as a whole
_TOGETHER = 16  # pictures that are asked for, and held, at once
_SHOWN = 5  # kinds of other files in a note


class Entry(NamedTuple):
    """A picture as a listing has it.

    Attributes:
        name: below the set's folder, with slashes.
        bytes: its size.
    """

    name: str
    bytes: int


class _Place(Protocol):
    """Where the pictures of a set are."""

    def read(self, names: Sequence[str]) -> Iterator[bytes]:
        """The files of these names, in that order."""


@dataclass(frozen=True)
class _Some:
    """Pictures of a place, by their places in a list."""

    place: _Place
    entries: tuple[Entry, ...]

    def __call__(self, rows: Sequence[int]) -> Iterator[Picture]:
        for start in range(0, len(rows), _TOGETHER):
            names = [self.entries[row].name for row in rows[start : start + _TOGETHER]]
            yield from map(Picture, names, self.place.read(names))

    def of(self, rows: Rows) -> "_Some":
        """These of them, in that order."""
        return _Some(self.place, tuple(self.entries[row] for row in rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class Listed(Pictures):
    """Pictures of which only names and sizes are known until they are drawn."""

    files: _Some

    contents = False

    def digest(self) -> str:
        """sha256 of names, sizes, labels and preparation: the same wherever the files are kept. Nothing is read."""
        preparation = self._decided()
        height, width = preparation.size
        said = f"listing {height} {width} {preparation.fit} {preparation.interpolation}\n"
        digest = hashlib.sha256(said.encode("ascii"))
        for name, size in self.files.entries:
            digest.update(f"{name}\0{size}\n".encode(errors="surrogateescape"))
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def drawn(self, rows: Rows) -> Self:
        """These alone; each is read whenever it is asked for, so that nobody reads what another attacks."""
        return replace(self, files=self.files.of(rows), labels=self.labels[np.asarray(rows, np.int64)])


def open_listed(location: str) -> Listed:
    """The pictures in `LOCATION/CLASS/` and below.

    Args:
        location: a URL as fsspec takes it, s3://BUCKET/FOLDER for example, whose protocol's package is installed; a
            path, or one after file://.

    Raises:
        OSError: it cannot be reached or read.
        ValueError: the protocol is unknown or its package is missing; there are no classes, or none has a picture.
    """
    path = location.removeprefix(FILE)
    if is_url(path):
        shown = "::".join(map(_without_secrets, location.split("::")))
        return replace(_in_store(location, shown), source=shown)
    return replace(_in_folder(Path(path)), source=FILE + name_of(Path(path)))


def _without_secrets(url: str) -> str:
    """Without user, password, query and the slash at the end: what reports and messages may tell."""
    protocol, separator, rest = url.partition("://")
    host, slash, path = re.split("[?#]", rest, maxsplit=1)[0].rstrip("/").partition("/")
    return f"{protocol}{separator}{host.rpartition('@')[2]}{slash}{path}"


@dataclass(frozen=True)
class _Folder:
    root: Path

    def read(self, names: Sequence[str]) -> Iterator[bytes]:
        return (read_picture(self.root / name) for name in names)


def _in_folder(root: Path) -> Listed:
    classes, files, notes = class_folders(root)
    check_split(classes, root)
    entries = tuple(Entry(path.relative_to(root).as_posix(), path.stat().st_size) for path, _ in files)
    labels = np.array([label for _, label in files], np.int64)
    return Listed(files=_Some(_Folder(root), entries), labels=labels, names=classes, notes=notes)


@dataclass(frozen=True)
class _Store:
    system: Any  # of fsspec
    root: str  # as the system has it
    location: str  # as messages have it

    def read(self, names: Sequence[str]) -> Iterator[bytes]:
        with _reading(self.location):
            paths = [f"{self.root}/{name}" for name in names]
            found: list[bytes] = self.system.cat_ranges(paths, None, None, on_error="raise")
        return iter(found)


def _in_store(location: str, shown: str) -> Listed:
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise ValueError(f"data in a store needs fsspec: pip install 'f2at[stores]'; got {shown}") from None
    try:
        system, root = url_to_fs(location)
    except (ValueError, ImportError) as error:  # no such protocol, or its package is not installed
        raise ValueError(f"data must be at a URL that fsspec can open; got {shown}: {first_line(error)}") from error
    root = root.rstrip("/")
    with _reading(shown):
        system.invalidate_cache()
        found = system.find(root, detail=True)
    pictures, others = [], Counter[str]()
    for path, about in found.items():
        name = PurePosixPath(path.removeprefix(root).lstrip("/"))
        if len(name.parts) < 2 or any(map(hidden, name.parts)):
            continue
        if name.suffix.lower() in SUFFIXES:
            if about.get("size") is None:
                raise ValueError(f"data must be in a store that lists the sizes of files; {shown} does not")
            pictures.append(Entry(str(name), int(about["size"])))
        else:
            others[name.suffix.lower() or "no suffix"] += 1
    if not pictures:
        raise ValueError(f"data must be a folder with one folder of images for each class; there are none in {shown}")
    pictures.sort(key=lambda entry: PurePosixPath(entry.name).parts)  # a class at a time, as folders on disk
    numbers: dict[str, int] = {}
    labels = [numbers.setdefault(_class_of(entry), len(numbers)) for entry in pictures]
    check_names(tuple(numbers))
    check_split(tuple(numbers), shown)
    return Listed(
        files=_Some(_Store(system, root, shown), tuple(pictures)),
        labels=np.array(labels, np.int64),
        names=tuple(numbers),
        notes=_notes(shown, others),
    )


def _class_of(entry: Entry) -> str:
    return entry.name.partition("/")[0]


def _notes(location: str, others: Counter[str]) -> tuple[str, ...]:
    if not others:
        return ()
    kinds = ", ".join(f"{count} of {suffix}" for suffix, count in others.most_common(_SHOWN))
    return (f"{location} has files that are no images of a kind read here: left out {kinds}",)


@contextmanager
def _reading(location: str) -> Iterator[None]:
    """What a store says, of which each has errors of its own, as one that names the place."""
    try:
        yield
    except Exception as error:
        raise OSError(f"data cannot be read from {location}: {type(error).__name__}: {first_line(error)}") from error
