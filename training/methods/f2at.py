"""F2AT: feature-focusing adversarial training (Qian et al.), Algorithm 1 and Eq. 20."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from attacks.bitplanes import natural_pattern, perturbed_pattern
from models import Classifier
from training.losses import ESTIMATORS, MARGIN_SCOPES, natural_margin_loss, pattern_dependent_loss
from training.methods.base import Method, option


@dataclass(frozen=True, kw_only=True)
class F2AT(Method):
    """L_all = CE(h(x'), y) + alpha L_pd + gamma L_mg, on the bit-plane patterns of x'.

    alpha = gamma = 0 is SAT. The paper's ablations are `natural = "clean"` with alpha = 0 (i), gamma = 0 (ii) and
    alpha = 0 (iii).
    """

    name: ClassVar[str] = "f2at"

    alpha: float = option(0.1, "weight of the pattern-dependent loss L_pd (Eq. 16)")
    gamma: float = option(1.0, "weight of the natural-margin loss L_mg (Eq. 19)")
    tau: float = option(0.07, "temperature of L_pd")
    upsilon: float = option(0.995, "v of L_mg")
    planes: int = option(2, "K: bit-planes of the natural pattern, 1 to 8; the perturbed pattern has the other 8 - K")
    estimator: str = option("cosine", f"what stands for the mutual information: {', '.join(ESTIMATORS)}")
    scope: str = option("all", f"classes in L_mg: {', '.join(MARGIN_SCOPES)}; others is Eq. 19 as printed, hard Eq. 18")
    natural: str = option("pattern", "pattern, or clean: the clean image in place of X_nat (ablation (i))")
    pattern_statistics: bool = option(False, "let the patterns move BatchNorm's running statistics")

    def __post_init__(self) -> None:
        for name in ("alpha", "gamma"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more; got {getattr(self, name)}")
        for name in ("tau", "upsilon"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")
        if not 1 <= self.planes <= 8:
            raise ValueError(f"planes must be from 1 to 8; got {self.planes}")
        for name, accepted in (
            ("estimator", tuple(ESTIMATORS)),
            ("scope", MARGIN_SCOPES),
            ("natural", ("pattern", "clean")),
        ):
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} must be one of {', '.join(accepted)}; got {getattr(self, name)!r}")
        if self.natural == "clean" and self.alpha:
            raise ValueError('natural = "clean" has no patterns for L_pd: alpha must be 0')

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Eq. 20 and its terms; `logit_norm` is the mean length of h(X_nat), an early sign of divergence."""
        features = model.features(adversarial)
        cross_entropy = functional.cross_entropy(model.head(features).float(), labels)
        terms = {"cross_entropy": cross_entropy}
        loss = cross_entropy
        if self.alpha or self.gamma:
            natural, perturbed = slice_patterns(adversarial, self.planes)
            if self.natural == "clean":
                natural = images
            with running_statistics(model, update=self.pattern_statistics):
                natural_features = model.features(natural)
                perturbed_features = model.features(perturbed) if self.alpha else None
            if self.gamma:
                logits = model.head(natural_features).float()
                terms["natural_margin"] = natural_margin_loss(logits, labels, upsilon=self.upsilon, scope=self.scope)
                terms["logit_norm"] = logits.detach().norm(dim=1).mean()
                loss = loss + self.gamma * terms["natural_margin"]
            if perturbed_features is not None:
                terms["pattern_dependent"] = pattern_dependent_loss(
                    natural_features.float(),
                    perturbed_features.float(),
                    features.float(),
                    tau=self.tau,
                    estimator=ESTIMATORS[self.estimator],
                )
                loss = loss + self.alpha * terms["pattern_dependent"]
        return {"loss": loss, **terms}


def slice_patterns(images: Tensor, planes: int) -> tuple[Tensor, Tensor]:
    """X_nat and X_pert of images in [0, 1] (Section IV-B), as constants in [0, 1]; they sum to the 8-bit image."""
    pixels = (images.detach().float() * 255).round().clamp(0, 255).to(torch.uint8)
    natural = natural_pattern(pixels, planes=planes)
    perturbed = perturbed_pattern(pixels, planes=planes)
    return natural.float() / 255, perturbed.float() / 255


@contextmanager
def running_statistics(model: nn.Module, *, update: bool) -> Iterator[None]:
    """Inside, BatchNorm in train mode normalises with its batch, and moves its running statistics only if `update`.

    Patterns are far off the data's distribution: their statistics would spoil the model in eval mode.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = layer.momentum if update else 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
