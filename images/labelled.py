"""Labelled images, uint8 (N, H, W, 3) with a class for each: their one check."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_names(names: Sequence[str]) -> None:
    """Refuse names of classes that cannot be written down, in a report or an answer.

    Raises:
        ValueError: which name, as a file system or JSON can hold it, is no Unicode text.
    """
    for name in names:
        try:
            str(name).encode()
        except UnicodeEncodeError:
            raise ValueError(f"names of classes must be Unicode text; got {name!a}") from None


def check_labelled(
    images: NDArray[Any],
    labels: NDArray[Any],
    *,
    name: str = "",
    size: tuple[int, int] | None = None,
    classes: int | None = None,
) -> None:
    """Refuse arrays that are not labelled images.

    Args:
        images: must be uint8 (N, H, W, 3), N >= 1.
        labels: must be integers (N,).
        name: what the message calls them, in front of "images" and "labels".
        size: (H, W) that they must have; None takes any.
        classes: labels must lie in [0, classes); None takes any.

    Raises:
        ValueError: what is accepted and what came.
    """
    which = f"{name} " if name else ""
    shape = images.shape
    if images.dtype != np.uint8 or images.ndim != 4 or shape[1:] != (*(size or shape[1:3]), 3):
        height, width = size or ("H", "W")
        raise ValueError(f"{which}images must be uint8 (N, {height}, {width}, 3); got {images.dtype} {shape}")
    if not len(images):
        raise ValueError(f"{which}images must be at least one; got none")
    if labels.dtype.kind not in "iu" or labels.shape != shape[:1]:
        raise ValueError(f"{which}labels must be integers ({len(images)},); got {labels.dtype} {labels.shape}")
    if classes is not None:
        check_range(labels, classes, name=name)


def check_range(labels: NDArray[Any], classes: int, *, name: str = "") -> None:
    """Refuse labels that count no class of so many; `name` precedes the word in the message."""
    if labels.min() < 0 or labels.max() >= classes:
        which = f"{name} " if name else ""
        raise ValueError(f"{which}labels must lie in [0, {classes}); got {labels.min()} to {labels.max()}")
