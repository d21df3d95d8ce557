"""A folder of pictures with one folder for each class, as people have them: what counts, and what is left out."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from f2at.images.labelled import check_names

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ClassFolders(NamedTuple):
    """The pictures below a folder.

    Attributes:
        classes: the names of its folders, sorted.
        files: every picture with the number of its class, sorted by class and path.
        notes: what was left out, a line for each kind and folder.
    """

    classes: tuple[str, ...]
    files: tuple[tuple[Path, int], ...]
    notes: tuple[str, ...]


def class_folders(root: Path) -> ClassFolders:
    """List the pictures in `root/CLASS/` and below. Nothing is opened; hidden files and folders are no one's pictures.

    Raises:
        OSError: a folder cannot be read.
        ValueError: there is no class, or none of a class's files is named like a picture.
    """
    above = {Path(os.path.realpath(root)), *Path(os.path.realpath(root)).parents}
    folders: list[Path] = []
    files: list[tuple[Path, int]] = []
    notes: list[str] = []
    for entry in sorted(root.iterdir(), key=lambda entry: entry.name):
        if hidden(entry.name):
            continue
        if entry.is_symlink() and not entry.exists():
            notes.append(f"{entry} is a link that leads nowhere: left out")
        elif entry.is_symlink() and Path(os.path.realpath(entry)) in above:
            notes.append(f"{entry} is a link to a folder that is read already: left out")
        elif entry.is_dir():
            folders.append(entry)
    if not folders:
        raise ValueError(f"{root} must hold one folder of images for each class; it holds no folder")
    check_names([folder.name for folder in folders])
    for index, folder in enumerate(folders):
        found, said = _pictures(folder)
        if not found:
            raise ValueError(f"{folder} must hold images ({', '.join(SUFFIXES)}); {said[0] if said else 'it is empty'}")
        files += [(file, index) for file in found]
        notes += said
    return ClassFolders(tuple(folder.name for folder in folders), tuple(files), tuple(notes))


def read_picture(path: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a link that leads nowhere or to itself, a folder, or a pipe, which would never end.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file that can be read")
    return path.read_bytes()


def _pictures(top: Path) -> tuple[list[Path], list[str]]:
    """The files below a folder that are named like pictures, and what else is there."""
    found: list[Path] = []
    others: Counter[str] = Counter()
    notes: list[str] = []
    seen = {str(parent) for parent in Path(os.path.realpath(top)).parents}  # a link to one of them would loop, too
    for place, folders, names in os.walk(top, followlinks=True, onerror=_refuse):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            notes.append(f"{place} is a link to a folder that is read already: left out")
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix in SUFFIXES and not hidden(name):
                found.append(Path(place, name))
            elif not hidden(name):
                others[suffix or "no suffix"] += 1
    if others:
        kinds = ", ".join(f"{count} of {suffix}" for suffix, count in sorted(others.items()))
        notes.append(f"{top} has files that are no images of a kind read here: left out {kinds}")
    return sorted(found), notes


def hidden(name: str) -> bool:
    """Whether a file or folder is there for the system's own use."""
    return name.startswith(".") or name == "__MACOSX"  # which archives from a Mac have beside their folder


def _refuse(error: OSError) -> None:
    raise error
