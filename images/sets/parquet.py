"""Labelled pictures in a Parquet file, as Hugging Face stores data sets: columns `image` or `img`, and `label`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from f2at.command_line import first_line
from f2at.images.pixels import Labels
from f2at.images.sets.pictures import Picture, Pictures

_BATCH = 16  # rows that are held at a time
_BUFFER = 1 << 20  # bytes read from a column at a time, rather than all of it
_IMAGE = ("image", "img")  # what the column is called
_WANTED = "columns image or img, picture files or structs with bytes, and label, integers"


def open_parquet(path: Path) -> Pictures:
    """The pictures in a file; none is decoded. Names of the classes are those of a ClassLabel, if there is one.

    Raises:
        OSError: the file cannot be read.
        ValueError: pyarrow is not installed, or the file does not hold labelled pictures.
    """
    with path.open("rb"):
        pass  # the system's error for a file that cannot be read
    with _named(path):
        file = _open(path)
        schema = file.schema_arrow
        columns = {field.name: field.type for field in schema}
        called = next((name for name in _IMAGE if name in columns), "image")
        column = _image_column(called, columns.get(called))
        if column is None or str(columns.get("label")) not in _INTEGERS:
            held = ", ".join(f"{name} ({kind})" for name, kind in list(columns.items())[:8]) or "none"
            raise ValueError(f"its columns are {held}")
        labels = file.read(columns=["label"]).column("label")
        if not len(labels):
            raise ValueError("it has no rows")
        if labels.null_count:
            raise ValueError(f"{labels.null_count} of its labels are missing")
    names = _names(schema.metadata or {})
    if names is not None and int(np.max(labels.to_numpy())) >= len(names):
        raise ValueError(f"data labels must lie in [0, {len(names)}) by the names in {path}")
    return Pictures(files=_Rows(path, column), labels=_signed(labels.to_numpy()), names=names)


_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


class _Rows:
    """The picture files in a column."""

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column

    def __call__(self, rows: Sequence[int]) -> Iterator[Picture]:
        wanted = np.asarray(rows, np.int64)
        with _named(self._path):
            file = _open(self._path)
            first = 0
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if np.any((wanted >= first) & (wanted < first + count)):
                    yield from self._of_group(file, group, first, wanted)
                first += count

    def _of_group(self, file: Any, group: int, first: int, wanted: Labels) -> Iterator[Picture]:
        for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[self._column]):
            column = batch.column(0)
            if self._column not in _IMAGE:
                column = column.field("bytes")
            for row in wanted[(wanted >= first) & (wanted < first + len(batch))].tolist():
                data = column[row - first].as_py()
                if not data:
                    raise ValueError(f"row {row} has no picture in it; one that is kept elsewhere is not read")
                yield Picture(f"row {row} of {self._path}", data)
            first += len(batch)


def _open(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise _MissingError from None
    return pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)


class _MissingError(ValueError):
    def __init__(self) -> None:
        super().__init__("data in a Parquet file needs pyarrow: pip install 'f2at[parquet]'")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What is wrong with a file, as an error that names it."""
    try:
        yield
    except _MissingError:
        raise
    except (ValueError, OSError, NotImplementedError, KeyError, MemoryError) as error:  # Arrow's own are among these
        raise ValueError(
            f"data must be a Parquet file with {_WANTED}; got {path}: {first_line(error)[:200]}"
        ) from error


def _image_column(name: str, kind: Any) -> str | None:
    """What to read of the column with the images, of this type; None if it holds no files."""
    if str(kind) in ("binary", "large_binary"):
        return name
    if kind is not None and str(kind).startswith("struct<"):
        inner = {kind.field(place).name: str(kind.field(place).type) for place in range(kind.num_fields)}
        if inner.get("bytes") in ("binary", "large_binary"):
            return f"{name}.bytes"
    return None


def _names(metadata: dict[bytes, bytes]) -> tuple[str, ...] | None:
    """Of the classes, as Hugging Face writes them into a schema."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def _signed(labels: Any) -> Labels:
    return np.asarray(labels).astype(np.int64)
