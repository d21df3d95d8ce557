"""The Open Inference Protocol, version 2: GET /v2/models/NAME, POST /v2/models/NAME/infer, tensors as JSON."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from f2at.audit.endpoint.address import Address, EndpointError
from f2at.audit.endpoint.answers import Answer
from f2at.audit.endpoint.protocols import JSON, Message, numbers
from f2at.gradient.entry import Entry, entry_of
from f2at.images.pixels import Images

DTYPES = {"UINT8": "uint8", "FP16": "float16", "FP32": "float32", "FP64": "float64"}
_MODEL = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?")
_NUMBERS = 1_000_000  # about the most in a request: four megabytes of JSON where they are pixels
_MOST = 32


class Inference:
    """A model of a server that speaks the protocol.

    base: its path, /v2/models/NAME with or without /versions/VERSION.
    metadata: what GET of it answered.
    enter: makes of an entry what brings images into its form.
    output: the name of the output with the scores; may be None where there is only one.
    preprocessing: see `f2at.gradient.entry.entry_of`, but for name, dtype and shape.
    """

    def __init__(
        self,
        base: Address,
        metadata: Any,
        enter: Callable[[Entry], Callable[[Images], NDArray[Any]]],
        *,
        output: str | None = None,
        **preprocessing: Any,
    ) -> None:
        images, outputs = _tensors(base, metadata)
        name, datatype = images.get("name"), images.get("datatype")
        if datatype not in DTYPES:
            raise EndpointError(f"input {name!r} of {base} must be one of {', '.join(DTYPES)}; got {datatype}")
        shape = [side if side > 0 else None for side in images["shape"]]
        self.entry = entry_of(str(name), DTYPES[datatype], shape, **preprocessing)
        if output is not None and outputs and output not in outputs:
            raise ValueError(f"output-name must be one of {', '.join(outputs)}; got {output!r}")
        if output is None and len(outputs) > 1:
            raise ValueError(f"output-name must be given for a model with several: {', '.join(outputs)}")
        self.filled = shape[0] is not None
        self.batch = shape[0] or min(_MOST, max(1, _NUMBERS // math.prod(self.entry.shape)))
        self.version = ", ".join(map(str, metadata.get("versions") or ())) or None
        self._output = output or next(iter(outputs), None)
        self._name, self._datatype = name, datatype
        self._enter = enter(self.entry)
        self._address = base.at(f"{base.path}/infer")

    def message(self, images: Images) -> Message:
        """See `Interface`."""
        tensor = self._enter(images)
        content: dict[str, Any] = {
            "inputs": [
                {
                    "name": self._name,
                    "shape": list(tensor.shape),
                    "datatype": self._datatype,
                    "data": tensor.reshape(-1).tolist(),
                }
            ]
        }
        if self._output is not None:
            content["outputs"] = [{"name": self._output}]
        return Message(self._address, json.dumps(content, separators=(",", ":")).encode(), JSON)

    def answers(self, value: Any, count: int) -> list[Answer]:
        """See `Interface`."""
        outputs = value.get("outputs") if isinstance(value, Mapping) else None
        if not isinstance(outputs, list) or not all(isinstance(item, Mapping) for item in outputs):
            raise EndpointError("the endpoint's answer has no outputs")
        found = [item for item in outputs if self._output is None or item.get("name") == self._output]
        if len(found) != 1:
            names = ", ".join(str(item.get("name")) for item in outputs)
            raise EndpointError(f"the endpoint must answer one output, {self._output or 'the scores'}; got {names}")
        return _answers(found[0], count)


def model_path(path: str) -> str | None:
    """The path of a model of this protocol in a URL's path, or None where there is none."""
    found = _MODEL.search(path)
    return None if found is None else path[: found.end()]


def _answers(output: Mapping[str, Any], count: int) -> list[Answer]:
    """The rows of an output: floats (N, C) are scores, integers and text (N,) or (N, 1) labels."""
    shape, datatype, data = output.get("shape"), str(output.get("datatype")), output.get("data")
    if not isinstance(shape, list) or not shape or shape[0] != count or not isinstance(data, list):
        raise EndpointError(f"the endpoint must answer a tensor with a row for each of {count} images; got {shape}")
    if datatype == "BYTES":
        labels = [item for row in data for item in (row if isinstance(row, list) else [row])]
        if len(labels) != count or not all(isinstance(label, str) for label in labels):
            raise EndpointError(f"the endpoint must answer a label for each of {count} images; got {data!r:.80}")
        return labels
    rows = numbers(data, [count, -1])
    if not datatype.startswith("FP"):
        if rows.shape[1] != 1:
            raise EndpointError(f"the endpoint must answer labels or scores; got {datatype} of shape {shape}")
        return [int(row[0]) for row in rows]
    return list(rows)


def _tensors(base: Address, metadata: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    """The one input, and the names of the outputs."""
    named = metadata.get("inputs") if isinstance(metadata, Mapping) else None
    named = [entry for entry in named if isinstance(entry, Mapping)] if isinstance(named, list) else []
    # Where files are taken as well, as BYTES, the images that an audit sends go in as they are.
    inputs = [entry for entry in named if entry.get("datatype") != "BYTES"] or named
    if len(inputs) != 1:
        count = len(inputs)
        raise EndpointError(f"{base} must name one input, the images, in its metadata; it names {count}")
    shape = inputs[0].get("shape")
    if not isinstance(shape, list) or not all(isinstance(side, int) for side in shape):
        raise EndpointError(f"{base} must give the shape of its input; got {shape!r:.80}")
    outputs = metadata.get("outputs") or []
    return inputs[0], [str(item.get("name")) for item in outputs if isinstance(item, Mapping)]
