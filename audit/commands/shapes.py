"""Files beside the report in which other tools read what was found. What they hold is known above this package."""

import argparse
from collections.abc import Callable, Iterable
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


def shape_files(options: argparse.Namespace, shapes: Iterable[Shape]) -> list[tuple[Shape, Path]]:
    """The files that are asked for by the options of `add_shape_options`."""
    return [(shape, path) for shape in shapes if (path := getattr(options, shape.option)) is not None]


def write_shapes(files: Iterable[tuple[Shape, Path]], *found: object) -> None:
    """Write them, each whole or not at all, where `check_outputs` has found that they can be written."""
    for shape, path in files:
        text = shape.render(*found)
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
