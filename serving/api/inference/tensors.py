"""Requests and answers of the protocol as arrays: JSON, and after it the bytes of binary tensors."""

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray

from f2at.serving.problems import Problem, invalid

_DATATYPES = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8}
_LENGTH = struct.Struct("<I")  # before each element of a binary BYTES tensor
MOST_JSON = 4 << 20  # bytes; what Python makes of them takes 50 times as many at worst
_MOST_DIMENSIONS = 8
_LONGEST = 2**31 - 1  # of a dimension
_LONGEST_TEXT = 128
_LENGTH_TEXT = re.compile("[0-9]{1,12}")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which no encoding has
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
        outputs: names of the outputs that are wanted, and whether each is wanted as bytes (None: it does not say);
            None: all.
        binary: whether outputs that do not say are wanted as bytes.
    """

    identifier: str | None
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, bool | None] | None
    binary: bool


def read_question(body: bytes, json_length: str | None, *, most_files: int = 1000) -> Question:
    """The request in a body.

    Args:
        body: JSON, and after it the bytes of binary tensors in the order of the inputs.
        json_length: how many bytes are JSON, the header Inference-Header-Content-Length; None: all.
        most_files: elements that a BYTES tensor may have.

    Raises:
        Problem: 400, it is not such a request, the detail names the member; 413, too much of it is JSON.
    """
    if json_length is not None and not _LENGTH_TEXT.fullmatch(json_length):
        _refuse("Inference-Header-Content-Length", "a number of bytes", json_length)
    length = len(body) if json_length is None else int(json_length)
    if length > len(body):
        _refuse("Inference-Header-Content-Length", f"at most {len(body)}, the length of the body", length)
    if length > MOST_JSON:
        raise Problem(
            413,
            "body-too-large",
            f"At most {MOST_JSON} bytes may be JSON; send larger tensors as bytes (binary_data_size).",
            argument="body",
            accepted=f"at most {MOST_JSON} bytes of JSON",
            received=f"{length} bytes",
        )
    try:
        values = json.loads(body[:length], parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _refuse("body", f"JSON of {length} bytes, as the protocol has it", f"{error}")
    asked = _typed(values, dict, "body", "an object")
    if (identifier := asked.get("id")) is not None:
        _text(identifier, "id")
    rest = memoryview(body)[length:]
    inputs: dict[str, Tensor] = {}
    for entry in _typed(asked.get("inputs"), list, "inputs", "a list of tensors"):
        tensor, used = _read_tensor(_typed(entry, dict, "inputs", "a list of tensors"), rest, most_files)
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


def _read_tensor(entry: dict[str, Any], rest: memoryview, most_files: int) -> tuple[Tensor, int]:
    """An input, and how many of the bytes that follow the JSON are its own."""
    name = _text(entry.get("name"), "name of an input")
    shape = _typed(entry.get("shape"), list, f"shape of {name!r}", "a list of whole numbers")
    if len(shape) > _MOST_DIMENSIONS or not all(type(size) is int and 1 <= size <= _LONGEST for size in shape):
        _refuse(f"shape of {name!r}", f"at most {_MOST_DIMENSIONS} whole numbers from 1 to {_LONGEST}", shape)
    datatype = entry.get("datatype")
    if datatype not in ("UINT8", "BYTES"):
        _refuse(f"datatype of {name!r}", "UINT8 or BYTES", datatype)
    if datatype == "BYTES" and math.prod(shape) > most_files:
        _refuse(f"shape of {name!r}", f"of at most {most_files} elements", shape)
    size = _parameters(entry, name).get("binary_data_size")
    if size is not None and "data" in entry:
        _refuse(f"data of {name!r}", "given as a list or as bytes", "both")
    if size is None:
        data = _flat(_typed(entry.get("data"), list, f"data of {name!r}", "a list, or binary_data_size"))
        values, used = (_numbers(name, data) if datatype == "UINT8" else _encoded(name, data)), 0
    else:
        used = _typed(size, int, f"binary_data_size of {name!r}", "a number of bytes")
        if not 0 <= used <= len(rest):
            _refuse(f"binary_data_size of {name!r}", f"from 0 to {len(rest)}, the bytes that are left", used)
        part = rest[:used]
        values = np.frombuffer(part, np.uint8) if datatype == "UINT8" else _elements(name, part, math.prod(shape))
    if len(values) != math.prod(shape):
        _refuse(f"data of {name!r}", f"{math.prod(shape)} values, as its shape has it", f"{len(values)} values")
    tensor_shape = tuple(shape)
    return Tensor(name, values if isinstance(values, list) else values.reshape(tensor_shape), tensor_shape), used


def _read_outputs(value: Any) -> dict[str, bool | None] | None:
    """None where none is named, which means all."""
    wanted: dict[str, bool | None] = {}
    for entry in _typed(value or [], list, "outputs", "a list of outputs"):
        name = _text(_typed(entry, dict, "outputs", "a list of outputs").get("name"), "name of an output")
        parameters = _parameters(entry, name)
        if "classification" in parameters:
            _refuse(f"parameters of {name!r}", "binary_data", "classification")
        binary = parameters.get("binary_data")
        wanted[name] = None if binary is None else _typed(binary, bool, f"binary_data of {name!r}")
    return wanted or None


def _parameters(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = _typed(entry.get("parameters", {}), dict, f"parameters of {name!r}", "an object")
    return found


def _flat(values: list[Any]) -> list[Any]:
    """Lists within lists as one, where all are of one depth; the protocol takes tensors both ways."""
    while values and set(map(type, values)) == {list}:
        values = list(chain.from_iterable(values))
    return values


def _numbers(name: str, values: list[Any]) -> Array:
    for value in values:  # before numpy, which makes all of them text where one is
        if type(value) is not int or not 0 <= value <= 255:
            _refuse(f"data of {name!r}", "whole numbers from 0 to 255", value)
    return np.frombuffer(bytes(values), np.uint8)


def _encoded(name: str, values: list[Any]) -> Elements:
    """The elements of a BYTES tensor in JSON, which has no bytes: base64."""
    found = []
    for value in values:
        try:
            found.append(base64.b64decode(_typed(value, str, f"data of {name!r}", "base64 text"), validate=True))
        except (binascii.Error, ValueError):
            _refuse(f"data of {name!r}", "base64 text", str(value)[:40])
    return found


def _elements(name: str, part: memoryview, most: int) -> Elements:
    """The elements of a binary BYTES tensor: each with its length before it; no more are read than there may be."""
    found: Elements = []
    while len(part) and len(found) <= most:
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


def _text(value: Any, name: str) -> str:
    """Text that is short enough, and of characters, to be sent back."""
    accepted = f"text of 1 to {_LONGEST_TEXT} characters"
    if not 1 <= len(_typed(value, str, name, accepted)) <= _LONGEST_TEXT or _SURROGATE.search(value):
        _refuse(name, accepted, value)
    return str(value)


def _typed(value: Any, kind: type, name: str, accepted: str = "true or false") -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        _refuse(name, accepted, value)
    return value


def _no_constant(word: str) -> Never:
    raise ValueError(f"{word} is not a JSON number")


def _refuse(argument: str, accepted: str, received: Any) -> Never:
    plain = received is None or (isinstance(received, int) and abs(received) <= _MOST_IN_JSON)
    shown = received if plain else _shortened(received)
    raise invalid(argument, accepted, shown, status=400)


def _shortened(value: Any) -> str:
    """The beginning of a value as text, made without the rest of it."""
    if isinstance(value, list):
        return f"[{', '.join(_shortened(each) for each in islice(value, 4))}{', ...' if len(value) > 4 else ''}]"[:80]
    if isinstance(value, int) and value.bit_length() > 1000:  # Python writes no longer ones out
        return "a number of more than 300 digits"
    return str(value)[:80].encode("ascii", "backslashreplace").decode() if not isinstance(value, dict) else "an object"
