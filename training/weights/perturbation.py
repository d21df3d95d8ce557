"""Adversarial weight perturbation (Wu, Xia and Wang, NeurIPS 2020, https://arxiv.org/abs/2004.05884)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_TINY = 1e-20


@contextmanager
def weight_perturbation(model: nn.Module, gamma: float) -> Iterator[None]:
    """Inside, each weight w of two or more dimensions stands at w + gamma |w| g / |g|, where g is its `.grad`.

    Biases and BatchNorm's parameters stay. A step taken inside (weight decay included) is kept: on leaving, only the
    perturbation is subtracted, as in the authors' code.

    Args:
        model: after a backward pass of the loss to be raised.
        gamma: size of the perturbation relative to each weight's norm.
    """
    with torch.no_grad():
        perturbations = [
            (weight, weight.grad * (gamma * weight.norm() / (weight.grad.norm() + _TINY)))
            for weight in model.parameters()
            if weight.ndim > 1 and weight.grad is not None
        ]
        for weight, perturbation in perturbations:
            weight.add_(perturbation)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, perturbation in perturbations:
                weight.sub_(perturbation)
