"""The options that say how a classifier from elsewhere takes its images and gives its answers."""

import argparse
from pathlib import Path
from typing import Any

from f2at.audit.provenance.notation import parse_names
from f2at.gradient.entry import CHANNELS, LAYOUTS
from f2at.gradient.scores import SCORES
from f2at.images.preparation import FITS, INTERPOLATIONS

_READING = ("mean", "std", "scale", "layout", "channels", "output_name", "scores")
_FITTING = ("fit", "interpolation")
OPTIONS = ("classes", "size", *_FITTING, *_READING, "straight_through")


def add_foreign_options(group: argparse._ArgumentGroup) -> None:
    """Images reach the graph as (scale x - mean) / std, x in [0, 1]; a graph of uint8 pixels takes them as they are."""
    group.add_argument(
        "--classes",
        type=class_names,
        metavar="FILE|A,B,...",
        help="a name for each output: a text file of a line for each, or the names themselves (default 0,1,...)",
    )
    group.add_argument(
        "--size",
        type=_size,
        metavar="HEIGHT,WIDTH",
        help="of its images, where the graph takes any (default data's)",
    )
    group.add_argument("--fit", choices=FITS, help="how pictures were made to fit in its training (default crop)")
    group.add_argument("--interpolation", choices=INTERPOLATIONS, help="how they were resized (default bilinear)")
    group.add_argument("--mean", type=_channels, metavar="R,G,B", help="subtracted from pixels in [0, 1] (default 0)")
    group.add_argument("--std", type=_channels, metavar="R,G,B", help="then divided by (default 1)")
    group.add_argument("--scale", type=float, help="multiplied by before, 255 for a graph of levels (default 1)")
    group.add_argument("--layout", choices=LAYOUTS, help="where the channels are, if the graph does not tell")
    group.add_argument("--channels", choices=CHANNELS, help="their order (default rgb, or grey if there is but one)")
    group.add_argument("--output-name", metavar="NAME", help="the output with the scores, if there are several")
    group.add_argument("--scores", choices=SCORES, help="what that output holds, if the graph does not tell")
    group.add_argument(
        "--straight-through",
        action="store_true",
        default=None,
        help="pass gradients straight through what rounds, takes signs or cuts off (done unasked where they vanish)",
    )


def reading(options: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `f2at.gradient.classifier.read_classifier` that these options give."""
    given = {name: getattr(options, name) for name in _READING}
    given["output"] = given.pop("output_name")
    return {name: value for name, value in given.items() if value is not None}


def fitting(options: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `f2at.images.preparation.Preparation` that these options give."""
    return {name: getattr(options, name) for name in _FITTING if getattr(options, name) is not None}


def class_names(text: str) -> list[str]:
    """The lines of a text file, or names with commas between them, or a JSON list."""
    path = Path(text)
    if not _is_file(path):
        if path.suffix in (".txt", ".names", ".labels"):
            raise argparse.ArgumentTypeError(f"there is no file {text}")
        return parse_names(text)
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"must be a text file of a line for each class; got {text}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # so many names are too long for one of a file
        return False


def _size(text: str) -> tuple[int, int]:
    """(height, width), or one number for both."""
    sides = text.split(",")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"must be height and width in pixels, as in 224,224; got {text!r}")
    return int(sides[0]), int(sides[-1])


def _channels(text: str) -> list[float]:
    """A number for each channel, or one for all."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"must be one number or three, as in 0.5,0.4,0.4; got {text!r}")
    return numbers
