"""Refused images as problems; `f2at.images.decode` says what is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.images import decode
from f2at.images.preparation import Preparation
from f2at.serving.problems import Problem

_KINDS = {
    decode.UnsupportedImageError.__name__: (415, "unsupported-image"),
    decode.TooManyPixelsError.__name__: (413, "image-too-large"),
    decode.UnreadableImageError.__name__: (422, "unreadable-image"),
}


def decode_images(
    files: Sequence[bytes], preparation: Preparation, *, max_pixels: int, max_total: int
) -> NDArray[np.uint8]:
    """The pixels of image files, uint8 (N, H, W, 3), prepared for the model; see `f2at.images.decode`.

    Raises:
        Problem: 415 an unsupported format, 413 too many pixels, 422 truncated or otherwise unreadable.
    """
    try:
        return decode.decode_images(files, preparation, max_pixels=max_pixels, max_total=max_total)
    except decode.ImageError as error:
        raise refusal(type(error).__name__, str(error), error.accepted, error.received) from error


def refusal(error: str, message: str, accepted: Any, received: Any) -> Problem:
    """The problem behind an ImageError, given by the name of its class and what it says."""
    return _problem(*_KINDS[error], message, accepted, received)


def too_slow(files: Sequence[bytes], seconds: int) -> Problem:
    """For files that were not decoded in time."""
    return _problem(
        422,
        "image-too-slow",
        f"Decoding was stopped after {seconds} seconds; send fewer or smaller images, or save them as plain files.",
        f"what is decoded within {seconds} seconds",
        _described(files),
    )


def too_much_memory(files: Sequence[bytes], memory: int) -> Problem:
    """For files that took more memory than a decode worker has, in MiB."""
    return _problem(
        413,
        "image-too-large",
        f"Decoding takes more than {memory} MiB of memory; send fewer or smaller images.",
        f"what is decoded in {memory} MiB",
        _described(files),
    )


def fatal(files: Sequence[bytes]) -> Problem:
    """For files that the decoder did not survive."""
    return _problem(
        422,
        "unreadable-image",
        "The decoder ended while it read the image, which may be damaged; save it again, or send another format.",
        "a whole file",
        _described(files),
    )


def _problem(status: int, kind: str, message: str, accepted: Any, received: Any) -> Problem:
    return Problem(status, kind, message, argument="image", accepted=accepted, received=received)


def _described(files: Sequence[bytes]) -> str:
    return f"{len(files)} file{'s' if len(files) > 1 else ''}, {sum(map(len, files))} bytes"
