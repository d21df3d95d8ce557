"""How images travel to an endpoint and answers back: what every protocol offers, and the plain ones."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from f2at.audit.endpoint.address import Address, EndpointError
from f2at.audit.endpoint.answers import Answer, read_answer
from f2at.images.pixels import Images
from f2at.images.png import png

JSON = "application/json"
_WRAPPERS = ("predictions", "outputs", "output", "results", "result", "instances", "data")
_LEVEL = 1  # of PNG's compression: fast, and as lossless as any


class Message(NamedTuple):
    """A request."""

    address: Address
    body: bytes
    kind: str  # its Content-Type


class Interface(Protocol):
    """A protocol, as one endpoint speaks it."""

    @property
    def batch(self) -> int:
        """The most images in a request."""

    @property
    def filled(self) -> bool:
        """Whether each request must have that many."""

    def message(self, images: Images) -> Message:
        """The request that asks about images uint8 (n, H, W, 3)."""

    def answers(self, value: Any, count: int) -> list[Answer]:
        """The answers in a JSON value, one for each of `count` images."""


class Form:
    """Pictures as files of a form, `multipart/form-data`: one a request."""

    batch, filled = 1, False

    def __init__(self, address: Address, field: str = "image") -> None:
        self._address, self._field = address, field

    def message(self, images: Images) -> Message:
        """See `Interface`."""
        return form(self._address, self._field, images)

    def answers(self, value: Any, count: int) -> list[Answer]:  # noqa: ARG002
        """See `Interface`."""
        return [read_answer(value)]


class Picture:
    """A PNG file as the body: one a request."""

    batch, filled = 1, False

    def __init__(self, address: Address) -> None:
        self._address = address

    def message(self, images: Images) -> Message:
        """See `Interface`."""
        return Message(self._address, png(images[0], compress_level=_LEVEL), "image/png")

    def answers(self, value: Any, count: int) -> list[Answer]:  # noqa: ARG002
        """See `Interface`."""
        return [read_answer(value)]


class Base64:
    """PNG files as base64 text in a field of a JSON object: one a request."""

    batch, filled = 1, False

    def __init__(self, address: Address, field: str = "image") -> None:
        self._address, self._field = address, field

    def message(self, images: Images) -> Message:
        """See `Interface`."""
        text = base64.b64encode(png(images[0], compress_level=_LEVEL)).decode("ascii")
        return Message(self._address, json.dumps({self._field: text}).encode(), JSON)

    def answers(self, value: Any, count: int) -> list[Answer]:  # noqa: ARG002
        """See `Interface`."""
        return [read_answer(value)]


class Tensor:
    """A batch as nested lists in a field of a JSON object, {"instances": [...]}, as `enter` makes it of images."""

    filled = False

    def __init__(
        self, address: Address, enter: Callable[[Images], NDArray[Any]], field: str = "instances", batch: int = 16
    ) -> None:
        self._address, self._enter, self._field, self.batch = address, enter, field, batch

    def message(self, images: Images) -> Message:
        """See `Interface`."""
        return Message(self._address, json.dumps({self._field: self._enter(images).tolist()}).encode(), JSON)

    def answers(self, value: Any, count: int) -> list[Answer]:
        """See `Interface`."""
        while isinstance(value, dict) and (key := next((key for key in _WRAPPERS if key in value), None)):
            value = value[key]
        return [read_answer(item) for item in one_each(value, count)]


def form(address: Address, field: str, images: Images) -> Message:
    """A form with a PNG file for each image, all in one field."""
    boundary = uuid4().hex
    parts = []
    for number, image in enumerate(images):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{number}.png"\r\n'
        parts += [f"{head}Content-Type: image/png\r\n\r\n".encode(), png(image, compress_level=_LEVEL), b"\r\n"]
    return Message(
        address, b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
    )


def one_each(value: Any, count: int) -> Sequence[Any]:
    """A list, if it has one item for each image."""
    if not isinstance(value, list) or len(value) != count:
        got = f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__
        raise EndpointError(f"the endpoint must answer a list with an item for each of {count} images; got {got}")
    return value


def numbers(value: Any, shape: Sequence[int]) -> NDArray[np.float64]:
    """The numbers of a tensor, flat or nested lists, in its shape.

    Raises:
        EndpointError: they are no numbers, or too many or few of them.
    """
    try:
        return np.asarray(value, np.float64).reshape(shape)
    except (ValueError, TypeError) as error:
        raise EndpointError(f"the endpoint's answer is no tensor of shape {list(shape)}") from error
