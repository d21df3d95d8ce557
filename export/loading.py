"""A PyTorch module by its name, and its weights: code that the user names, and files that hold nothing but tensors."""

import os
import pickle
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from f2at.command_line import first_line, shortened

_SHOWN = 4  # names in a message
_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put it
_PARALLEL = "module."  # what DataParallel puts in front of every name


def load_module(place: str, weights: Path | None = None) -> nn.Module:
    """A module in eval mode.

    Args:
        place: "package.module:function", a function that gives the module when called without arguments, or the
            module itself. It is looked for in the working directory, too.
        weights: a state dict, .safetensors, or what `torch.save` wrote; it is read with `weights_only=True`. None
            leaves the weights that the function gives.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no such function, it fails or gives something else, or the weights are not the module's.
    """
    name, colon, attribute = place.partition(":")
    if not (name and colon and attribute):
        raise ValueError(f"torch must be PACKAGE.MODULE:FUNCTION, as in torchvision.models:resnet18; got {place!r}")
    if os.getcwd() not in sys.path:  # noqa: PTH109 (a name in sys.path is text)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found: Any = import_module(name)
    except Exception as error:  # somebody's code
        raise ValueError(f"torch names {name}, which cannot be imported: {first_line(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(f"torch names {attribute}, which {name} does not have")
        found = getattr(found, part)
    if not isinstance(found, nn.Module):
        try:
            found = found()
        except Exception as error:
            raise ValueError(f"{place} cannot be called without arguments: {first_line(error)}") from error
    if not isinstance(found, nn.Module):
        raise ValueError(f"{place} must give a torch.nn.Module; got {type(found).__name__}")
    if weights is not None:
        _fill(found, _state(weights), weights)
    return found.eval()


def _state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a file, by name."""
    with path.open("rb"):
        pass  # the system's error for a file that cannot be read
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"weights in {path} are more than tensors, and to read them would be to run what is in them; save "
            "model.state_dict(), or .safetensors"
        ) from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise ValueError(
            f"weights must be .safetensors or what torch.save wrote; got {path}: {first_line(error)}"
        ) from error
    for name in _NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"weights must be a state dict, tensors by name; got {type(state).__name__} in {path}")
    if state and all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    return dict(state)


def _fill(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Put the weights into the module, all of them and no others."""
    own = {name: value.shape for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    wrong = {
        "missing": sorted(own.keys() - state.keys()),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(name for name in own.keys() & state.keys() if own[name] != state[name].shape),
    }
    said = [f"{kind} {shortened(names, _SHOWN)}" for kind, names in wrong.items() if names]
    if said:
        raise ValueError(f"weights in {path} are not the module's: {'; '.join(said)}")
    model.load_state_dict(state)
