"""A classifier's ONNX file as somebody exported it, with the weights that it keeps in other files."""

import hashlib
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.checker import ValidationError
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from f2at.bundle.onnx_check import tensors
from f2at.bundle.weights import Slim


def read_onnx(path: Path) -> tuple[Slim, str]:
    """The model, weights included but beside it, and the digest of all it consists of.

    Returns:
        The model, and "sha256:<hex>": of the file; if weights are in other files, of the digests of the file and of
        each of those, in the order of their names.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no ONNX model, or its weights are not where it says.
    """
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(f"{path} is no ONNX model: {error}") from error
    if not model.graph.node:
        raise ValueError(f"{path} is no ONNX model: it holds no graph")
    parts = [hashlib.sha256(content).hexdigest()]
    del content  # as large as the weights
    names = {_location(tensor) for tensor in tensors(model) if uses_external_data(tensor)}
    for name in sorted(names):
        place = path.parent / name
        if Path(name).is_absolute() or ".." in Path(name).parts or place.is_symlink():
            raise ValueError(f"{path} keeps weights in {name}, which must be a file beside it")
        with place.open("rb") as stream:
            parts.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if names:
        try:
            load_external_data_for_model(model, str(path.parent))
        except (ValidationError, ValueError) as error:
            raise ValueError(
                f"{path} keeps weights in {', '.join(sorted(names))}, which do not fit: {error}"
            ) from error
    for value in model.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_value < 0:  # how some exporters say "any"
                axis.ClearField("dim_value")
    return Slim.of(model), f"sha256:{parts[0] if not names else hashlib.sha256(' '.join(parts).encode()).hexdigest()}"


def _location(tensor: onnx.TensorProto) -> str:
    return str(next(entry.value for entry in tensor.external_data if entry.key == "location"))
