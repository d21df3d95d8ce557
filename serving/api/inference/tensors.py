"""Requests and answers of the protocol as arrays: JSON, and after it the bytes of binary tensors."""

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray

from f2at.serving.problems import Problem

_DATATYPES = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8}
_LENGTH = struct.Struct("<I")  # before each element of a binary BYTES tensor
MOST_JSON = 2 << 20  # bytes; what Python makes of them takes 50 times as many at worst
_MOST_DIMENSIONS = 8
_MOST_IN_JSON = 2**53  # larger whole numbers are not the same to every reader

Array = NDArray[Any]
Elements = list[bytes]  # of a BYTES tensor


@dataclass(frozen=True)
class Tensor:
    """An input or output: an array, or the elements of a BYTES tensor with their shape."""

    name: str
    values: Array | Elements
    shape: tuple[int, ...]

    @property
    def datatype(self) -> str:
        """As the protocol calls it."""
        if isinstance(self.values, list):
            return "BYTES"
        return next(name for name, dtype in _DATATYPES.items() if dtype == self.values.dtype)


@dataclass(frozen=True)
class Question:
    """An inference request.

    Attributes:
        identifier: of the client's own; sent back.
        inputs: by name.
        outputs: names of the outputs that are wanted, and whether each is wanted as bytes; None: all.
        binary: whether outputs that do not say are wanted as bytes.
    """

    identifier: str | None
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, bool] | None
    binary: bool


def read_question(body: bytes, json_length: str | None) -> Question:
    """The request in a body.

    Args:
        body: JSON, and after it the bytes of binary tensors in the order of the inputs.
        json_length: how many bytes are JSON, the header Inference-Header-Content-Length; None: all.

    Raises:
        Problem: 400, it is not such a request, the detail names the member; 413, too much of it is JSON.
    """
    if json_length is not None and not (json_length.isascii() and json_length.isdigit()):
        _refuse("Inference-Header-Content-Length", "a number of bytes", json_length[:40])
    length = len(body) if json_length is None else int(json_length)
    if length > MOST_JSON:
        raise Problem(
            413,
            "body-too-large",
            f"At most {MOST_JSON} bytes may be JSON; send larger tensors as bytes (binary_data_size).",
            argument="body",
            accepted=f"at most {MOST_JSON} bytes of JSON",
            received=f"{length} bytes",
        )
    if length > len(body):
        _refuse("Inference-Header-Content-Length", f"at most {len(body)}, the length of the body", length)
    try:
        values = json.loads(body[:length], parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _refuse("body", f"JSON of {length} bytes, as the protocol has it", f"{error}")
    asked = _typed(values, dict, "body", "an object")
    if (identifier := asked.get("id")) is not None:
        _typed(identifier, str, "id", "text")
    rest = memoryview(body)[length:]
    inputs: dict[str, Tensor] = {}
    for entry in _typed(asked.get("inputs"), list, "inputs", "a list of tensors"):
        tensor, used = _read_tensor(_typed(entry, dict, "inputs", "a list of tensors"), rest)
        if tensor.name in inputs:
            _refuse("inputs", "each input once", tensor.name)
        inputs[tensor.name] = tensor
        rest = rest[used:]
    if len(rest):
        _refuse("body", "no bytes beyond those of its tensors", f"{len(rest)} more bytes")
    binary = _parameters(asked, "body").get("binary_data_output", False)
    return Question(identifier, inputs, _read_outputs(asked.get("outputs")), _typed(binary, bool, "binary_data_output"))


def write_answer(
    head: Mapping[str, Any], outputs: Sequence[Tensor], *, binary: frozenset[str]
) -> tuple[bytes, int | None]:
    """The body of an answer, and how many bytes of it are JSON where others follow.

    Args:
        head: its members beside the outputs.
        outputs: in their order.
        binary: names of those that are written as bytes.
    """
    described, contents = [], []
    for output in outputs:
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if output.name in binary:
            content = _to_bytes(output.values)
            entry["parameters"] = {"binary_data_size": len(content)}
            contents.append(content)
        else:
            values = output.values
            entry["data"] = [each.decode() for each in values] if isinstance(values, list) else values.ravel().tolist()
        described.append(entry)
    text = json.dumps({**head, "outputs": described}, ensure_ascii=False, allow_nan=False).encode()
    return (text + b"".join(contents), len(text)) if contents else (text, None)


def _read_tensor(entry: dict[str, Any], rest: memoryview) -> tuple[Tensor, int]:
    """An input, and how many of the bytes that follow the JSON are its own."""
    name = _typed(entry.get("name"), str, "inputs", "tensors with a name")
    shape = _typed(entry.get("shape"), list, f"shape of {name!r}", "a list of whole numbers")
    if len(shape) > _MOST_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        _refuse(f"shape of {name!r}", f"at most {_MOST_DIMENSIONS} whole numbers from 0", shape)
    datatype = entry.get("datatype")
    if datatype not in ("UINT8", "BYTES"):
        _refuse(f"datatype of {name!r}", "UINT8 or BYTES", datatype)
    size = _parameters(entry, name).get("binary_data_size")
    if size is None:
        data = _flat(_typed(entry.get("data"), list, f"data of {name!r}", "a list, or binary_data_size"))
        values, used = (_numbers(name, data) if datatype == "UINT8" else _encoded(name, data)), 0
    else:
        used = _typed(size, int, f"binary_data_size of {name!r}", "a number of bytes")
        if not 0 <= used <= len(rest):
            _refuse(f"binary_data_size of {name!r}", f"at most the {len(rest)} bytes that are left", used)
        part = rest[:used]
        values = np.frombuffer(part, np.uint8) if datatype == "UINT8" else _elements(name, part)
    if len(values) != math.prod(shape):
        _refuse(f"data of {name!r}", f"{math.prod(shape)} values, as its shape has it", f"{len(values)} values")
    tensor_shape = tuple(shape)
    return Tensor(name, values if isinstance(values, list) else values.reshape(tensor_shape), tensor_shape), used


def _read_outputs(value: Any) -> dict[str, bool] | None:
    if value is None:
        return None
    wanted: dict[str, bool] = {}
    for entry in _typed(value, list, "outputs", "a list of outputs"):
        name = _typed(_typed(entry, dict, "outputs", "a list of outputs").get("name"), str, "outputs", "names")
        parameters = _parameters(entry, name)
        if "classification" in parameters:
            _refuse(f"parameters of {name!r}", "binary_data", "classification")
        wanted[name] = _typed(parameters.get("binary_data", False), bool, f"binary_data of {name!r}")
    return wanted


def _parameters(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = _typed(entry.get("parameters", {}), dict, f"parameters of {name!r}", "an object")
    return found


def _flat(values: list[Any]) -> list[Any]:
    """Lists within lists as one; the protocol takes tensors both ways."""
    while values and isinstance(values[0], list):
        values = [inner for outer in values for inner in (outer if isinstance(outer, list) else [outer])]
    return values


def _numbers(name: str, values: list[Any]) -> Array:
    try:
        found = np.array(values or [0])
    except (ValueError, OverflowError):  # of lists within, or of numbers beyond all bounds
        found = np.array([None])
    if found.ndim != 1 or found.dtype != np.int64 or found.min() < 0 or found.max() > 255:
        wrong = next((value for value in values if type(value) is not int or not 0 <= value <= 255), values)
        _refuse(f"data of {name!r}", "whole numbers from 0 to 255", wrong)
    return found[: len(values)].astype(np.uint8)


def _encoded(name: str, values: list[Any]) -> Elements:
    """The elements of a BYTES tensor in JSON, which has no bytes: base64."""
    found = []
    for value in values:
        try:
            found.append(base64.b64decode(_typed(value, str, f"data of {name!r}", "base64 text"), validate=True))
        except (binascii.Error, ValueError):
            _refuse(f"data of {name!r}", "base64 text", str(value)[:40])
    return found


def _elements(name: str, part: memoryview) -> Elements:
    """The elements of a binary BYTES tensor: each with its length before it."""
    found: Elements = []
    while len(part):
        length = _LENGTH.unpack(part[:4])[0] if len(part) >= _LENGTH.size else None
        if length is None or length > len(part) - _LENGTH.size:
            _refuse(f"data of {name!r}", "elements with their lengths, of 4 bytes, before them", "others")
        found.append(bytes(part[_LENGTH.size : _LENGTH.size + length]))
        part = part[_LENGTH.size + length :]
    return found


def _to_bytes(values: Array | Elements) -> bytes:
    if isinstance(values, list):
        return b"".join(_LENGTH.pack(len(element)) + element for element in values)
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def _typed(value: Any, kind: type, name: str, accepted: str = "true or false") -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        _refuse(name, accepted, value)
    return value


def _no_constant(word: str) -> Never:
    raise ValueError(f"{word} is not a JSON number")


def _refuse(argument: str, accepted: str, received: Any) -> Never:
    plain = received is None or (isinstance(received, int) and abs(received) <= _MOST_IN_JSON)
    shown = received if plain else str(received)[:80]
    raise Problem(
        400,
        "invalid-argument",
        f"{argument} must be {accepted}; got {shown!r}.",
        argument=argument,
        accepted=accepted,
        received=shown,
    )
