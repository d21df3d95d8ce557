"""Checkpoints: safetensors with a JSON description in the file's own header. Nothing is ever unpickled.

One file holds the weights and what they mean, so that the two cannot come apart.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from f2at.files import replacing
from f2at.models.classifier import Classifier
from f2at.models.from_timm import PREFIX
from f2at.models.registry import create_model

FORMAT = "f2at-checkpoint/1"
_ONLY = "only safetensors files written by training are read; pickles (.pt, .pth) never are"


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this package, or does not fit; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What the weights are.

    Attributes:
        architecture: arguments of `models.create_model`, its `name` among them.
        classes: the name of each class, in the order of the logits.
        input_size: (height, width) in pixels.
        fit, interpolation: how the pictures of training were brought to that size, see `f2at.images.preparation`.
        dataset: name of the training data.
        recipe: the whole training configuration.
        metrics: what was measured of these weights in training.
        versions: of Python and the packages used.
    """

    architecture: Mapping[str, Any]
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    dataset: str
    fit: str = "crop"
    interpolation: str = "bilinear"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description to one safetensors file, atomically."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as draft:
        save_file(contiguous, draft, metadata={"json": json.dumps(description)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        CheckpointError: the file is missing, is not safetensors (a pickle, say) or carries no description.
    """
    tensors, description = load_weights(path)
    if description is None:
        raise CheckpointError(f"{path} is not a checkpoint of this package (it has no description): {_ONLY}")
    return tensors, description


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of anybody's safetensors file, and the description that `save_tensors` adds, if it is there.

    Raises:
        CheckpointError: the file is missing, or is not safetensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: a .safetensors file written by training is needed")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return tensors, json.loads(metadata["json"]) if "json" in metadata else None
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this package ({error}): {_ONLY}") from None


def is_checkpoint(path: Path) -> bool:
    """Whether a safetensors file is a checkpoint of this package; False also where there is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return "json" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def save_checkpoint(path: Path | str, model: Classifier, info: CheckpointInfo) -> None:
    """Write the model's weights and their description to one file, atomically."""
    save_tensors(Path(path), model.state_dict(), {"format": FORMAT, **asdict(info)})


def load_checkpoint(path: Path | str) -> tuple[Classifier, CheckpointInfo]:
    """The model, in eval mode on the CPU, and its description.

    Raises:
        CheckpointError: not a checkpoint of this package, or its weights do not fit its architecture.
    """
    path = Path(path)
    tensors, description = load_tensors(path)
    found = description.pop("format", None)
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found!r}; this version reads {FORMAT!r}")
    try:
        info = CheckpointInfo(
            **{
                **description,
                "classes": tuple(description["classes"]),
                "input_size": tuple(description["input_size"]),
            }
        )
        # Without memory for weights that are there already; models of timm compute other tensors when they are built.
        elsewhere = info.architecture["name"].startswith(PREFIX)
        with torch.device("cpu" if elsewhere else "meta"):
            model = create_model(**info.architecture)
        model.load_state_dict(tensors, assign=not elsewhere)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is damaged: its weights and description do not fit ({reason})") from None
    return model.eval(), info
