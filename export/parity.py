"""The proof, made at every export, that the two graphs compute what the PyTorch model computes."""

import copy
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from torch import Tensor, nn

from f2at.attacks.objectives import OBJECTIVES, objectives
from f2at.bundle.runtime import create_session

TOLERANCE = 1e-4  # relative; float32 leaves about 1e-6
_SAMPLES = 16
_STEP = 8 / 255  # of the adversarial examples
_NUDGE = 1e-6  # pixel units: a few roundings of float32, 1/4000 of a grey level
_NUDGES = 64  # at most; a jump that is near is met by every second or so
_COSINE = 0.999  # between a gradient and autograd's where the latter jumps, at the least
_PLACES = 8  # near a sample that is beyond the tolerance
_DEVIATING = 1  # of these places may be at a kink as well
_NEARBY = 0.5 / 255  # of each pixel, at most
_PIXELS = 16 * 64 * 64  # of all images together, at about which there are fewer: autograd takes memory
_NEGLIGIBLE = 1e-12  # gradient norm under which a relative error means nothing

Array = NDArray[Any]


class ParityError(ValueError):
    """The exported graphs do not compute what the model does."""


@dataclass(frozen=True)
class _Batch:
    """What the gradient graph is asked, and what autograd says of it."""

    images: Tensor
    labels: Tensor
    targets: Tensor
    objective: int

    def moved(self, change: Tensor) -> "_Batch":
        """The same with other images."""
        return replace(self, images=self.images + change)

    def only(self, chosen: Tensor) -> "_Batch":
        """Those samples that a mask, bool (N,), chooses."""
        parts = {name: getattr(self, name)[chosen] for name in ("images", "labels", "targets")}
        return replace(self, **parts)

    def autograd(self, model: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N,C), objectives (N,J) and the gradient (N,3,H,W) of one of them."""
        images = self.images.clone().requires_grad_()
        logits = model(images)
        values = objectives(logits, self.labels, self.targets)
        (gradient,) = torch.autograd.grad(values[:, self.objective].sum(), images)
        return logits.detach(), values.detach(), gradient

    def feed(self, chosen: slice) -> dict[str, Array]:
        """The inputs of gradient.onnx for some of the samples."""
        weights = np.zeros((len(self.images[chosen]), len(OBJECTIVES)), np.float32)
        weights[:, self.objective] = 1
        return {
            "images": self.images[chosen].numpy(),
            "labels": self.labels[chosen].numpy(),
            "targets": self.targets[chosen].numpy(),
            "weights": weights,
        }


def check_parity(
    model: nn.Module,
    classifier: bytes,
    gradient: bytes,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> dict[str, Any]:
    """Compare both graphs with the model they were exported from, on clean and on adversarial images.

    The model is the original, in float32 and eval mode: normalisation layers are not folded in it. Each graph
    runs on a whole batch and on a batch of one; the gradient graph once for each objective.

    The errors are ||found - expected|| / ||expected|| of each sample; the largest counts. A gradient jumps where an
    activation crosses zero, and two correct float32 computations may fall on different sides. So a sample beyond the
    tolerance is excused, as a "kink", in either of two cases, and counted:

    - It points where autograd's does, up to a cosine of 0.999, and autograd's own gradient moves by half as much within
      1e-6 of the image, where up to 64 places are tried, or from float32 to float64. In deep networks every image is
      such a place, and each kink weighs little.
    - The two agree within the tolerance at 7 of 8 places that are up to half a grey level away. In small networks few
      images are at a kink, and each may weigh much.

    Args:
        model: images float32 (N,3,H,W) in [0,1] -> logits (N,C).
        classifier: serialised classifier graph.
        gradient: serialised gradient graph.
        images: uint8 (N,H,W,3); 16 of them are used, evenly spread, and fewer above 64 pixels.
        labels: int64 (N,).

    Returns:
        The result, JSON-able, for the manifest.

    Raises:
        ParityError: what differs, by how much, and the limit.
    """
    model = model.eval()
    samples = min(_SAMPLES, max(2, _PIXELS // (images.shape[1] * images.shape[2])))
    chosen = np.unique(np.linspace(0, len(images) - 1, samples).astype(int))
    clean = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).contiguous().float() / 255
    truth = torch.from_numpy(labels[chosen])
    *_, ascent = _Batch(clean, truth, truth, OBJECTIVES.index("cross_entropy")).autograd(model)
    adversarial = ((clean + _STEP * ascent.sign()).clamp(0, 1) * 255).round() / 255
    inputs = torch.cat([clean, adversarial])
    truth = truth.repeat(2)

    with torch.no_grad():
        expected = model(inputs)
    targets = (truth + 1) % expected.shape[1]
    result: dict[str, Any] = {"tolerance": TOLERANCE, "samples": len(inputs)}
    result["logits"] = _check_classifier(classifier, inputs, expected)
    result["gradient"] = {
        name: _check_gradient(model, gradient, name, _Batch(inputs, truth, targets, index))
        for index, name in enumerate(OBJECTIVES)
    }
    return result


def _check_classifier(classifier: bytes, inputs: Tensor, expected: Tensor) -> dict[str, float]:
    session = create_session(classifier, providers=["CPUExecutionProvider"])
    pixels = (inputs * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    (found,) = session.run(None, {"images": pixels})
    (single,) = session.run(None, {"images": pixels[:1]})
    error = max(_compare("logits", found, expected), _compare("logits", single, expected[:1]))
    if not np.array_equal(found.argmax(1), expected.argmax(1).numpy()):
        raise ParityError("classifier.onnx predicts other labels than the model")
    return {"error": error}


def _check_gradient(model: nn.Module, graph: bytes, name: str, batch: _Batch) -> dict[str, float]:
    session = create_session(graph, providers=["CPUExecutionProvider"])
    logits, values, expected = batch.autograd(model)
    errors, cosines = torch.zeros(len(expected)), torch.ones(len(expected))
    for part in (slice(None), slice(1)):
        found = session.run(["logits", "objectives", "gradient"], batch.feed(part))
        _compare("logits of gradient.onnx", found[0], logits[part])
        _compare("objectives", found[1], values[part])
        _check_form("gradient", found[2], expected[part])
        gradient = torch.from_numpy(found[2])
        errors[part] = torch.maximum(errors[part], _relative_error(gradient, expected[part]))
        cosines[part] = torch.minimum(cosines[part], _cosine(gradient, expected[part]))

    smooth = errors <= TOLERANCE  # false for NaN too
    excused = smooth.clone()
    if not excused.all():
        excused |= (cosines >= _COSINE) & _jumps(model, batch, expected, errors)
    if not excused.all():
        excused[~excused] = _agrees_nearby(model, session, batch.only(~excused))
    if not excused.all():
        raise ParityError(_difference(f"gradient of {name} differs from autograd's", float(errors[~excused].max())))
    return {
        "error": float(errors[smooth].max()) if smooth.any() else 0.0,
        "kinks": int((~smooth).sum()),
        "cosine": round(float(cosines.min()), 6),
    }


def _jumps(model: nn.Module, batch: _Batch, expected: Tensor, errors: Tensor) -> Tensor:
    """Whether rounding errors move autograd's own gradient by half of each error: bool (N,)."""
    explained = errors <= TOLERANCE
    with suppress(RuntimeError):  # of a model that asks for float32 somewhere
        # Where logits are nearly equal, float32 itself is off.
        exact = replace(batch, images=batch.images.double()).autograd(copy.deepcopy(model).double())[2]
        explained |= errors <= 2 * _relative_error(exact, expected)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_NUDGES):
        if explained.all():
            break
        nudge = _NUDGE * torch.randn(batch.images.shape, generator=generator)
        explained |= errors <= 2 * _relative_error(batch.moved(nudge).autograd(model)[2], expected)
    return explained


def _agrees_nearby(model: nn.Module, session: InferenceSession, batch: _Batch) -> Tensor:
    """Whether the graph and autograd agree at most places around each image: bool (N,)."""
    generator = torch.Generator().manual_seed(0)
    deviating = torch.zeros(len(batch.images), dtype=torch.int64)
    for _ in range(_PLACES):
        place = batch.moved(_NEARBY * (2 * torch.rand(batch.images.shape, generator=generator) - 1))
        (found,) = session.run(["gradient"], place.feed(slice(None)))
        error = _relative_error(torch.from_numpy(found), place.autograd(model)[2])
        deviating += ~(error <= TOLERANCE)
    return deviating <= _DEVIATING


def _compare(what: str, found: Array, expected: Tensor) -> float:
    _check_form(what, found, expected)
    error = float(_relative_error(torch.from_numpy(found), expected).max())
    if not error <= TOLERANCE:
        raise ParityError(_difference(f"{what} differ from the model's", error))
    return error


def _check_form(what: str, found: Array, expected: Tensor) -> None:
    if found.dtype != np.float32 or found.shape != tuple(expected.shape):
        raise ParityError(f"the {what} must be float32 {tuple(expected.shape)}; got {found.dtype} {found.shape}")


def _difference(what: str, error: float) -> str:
    return f"the {what}: relative error {error:.2g}, limit {TOLERANCE:.0e}"


def _relative_error(found: Tensor, expected: Tensor) -> Tensor:
    """||found - expected|| / ||expected|| of each sample: (N, ...) -> (N,)."""
    error = torch.linalg.vector_norm((found - expected).flatten(1), dim=1)
    size = torch.linalg.vector_norm(expected.flatten(1), dim=1).clamp(min=_NEGLIGIBLE)
    return torch.div(error, size)


def _cosine(found: Tensor, expected: Tensor) -> Tensor:
    """Of each sample: (N, ...) -> (N,); 1 where there is no gradient."""
    a, b = found.flatten(1).double(), expected.flatten(1).double()
    sizes = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return torch.where(sizes > _NEGLIGIBLE**2, (a * b).sum(1) / sizes.clamp(min=_NEGLIGIBLE**2), 1.0).float()
