"""Accuracy on clean images and under PGD, for choosing checkpoints and for a first look at the result.

An audit of the exported model is what counts (see `f2at.audit`); this is the same PGD on the same 8-bit grid.
"""

import numpy as np
import torch
from torch import Tensor

from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.white_box.pgd import pgd
from f2at.models import Classifier
from f2at.training.data import ImageSet

BATCH = 256  # up to 64 pixels; of larger images as many as have as many pixels
_PIXELS = BATCH * 64 * 64


def evaluate(
    model: Classifier,
    data: ImageSet,
    *,
    eps: float,
    steps: int,
    norm: str = "linf",
    step_size: float | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy on clean images and under PGD (one random start).

    Args:
        model: in eval mode, on the device of the images' batches to come.
        data: uint8 images and their labels.
        eps: in pixels of [0, 1].
        steps: of PGD; 0 skips it.
        norm: of the ball.
        step_size: of PGD, in pixels of [0, 1]; eps / 4 by default.

    Returns:
        {"clean": share, "robust": share}; without "robust" if it was skipped.
    """
    device = next(model.parameters()).device
    target = TorchTarget(model)
    rng = np.random.default_rng(seed)
    clean = robust = 0
    height, width = data.images.shape[2:]
    together = max(8, min(BATCH, _PIXELS // (height * width)))
    for pixels, targets in zip(data.images.split(together), data.labels.split(together), strict=True):
        images, labels = pixels.to(device).float() / 255, targets.to(device)
        right = _correct(target, images, labels)
        clean += int(right.sum())
        if steps and right.any():
            images, labels = images[right], labels[right]
            adversarial = pgd(
                target,
                images,
                labels,
                eps=eps,
                norm=norm,
                steps=steps,
                step_size=step_size or eps / 4,
                start="uniform",
                rng=rng,
            )
            robust += int(_correct(target, adversarial, labels).sum())
    total = len(data.labels)
    return {"clean": clean / total, **({"robust": robust / total} if steps else {})}


def _correct(target: TorchTarget, images: Tensor, labels: Tensor) -> Tensor:
    logits: Tensor = target.logits(images)
    return torch.argmax(logits, dim=1) == labels
