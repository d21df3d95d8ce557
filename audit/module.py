"""Audit a PyTorch module before it is exported: the same harness and report, on the device that the module is on."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from f2at.attacks.objectives import OBJECTIVES, objective_weights
from f2at.attacks.targets.torch_straight import StraightTarget
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit.checks import check_data
from f2at.audit.opening.straight import IMAGES, Straightened, straightened
from f2at.audit.perform import perform
from f2at.audit.plan import Audit
from f2at.audit.provenance.context import Context
from f2at.audit.request import AuditRequest
from f2at.audit.steps import Step, drawn
from f2at.audit.subject import ToTarget
from f2at.command_line import first_line
from f2at.images.pixels import Images, Labels, to_inputs
from f2at.images.sets.base import in_memory

_REAL = (torch.float64, torch.bfloat16, torch.float16)  # what images are turned into for a module of such weights


def audit_module(
    model: torch.nn.Module,
    images: ArrayLike,
    labels: ArrayLike,
    request: AuditRequest,
    *,
    classes: Sequence[str],
    surrogate: torch.nn.Module | None = None,
    progress: Callable[[Step], object] | None = None,
    context: Context | None = None,
) -> dict[str, Any]:
    """Audit a module and return the report.

    Args:
        model: maps images (N, 3, H, W) in [0, 1] to logits (N, C), normalisation included; in eval mode. They are
            given in the type of its weights. Logits may come alone, as `.logits`, as `["logits"]`, or in a tuple or
            mapping in which nothing else has their shape. Where it hides its gradients behind what rounds, they are
            those of `f2at.attacks.targets.torch_straight`. Without gradients, suites without white-box attacks.
        images: uint8 (N, H, W, 3), labelled images that the model was not trained on; an array or a tensor.
        labels: integers (N,); an array, a tensor or a list.
        request: what to do.
        classes: a name for each of the C outputs.
        surrogate: another such module on the same device, for suites with transfer attacks.
        progress: called after every step.
        context: what its owner says of the model and the audit, for the report.

    Raises:
        ValueError: a module is in training mode, cannot classify these images, or has no gradients where they are
            needed; or images, labels, classes and request do not fit together.
    """
    pixels = _array(images)
    data = in_memory(pixels, _array(labels))
    device = next((tensor.device for _, tensor in _tensors(model)), torch.device("cpu"))
    with torch.inference_mode(False):  # in which a caller may be, and gradients could not be had
        inputs = torch.from_numpy(to_inputs(pixels[[0, -1]])).to(device)
        targets = {
            name: ModuleTarget(module, inputs, classes=len(classes), name=name)
            for name, module in (("model", model), ("surrogate", surrogate))
            if module is not None
        }

        def to_target(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(device)

        check_data(data, request, classes, targets["model"])
        rows = drawn(request, len(data))[:IMAGES]
        other = targets["model"].straightened(data.read(rows), data.labels[rows], to_target)
        audit = Audit(
            targets["model"] if other is None else other.target,
            data,
            request,
            classes=classes,
            model={"digest": module_digest(model), **({} if other is None else other.description)},
            environment={"torch": torch.__version__, "device": _name(device)},
            to_target=to_target,
            surrogate=targets.get("surrogate"),
            surrogate_model=None if surrogate is None else {"digest": module_digest(surrogate)},
        )
        return perform(audit, progress=progress, context=context)


class ModuleTarget(TorchTarget):
    """A module that somebody gave, asked once what it takes and returns.

    Args:
        model: see `audit_module`.
        inputs: images (2, 3, H, W) to ask it with.
        classes: how many outputs are expected; tells which one holds the logits where there are several.
        name: what messages call it.

    Attributes:
        given: the module as it came.
        gradients: whether it has any.
        obstacle: why not, in PyTorch's words.

    Raises:
        ValueError: it is in training mode, or does not return logits (N, C).
    """

    def __init__(self, model: torch.nn.Module, inputs: Tensor, *, classes: int, name: str) -> None:
        if any(part.training for part in model.modules()):
            raise ValueError(f"{name} must be in eval mode; call its eval() first")
        self.given = model
        super().__init__(Logits(model, classes, name), classes=classes)
        try:
            self.classes = self.logits(inputs).shape[1]
        except OutputError:
            raise
        except Exception as error:  # somebody's code
            raise ValueError(
                f"{name} must take images {tuple(inputs.shape)}, {inputs.dtype} in [0, 1]: {first_line(error)}"
            ) from error
        zeros = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
        self.gradients, self.obstacle = True, ""
        try:
            self.gradient(inputs, zeros, zeros + 1, torch.ones((len(inputs), len(OBJECTIVES)), device=inputs.device))
        except Exception as error:
            self.gradients, self.obstacle = False, first_line(error)

    def straightened(self, images: Images, labels: Labels, to_target: ToTarget) -> Straightened | None:
        """What to attack in its place, if it hides its gradients behind what rounds; see `f2at.audit.opening.straight`.

        Args:
            images: uint8 (N, H, W, 3), N >= 1.
            labels: (N,).
            to_target: moves a numpy array to its device.
        """

        def derive() -> Straightened | None:
            target = StraightTarget(self.model, classes=self.classes, layers=self.given)
            y = to_target(labels[:1])
            weights = to_target(objective_weights(np, "margin", 1))
            try:
                target.gradient(to_target(to_inputs(images[:1])), y, y, weights)
            except Exception:  # somebody's code, which then has what gradients it has
                return None
            return Straightened(target, target.passed, {"straight_through": list(target.passed)})

        if self.gradients:
            return straightened(self, derive, images, labels, to_target)
        other = derive()
        return other if other and other.passed else None


class OutputError(ValueError):
    """A module returns no logits."""


class Logits(torch.nn.Module):
    """A module that takes images in float32 and returns nothing but logits.

    Args:
        model: see `audit_module`.
        classes: how many outputs are expected; tells which one holds the logits where there are several.
        name: what messages call it.
        least: how many there must be; 1 lets one output of two classes through, as (N, 1).
    """

    def __init__(self, model: torch.nn.Module, classes: int, name: str, *, least: int = 2) -> None:
        super().__init__()
        self.model, self.classes, self.name, self.least = model, classes, name, least
        self.dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, C)."""
        output = self.model(images.to(self.dtype) if self.dtype in _REAL else images)
        found = output if isinstance(output, Tensor) else self._only(output, images.shape[0])
        if found is not None and found.ndim == self.least == 1:
            found = found[:, None]
        if found is None or found.ndim != 2 or found.shape[0] != images.shape[0] or found.shape[1] < self.least:
            raise OutputError(
                f"{self.name} must return logits (N, C), C >= {self.least}, alone or as .logits; "
                f"got {_describe(output)} for {len(images)} images"
            )
        return found

    def _only(self, output: Any, count: int) -> Tensor | None:
        """The tensor named logits, or the only one, or the only one of their shape."""
        parts = dict(output) if isinstance(output, Mapping) else {"logits": getattr(output, "logits", None)}
        if isinstance(parts.get("logits"), Tensor):
            return parts["logits"]
        values = output if isinstance(output, tuple | list) else parts.values()
        tensors = [value for value in values if isinstance(value, Tensor)]
        if len(tensors) > 1:
            tensors = [tensor for tensor in tensors if tensor.shape == (count, self.classes)]
        return tensors[0] if len(tensors) == 1 else None


def module_digest(model: torch.nn.Module) -> str:
    """sha256 over the names, types, shapes and values of all weights and buffers; not over the code that uses them."""
    digest = hashlib.sha256()
    for name, tensor in _tensors(model):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _tensors(model: torch.nn.Module) -> list[tuple[str, Tensor]]:
    """All weights and buffers by name, those of quantised layers, which are neither, included."""
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in model.state_dict().items():
        if name not in found:
            found |= dict(_packed(name, value))
    return sorted(found.items())


def _packed(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """What a quantised layer keeps: tensors, in tuples and integers of a scale."""
    if isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from _packed(f"{name}.{index}", part)
    elif isinstance(value, Tensor):
        yield name, value.dequantize() if value.is_quantized else value


def _array(values: ArrayLike) -> NDArray[Any]:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)


def _describe(output: Any) -> str:
    """What came, in a few words."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    if isinstance(output, Mapping):
        return f"{type(output).__name__} of {', '.join(f'{key!r} {_describe(value)}' for key, value in output.items())}"
    if isinstance(output, tuple | list):
        return f"{type(output).__name__} of {', '.join(map(_describe, output))}"
    return type(output).__name__


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
