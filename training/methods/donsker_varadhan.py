"""A learned estimate of mutual information, after Zhou et al., ICML 2022, https://arxiv.org/abs/2207.12203.

Donsker and Varadhan bound I(X; Z) from below by E_joint[T] - log E_product[exp T] for any critic T, and a good critic
makes it tight. As Zhou et al. do, T is local (one score for each place of the image), it sees the pattern as an image
and the response as logits, natural and perturbed patterns have a critic each, and both are trained on a frozen model
(`f2at critic`) and then frozen. Logits, not features: an axis of feature space means nothing to the
next model, a class does.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from f2at.models.checkpoint import load_tensors, save_tensors
from f2at.training.methods.losses import donsker_varadhan

FORMAT = "f2at-critic/1"
WIDTH = 64  # of the space in which patterns and responses are compared


class Critic(nn.Module):
    """T(pattern, response): a small convolutional net and a small perceptron, compared by their inner product.

    Args:
        classes: C, the length of a response.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.local = nn.Sequential(
            nn.BatchNorm2d(3),  # perturbed patterns are a quarter as bright as images
            nn.Conv2d(3, WIDTH, 4, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 4, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 1),
        )
        self.response = nn.Sequential(nn.Linear(classes, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, patterns: Tensor, logits: Tensor) -> Tensor:
        """Patterns (N, 3, H, W) in [0, 1] and logits (N, C) to (N, N); entry (j, i) estimates I(pattern_j; response_i).

        The mean of the diagonal is the Donsker-Varadhan bound.
        """
        places = self.local(patterns).flatten(2)  # (N, U, L)
        scores = torch.einsum("jul,iu->jil", places, self.response(logits)) / WIDTH**0.5
        return donsker_varadhan(scores.float())


class Critics(nn.Module):
    """One critic for natural patterns and one for perturbed ones.

    Args:
        classes: C, the number of classes of the models that they judge.
        planes: K, the bit-planes of the natural pattern.
    """

    def __init__(self, classes: int, planes: int) -> None:
        super().__init__()
        self.classes = classes
        self.planes = planes
        self.natural = Critic(classes)
        self.perturbed = Critic(classes)


def save_critics(path: Path, critics: Critics, **facts: Any) -> None:
    """Write the critics and what is known of them to one safetensors file."""
    description = {"format": FORMAT, "classes": critics.classes, "planes": critics.planes, **facts}
    save_tensors(path, critics.state_dict(), description)


@lru_cache(maxsize=1)  # a method is asked for its loss at every step
def load_critics(path: str, device: torch.device) -> Critics:
    """Read what `save_critics` wrote, frozen and in eval mode.

    Raises:
        ValueError: no such file, or not one that `save_critics` wrote.
    """
    tensors, description = load_tensors(Path(path))
    if description.get("format") != FORMAT:
        raise ValueError(f"{path} has format {description.get('format')!r}; this version reads {FORMAT!r}")
    critics = Critics(description["classes"], description["planes"])
    critics.load_state_dict(tensors)
    return critics.requires_grad_(requires_grad=False).eval().to(device)
