"""F2AT: feature-focusing adversarial training (Qian et al.), Algorithm 1 and Eq. 20."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from f2at.images.bitplanes import natural_pattern, perturbed_pattern
from f2at.models import Classifier
from f2at.training.methods.base import CrossEntropyMethod, option
from f2at.training.methods.donsker_varadhan import load_critics
from f2at.training.methods.losses import MARGIN_SCOPES, cosine_dependence, natural_margin_loss, pattern_dependent_loss
from f2at.training.weights.batch_norm import running_statistics

ESTIMATORS = ("cosine", "donsker-varadhan")


@dataclass(frozen=True, kw_only=True)
class F2AT(CrossEntropyMethod):
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
    critic: str = option("", "donsker-varadhan: the file that `f2at critic` wrote")
    scope: str = option("all", f"classes in L_mg: {', '.join(MARGIN_SCOPES)}; others is Eq. 19 as printed, hard Eq. 18")
    natural: str = option("pattern", "pattern, or clean: the clean image in place of X_nat (ablation (i))")
    warmup: int = option(0, "epochs over which alpha rises from 0")
    pattern_statistics: bool = option(False, "let the patterns move BatchNorm's running statistics")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "gamma"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more; got {getattr(self, name)}")
        for name in ("tau", "upsilon"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")
        if self.warmup < 0:
            raise ValueError(f"warmup must be 0 or more epochs; got {self.warmup}")
        if not 1 <= self.planes <= 8:
            raise ValueError(f"planes must be from 1 to 8; got {self.planes}")
        for name, accepted in (
            ("estimator", ESTIMATORS),
            ("scope", MARGIN_SCOPES),
            ("natural", ("pattern", "clean")),
        ):
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} must be one of {', '.join(accepted)}; got {getattr(self, name)!r}")
        if self.natural == "clean" and self.alpha:
            raise ValueError('natural = "clean" has no patterns for L_pd: alpha must be 0')
        if (self.estimator == "donsker-varadhan") != bool(self.critic):
            raise ValueError(
                "critic must be given with estimator = donsker-varadhan, and only then: the file that "
                f"`f2at critic` wrote; got estimator {self.estimator!r}, critic {self.critic!r}"
            )

    @property
    def passes(self) -> int:
        """Adversarial images and, where a term needs them, the features of either pattern."""
        natural = self.gamma > 0 or self.alpha > 0
        perturbed = self.alpha > 0 and not self.critic
        return 3 * (1 + natural + perturbed)

    def at(self, epoch: int) -> "F2AT":
        """With the epoch's alpha."""
        return self if epoch >= self.warmup else replace(self, alpha=self.alpha * epoch / self.warmup)

    def check(self, model: Classifier) -> None:
        """Load the critics, if any, and check that they were trained for these classes and this K."""
        if self.critic:
            critics = load_critics(self.critic, next(model.parameters()).device)
            found, wanted = (critics.classes, critics.planes), (model.head.out_features, self.planes)
            if found != wanted:
                raise ValueError(
                    f"method.critic {self.critic} was trained for {found[0]} classes and planes {found[1]}; "
                    f"this run has {wanted[0]} and {wanted[1]}"
                )

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Eq. 20 and its terms; `logit_norm` is the mean length of h(X_nat), an early sign of divergence."""
        features = model.features(adversarial)
        logits = model.head(features).float()
        terms = {"cross_entropy": self.cross_entropy(logits, labels)}
        loss = terms["cross_entropy"]
        if self.alpha or self.gamma:
            natural, perturbed = slice_patterns(adversarial, self.planes)
            if self.natural == "clean":
                natural = images
            with running_statistics(model, update=self.pattern_statistics):
                natural_features = model.features(natural)
                perturbed_features = model.features(perturbed) if self.alpha and not self.critic else None
            if self.gamma:
                natural_logits = model.head(natural_features).float()
                terms["natural_margin"] = natural_margin_loss(
                    natural_logits, labels, upsilon=self.upsilon, scope=self.scope
                )
                terms["logit_norm"] = natural_logits.detach().norm(dim=1).mean()
                loss = loss + self.gamma * terms["natural_margin"]
            if self.alpha:
                if perturbed_features is None:
                    critics = load_critics(self.critic, images.device)
                    dependence = [critics.natural(natural, logits), critics.perturbed(perturbed, logits)]
                else:
                    patterns = (natural_features.float(), perturbed_features.float())
                    dependence = [cosine_dependence(pattern, features.float()) for pattern in patterns]
                terms["pattern_dependent"] = pattern_dependent_loss(*dependence, tau=self.tau)
                loss = loss + self.alpha * terms["pattern_dependent"]
        return {"loss": loss, **terms}


def slice_patterns(images: Tensor, planes: int) -> tuple[Tensor, Tensor]:
    """X_nat and X_pert of images in [0, 1] (Section IV-B), as constants in [0, 1]; they sum to the 8-bit image."""
    pixels = (images.detach().float() * 255).round().clamp(0, 255).to(torch.uint8)
    natural = natural_pattern(pixels, planes=planes)
    perturbed = perturbed_pattern(pixels, planes=planes)
    return natural.float() / 255, perturbed.float() / 255
