"""Files beside the report in which other tools read what was found. What they hold is known above this package."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from f2at.files import replacing


class Shape(NamedTuple):
    """One kind of such files.

    Attributes:
        option: that asks for it, without dashes.
        help: for that option.
        render: what was found, as the command that found it gives it, to the text of the file.
    """

    option: str
    help: str
    render: Callable[..., str]


def add_shape_options(parser: argparse.ArgumentParser, shapes: Iterable[Shape]) -> None:
    """An option for each."""
    for shape in shapes:
        parser.add_argument(f"--{shape.option}", type=Path, metavar="FILE", help=shape.help)


def shape_files(
    options: argparse.Namespace, shapes: Iterable[Shape], *, beside: Sequence[Path] = ()
) -> dict[Path, Shape]:
    """The files that are asked for.

    Args:
        options: of the command, with those of `add_shape_options` and `overwrite`.
        shapes: that there are.
        beside: files that the command writes itself.

    Raises:
        ValueError: one is a folder, is there already and may not be overwritten, or is another of these files, too.
    """
    files: dict[Path, Shape] = {}
    for shape in shapes:
        path = getattr(options, shape.option)
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{shape.option} must name a file to write; {path} is a folder")
        if path.exists() and not options.overwrite:
            raise ValueError(f"{path} exists; give --overwrite or another --{shape.option}")
        if path in files or path in beside:
            raise ValueError(f"{shape.option} must name a file of its own; {path} is another output of this command")
        files[path] = shape
    return files


def write_shapes(files: Mapping[Path, Shape], *found: object) -> None:
    """Write them, each whole or not at all; missing folders are made."""
    for path, shape in files.items():
        text = shape.render(*found)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
