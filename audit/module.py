"""Audit a PyTorch module before it is exported: the same harness and report, on the device that the module is on."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit.perform import perform
from f2at.audit.plan import Audit, Step
from f2at.audit.request import AuditRequest


def audit_module(
    model: torch.nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    request: AuditRequest,
    *,
    classes: Sequence[str],
    surrogate: torch.nn.Module | None = None,
    progress: Callable[[Step], object] | None = None,
) -> dict[str, Any]:
    """Audit a module and return the report.

    Args:
        model: maps images (N, 3, H, W) in [0, 1] to logits (N, C), normalisation included; in eval mode.
        images: uint8 (N, H, W, 3), labelled images that the model was not trained on.
        labels: int64 (N,).
        request: what to do.
        classes: a name for each of the C outputs.
        surrogate: another such module on the same device, for suites with transfer attacks.
        progress: called after every step.

    Raises:
        ValueError: a module is in training mode, or images, labels, classes and request do not fit together.
    """
    for name, module in (("model", model), ("surrogate", surrogate)):
        if module is not None and any(part.training for part in module.modules()):
            raise ValueError(f"{name} must be in eval mode; call its eval() first")
    device = next((tensor.device for _, tensor in _tensors(model)), torch.device("cpu"))
    audit = Audit(
        TorchTarget(model, classes=len(classes)),
        images,
        labels,
        request,
        classes=classes,
        model={"digest": module_digest(model)},
        environment={"torch": torch.__version__, "device": _name(device)},
        to_target=lambda array: torch.from_numpy(array).to(device),
        surrogate=None if surrogate is None else TorchTarget(surrogate, classes=len(classes)),
        surrogate_model=None if surrogate is None else {"digest": module_digest(surrogate)},
    )
    return perform(audit, progress=progress)


def module_digest(model: torch.nn.Module) -> str:
    """sha256 over the names, types, shapes and values of all weights and buffers; not over the code that uses them."""
    digest = hashlib.sha256()
    for name, tensor in _tensors(model):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _tensors(model: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return sorted((*model.named_parameters(), *model.named_buffers()), key=lambda named: named[0])


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
