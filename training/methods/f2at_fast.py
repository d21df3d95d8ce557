"""F2AT at about the price of single-step training: the natural pattern's forward pass is the attack's first one.

Ours, not the paper's: docs/paper.md says what it keeps of F2AT and what not.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from f2at.images.bitplanes import natural_pattern
from f2at.models import Classifier
from f2at.training.methods.base import CrossEntropyMethod, SharedPass, option
from f2at.training.methods.losses import natural_margin_loss
from f2at.training.weights.batch_norm import running_statistics


@dataclass(frozen=True, kw_only=True)
class FastF2AT(CrossEntropyMethod):
    """CE(h(x'), y) + gamma L_mg(X_nat), with X_nat the natural pattern of the attack's noisy starting point.

    F2AT slices x', which is known only after the attack, and so pays for batches of its own. Here the pattern is taken
    before: one pass over it gives L_mg (Eq. 19 over all classes), its gradient for the weights, and the direction of
    the attack's first step, straight through the slicing. Any further step of the attack is taken on images.
    """

    name: ClassVar[str] = "f2at-fast"

    gamma: float = option(0.25, "weight of the natural-margin loss L_mg (Eq. 19)")
    upsilon: float = option(0.995, "v of L_mg")
    planes: int = option(4, "K: bit-planes of the natural pattern, 1 to 8")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma < 0:
            raise ValueError(f"gamma must be 0 or more; got {self.gamma}")
        if self.upsilon <= 0:
            raise ValueError(f"upsilon must be above 0; got {self.upsilon}")
        if not 1 <= self.planes <= 8:
            raise ValueError(f"planes must be from 1 to 8; got {self.planes}")

    @property
    def shared_passes(self) -> int:
        """The gradient for the weights; what the pass costs besides is the attack's first step."""
        return int(self.gamma > 0)

    def share(self, model: Classifier, start: Tensor, labels: Tensor) -> SharedPass:
        """The margin term on the natural pattern of `start` (N, 3, H, W), in the model's present (train) mode.

        BatchNorm's running statistics do not move: patterns are off the data's distribution.
        """
        pattern = centred_pattern(start, self.planes).requires_grad_()
        with running_statistics(model, update=False):
            logits = model(pattern).float()
        margin = natural_margin_loss(logits, labels, upsilon=self.upsilon)
        terms = {"natural_margin": margin.detach()}
        if not self.gamma:
            (direction,) = torch.autograd.grad(margin, pattern)
            return SharedPass(direction, torch.zeros_like(margin), terms)
        parameters = list(model.parameters())
        weighted = self.gamma * margin
        direction, *gradients = torch.autograd.grad(weighted, [pattern, *parameters])
        return SharedPass(direction, _Known.apply(weighted.detach(), gradients, *parameters), terms)

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """CE(h(x'), y); the margin term was dealt with in `share`."""
        loss = self.cross_entropy(model(adversarial), labels)
        return {"loss": loss, "cross_entropy": loss.detach()}


def centred_pattern(images: Tensor, planes: int) -> Tensor:
    """The top K bit-planes of images in [0, 1], plus half of what the others can add: as bright on average."""
    pixels = (images.detach().float() * 255).round().clamp(0, 255).to(torch.uint8)
    middle = ((1 << (8 - planes)) - 1) / 2
    return (natural_pattern(pixels, planes=planes).float() + middle) / 255


class _Known(torch.autograd.Function):
    """A scalar function of the parameters whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:  # noqa: ARG004
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = upstream
        return None, None, *(gradient * scale for gradient in ctx.gradients)
