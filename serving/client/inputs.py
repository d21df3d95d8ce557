"""What people hold an image in, as the file that is sent. numpy and Pillow are imported only for those who use them."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

# A file, its content, or the file opened: PNG, JPEG, WebP or BMP; or pixels, uint8 (H, W, 3) or grey (H, W).
Image: TypeAlias = "os.PathLike[str] | bytes | IO[bytes] | PIL.Image.Image | NDArray[np.uint8]"
Images: TypeAlias = "Iterable[Image] | NDArray[np.uint8]"

_ACCEPTED = "a Path, bytes, an open binary file, a Pillow image or a numpy array of uint8, (H, W, 3) or grey (H, W)"
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # of Pillow, which a PNG file keeps as they are


def content(image: Any, name: str = "image") -> bytes:
    """An image as the content of a file: its own, or a PNG file with the same pixels.

    An image that Pillow has opened is turned as its EXIF says, so that it is answered as its file would be.

    Args:
        image: an `Image`, which is checked here.
        name: what messages call it.

    Raises:
        TypeError: it is something else, such as text, or pixels that are not uint8.
        ValueError: pixels of another shape, none at all, or in a mode of Pillow's that PNG has not.
        OSError: the file cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, os.PathLike):
        return Path(image).read_bytes()
    if isinstance(image, str):
        hint = "a file is Path(...), and URLs are never fetched"
        raise TypeError(f"{name} must be {_ACCEPTED}; got the text {_short(image)}: {hint}")
    if _is("PIL.Image", "Image", image):
        return _of_pillow(image, name)
    if _is("numpy", "ndarray", image):
        return _of_array(image, name)
    if hasattr(image, "read"):
        return _of_file(image, name)
    raise TypeError(f"{name} must be {_ACCEPTED}; got {type(image).__name__}")


def contents(images: Any) -> list[bytes]:
    """The same of several images, `Images`.

    Raises:
        TypeError: see `content`; or it is one image, not several.
        ValueError: see `content`; or there is none.
    """
    one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike) or hasattr(images, "read")
    if one or _is("PIL.Image", "Image", images):
        raise TypeError(f"images must be several images, such as a list of them; got one {type(images).__name__}")
    if getattr(images, "ndim", 4) != 4:  # the rows of one image would pass for grey images
        raise ValueError(f"images must be (N, H, W, 3) if they are one array, or a list; got {_described(images)}")
    found = [content(image, f"images[{number}]") for number, image in enumerate(images)]
    if not found:
        raise ValueError("images must be at least one image; got none")
    return found


def _is(module: str, name: str, value: object) -> bool:
    """Whether it is of a class of a module that need not be there: who has such a value has imported it."""
    return module in sys.modules and isinstance(value, getattr(sys.modules[module], name))


def _of_file(file: Any, name: str) -> bytes:
    data = file.read()
    if not isinstance(data, bytes):
        raise TypeError(f"{name} must be a file opened as binary, 'rb'; got one that reads {type(data).__name__}")
    return data


def _of_array(array: Any, name: str) -> bytes:
    accepted = "an array of uint8, (H, W, 3) or grey (H, W)"
    if array.dtype != "uint8":
        raise TypeError(f"{name} must be {accepted}; got {_described(array)}")
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or not array.size:
        raise ValueError(f"{name} must be {accepted}, and not empty; got {_described(array)}")
    from f2at.images.png import png

    return png(array)


def _of_pillow(image: Any, name: str) -> bytes:
    if image.mode not in _MODES or not all(image.size):
        hint = "" if image.mode in _MODES else ": send its file, or image.convert('RGB')"
        accepted = f"a Pillow image of mode {', '.join(_MODES)}, and not empty"
        raise ValueError(f"{name} must be {accepted}; got mode {image.mode}, {image.width} x {image.height}{hint}")
    from f2at.images.colours import upright
    from f2at.images.png import png

    return png(upright(image))


def _described(array: Any) -> str:
    return f"{array.dtype} {array.shape}"


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
