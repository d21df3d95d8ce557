"""Labelled images in an .npz file, read as a stream: what is not drawn passes by."""

import hashlib
import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from f2at.command_line import first_line
from f2at.images.labelled import check_labelled
from f2at.images.pixels import Images, Labels
from f2at.images.preparation import Preparation
from f2at.images.sets.base import Arrays, LabelledSet, Rows, check_size

_CHUNK = 1 << 20  # bytes
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_DAMAGE = (
    # What zipfile, zlib and numpy raise for damaged bytes; OSError, for example, is a seek to before the beginning.
    *(ValueError, KeyError, TypeError, IndexError, EOFError, OverflowError, MemoryError, OSError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Npz(LabelledSet):
    """Images in a file, of which no more than a megabyte is held besides those that are read.

    Attributes:
        path: the file.
        shape: (N, H, W, 3) of its images.
    """

    path: Path
    shape: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shape[1], self.shape[2]

    def prepared(self, preparation: Preparation) -> Self:
        """Themselves, if they have the size."""
        check_size(self.size, preparation)
        return self

    def read(self, rows: Rows) -> Images:
        """See `LabelledSet`; the rows are met in the order of the file."""
        wanted = np.asarray(rows, np.int64)
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        length = math.prod(self.shape[1:])
        flat = found.reshape(len(wanted), length)
        last, passed = -1, 0
        with self._pixels() as stream:
            for place in np.argsort(wanted, kind="stable").tolist():
                row = int(wanted[place])
                if last >= 0 and wanted[last] == row:
                    flat[place] = flat[last]
                else:
                    stream.seek((row - passed) * length, io.SEEK_CUR)
                    flat[place] = np.frombuffer(_exactly(stream, length), np.uint8)
                    passed = row + 1
                last = place
        return found

    def digest(self) -> str:
        """The same as of the arrays in memory."""
        digest = hashlib.sha256(repr(self.shape).encode("ascii"))
        with self._pixels() as stream:
            while chunk := stream.read(_CHUNK):  # up to the end, where the checksum is compared
                digest.update(chunk)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    @contextmanager
    def _pixels(self) -> Iterator[IO[bytes]]:
        """The images' bytes, one after another."""
        with (
            self.path.open("rb") as file,
            _named(self.path, "data"),
            zipfile.ZipFile(file) as archive,
            archive.open("images.npy") as stream,
        ):
            _header(stream)
            yield stream


def open_npz(path: Path) -> LabelledSet:
    """The set in a file; its images stay there.

    Raises:
        OSError: the file cannot be read.
        ValueError: it does not hold labelled images, with the reason.
    """
    with path.open("rb") as file, _named(path, "data"), zipfile.ZipFile(file) as archive:
        labels, header = _labels(archive), _checked(archive, "images")
        if header.fortran:  # images lie across the file, so that it takes all of it to have one
            images = _array(archive, "images")
    _check(header, labels, path)
    exact = labels.astype(np.int64, copy=False)
    return Arrays(images=images, labels=exact) if header.fortran else Npz(path=path, shape=header.shape, labels=exact)


def read_labelled(
    file: Path | IO[bytes],
    *,
    name: str,
    size: tuple[int, int] | None = None,
    classes: int | None = None,
    most: int | None = None,
) -> tuple[Images, Labels]:
    """The arrays "images" and "labels" of an .npz file, all of them, checked as `check_labelled` does.

    Args:
        file: its path, or the open file.
        name: what messages call it.
        size: see `check_labelled`.
        classes: see `check_labelled`.
        most: bytes that the two arrays may have together; more are refused before any are read. None: any number.

    Raises:
        OSError: the file cannot be read.
        ValueError: it does not hold labelled images; the message says `name`, the file's path and the reason.
    """
    path = file if isinstance(file, Path) else None
    stream = file.open("rb") if isinstance(file, Path) else nullcontext(file)
    with stream as opened, _named(path, name), zipfile.ZipFile(opened) as archive:
        total = sum(_bytes(_checked(archive, array)) for array in ("labels", "images"))
        if most is not None and total > most:
            raise ValueError(f"its arrays have {total} bytes, and {most} are read at the most")
        labels, images = _array(archive, "labels"), _array(archive, "images")
    try:
        check_labelled(images, labels, name=name, size=size, classes=classes)
    except ValueError as error:
        raise ValueError(str(error) if path is None else f"{error} in {path}") from None
    return images, labels


@contextmanager
def _named(path: Path | None, name: str) -> Iterator[None]:
    """What is wrong with the bytes of a file, as an error that names it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        where = "" if path is None else f"{path}: "
        raise ValueError(
            f"{name} must be an .npz file with images, uint8 (N, H, W, 3), and labels, integers (N,); got {where}"
            f"{first_line(error)[:200]}"
        ) from error


def _labels(archive: zipfile.ZipFile) -> NDArray[Any]:
    header = _checked(archive, "labels")
    if len(header.shape) != 1:
        raise ValueError(f"labels of shape {header.shape}")
    return _array(archive, "labels")


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """A whole array, with its checksum."""
    header = _checked(archive, name)
    with archive.open(f"{name}.npy") as stream:
        _header(stream)
        found = np.empty(math.prod(header.shape), header.dtype)
        view = found.view(np.uint8)
        for start in range(0, len(view), _CHUNK):
            part = view[start : start + _CHUNK]
            part[:] = np.frombuffer(_exactly(stream, len(part)), np.uint8)
        stream.read(1)
    return found.reshape(header.shape, order="F" if header.fortran else "C")


def _checked(archive: zipfile.ZipFile, name: str) -> _Header:
    """An array's header, which must promise as many bytes as there are, and no Python objects."""
    if f"{name}.npy" not in archive.namelist():
        held = ", ".join(entry.removesuffix(".npy") for entry in archive.namelist()[:8]) or "nothing"
        raise ValueError(f"there is no array {name} in it, but {held}")
    entry = archive.getinfo(f"{name}.npy")
    if entry.flag_bits & 1:
        raise ValueError("it is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
        raise ValueError(f"{name} are compressed in another way than numpy's")
    with archive.open(entry) as stream:
        header = _header(stream)
        promised = stream.tell() + _bytes(header)
    if header.dtype.hasobject:
        raise ValueError(f"{name} are Python objects")
    if promised != entry.file_size:
        raise ValueError(f"{name} should have {promised} bytes by their header, and have {entry.file_size}")
    return header


def _bytes(header: _Header) -> int:
    return math.prod(header.shape) * header.dtype.itemsize


def _header(stream: IO[bytes]) -> _Header:
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"an array of format {version}")
    return _Header(*_HEADERS[version](stream))


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("it ends too early")
    return data


def _check(header: _Header, labels: NDArray[Any], path: Path) -> None:
    """As `check_labelled`, by the header."""
    stand_in = np.broadcast_to(np.zeros((), header.dtype), header.shape)
    try:
        check_labelled(stand_in, labels, name="data")
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from None
