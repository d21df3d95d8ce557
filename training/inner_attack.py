"""The inner attack of adversarial training: from clean images to the x' that the loss is taken on.

Its random start is drawn on the device, by torch, so that a step never waits for the host or the host for it.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from f2at.attacks.objectives import objective_weights
from f2at.attacks.target import Evaluation, Target
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import norms, project, step
from f2at.attacks.white_box.pgd import GAUSSIAN_SCALE, pgd
from f2at.training.configuration.options import AttackConfig


class KLTarget(TorchTarget):
    """A target whose one objective is KL(p(clean) || p(x)), as TRADES' inner attack maximises.

    It holds the clean distribution of one batch, so its inputs must be that batch, in that order.
    """

    def __init__(self, model: nn.Module, clean: Tensor) -> None:
        super().__init__(model, snap=False)
        self.clean = functional.softmax(self.logits(clean), dim=1)

    def gradient(self, inputs: Tensor, labels: Tensor, targets: Tensor, weights: Tensor) -> Evaluation:  # noqa: ARG002
        """Logits (N, C), the divergence (N, 1), and its gradient; labels, targets and weights are not looked at."""
        with torch.enable_grad():
            images = inputs.detach().clone().requires_grad_()
            logits = self.model(images).float()
            divergence = functional.kl_div(functional.log_softmax(logits, dim=1), self.clean, reduction="none").sum(1)
            (gradient,) = torch.autograd.grad(divergence.sum(), images)
        return Evaluation(logits.detach(), divergence.detach()[:, None], gradient)


def draw_noise(attack: AttackConfig, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """What the attack adds to images of this shape before its first step, on the generator's device.

    0.001 N(0, 1) for PGD's "gaussian" start, uniform in the ball for its "uniform" one, and uniform in
    [-eps, eps] fgsm_noise for N-FGSM.
    """
    if attack.kind == "pgd" and attack.start == "gaussian":
        return GAUSSIAN_SCALE * torch.randn(*shape, generator=generator, device=generator.device)
    if attack.norm != "linf":  # and so PGD's "uniform" start
        return _in_ball(shape, generator, eps=float(attack.eps), norm=attack.norm)
    reach = float(attack.eps) * (attack.fgsm_noise if attack.kind == "n-fgsm" else 1)
    return reach * (2 * torch.rand(*shape, generator=generator, device=generator.device) - 1)


def _in_ball(shape: Sequence[int], generator: torch.Generator, *, eps: float, norm: str) -> Tensor:
    """Uniform in the ball of l2 or l1: a normal or a Laplace vector has every direction alike."""
    draws = torch.randn(*shape, generator=generator, device=generator.device)
    if norm == "l1":
        size = torch.rand(*shape, generator=generator, device=generator.device)
        draws = draws.sign() * -torch.log1p(-size)
    radius = torch.rand(shape[0], generator=generator, device=generator.device) ** (1 / math.prod(shape[1:]))
    noise: Tensor = draws * (eps * radius / norms(draws, norm))[:, None, None, None]
    return noise


def find_adversarial(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attack: AttackConfig,
    noise: Tensor,
    autocast: AbstractContextManager[None],
    *,
    inner: str = "cross_entropy",
    first: Tensor | None = None,
) -> Tensor:
    """x' of clean images, with BatchNorm in eval mode; the model's mode is left as it was.

    Args:
        model: attacked as it stands.
        images: (N, 3, H, W) in [0, 1].
        labels: (N,).
        attack: what to run; "none" returns the images.
        noise: of `draw_noise`, (N, 3, H, W).
        autocast: the precision of the model's forward passes.
        inner: the method's objective, where the attack's objective is "method".
        first: the gradient of the first step, (N, 3, H, W), where it is known already.

    Returns:
        (N, 3, H, W) in [0, 1], detached.
    """
    if attack.kind == "none":
        return images
    objective = inner if attack.objective == "method" else attack.objective
    eps = float(attack.eps)
    start, steps = begin(images, noise, attack), attack.steps if attack.kind == "pgd" else 1
    if first is not None:
        start, steps = _step(start, first, images, attack), steps - 1
        if steps == 0:
            return start
    training = model.training
    model.eval()
    with autocast:
        target = KLTarget(model, images) if objective == "kl" else TorchTarget(model, snap=False)
        picked = "cross_entropy" if objective == "kl" else objective  # a KLTarget has its own
        if attack.kind == "n-fgsm":
            adversarial = n_fgsm(target, start, labels, step_size=eps * attack.fgsm_step, objective=picked)
        else:
            adversarial = pgd(
                target,
                images,
                labels,
                start,
                eps=eps,
                norm=attack.norm,
                steps=steps,
                step_size=float(attack.step_size),
                objective=picked,
                stop_at_success=False,
                rng=np.random.default_rng(0),  # nothing is drawn from it
            )
    model.train(training)
    return adversarial.detach()


def begin(images: Tensor, noise: Tensor, attack: AttackConfig) -> Tensor:
    """Where the attack starts: the noisy images in [0, 1], brought back to the ball unless it is N-FGSM."""
    if attack.kind == "n-fgsm":
        return (images + noise).clamp(0, 1)
    start: Tensor = project(images + noise, images, eps=float(attack.eps), norm=attack.norm)
    return start


def _step(current: Tensor, gradient: Tensor, images: Tensor, attack: AttackConfig) -> Tensor:
    """One step of the attack along a gradient that is known."""
    if attack.kind == "n-fgsm":
        return (current + float(attack.eps) * attack.fgsm_step * gradient.sign()).clamp(0, 1)
    moved = step(current, gradient, size=float(attack.step_size), norm=attack.norm)
    projected: Tensor = project(moved, images, eps=float(attack.eps), norm=attack.norm)
    return projected


def n_fgsm(
    target: Target, noisy: Tensor, labels: Tensor, *, step_size: float, objective: str = "cross_entropy"
) -> Tensor:
    """N-FGSM, de Jorge et al., NeurIPS 2022, https://arxiv.org/abs/2202.01181: one step from a noisy image.

    `step_size` along the sign of the gradient at `noisy` (N, 3, H, W). The result stays in [0, 1] but is not brought
    back to the ball around the clean image, which is what keeps single-step training from collapsing.
    """
    weights = objective_weights(torch, objective, len(noisy), device=noisy.device)
    gradient: Tensor = target.gradient(noisy, labels, labels, weights).gradient
    adversarial: Tensor = (noisy + step_size * gradient.sign()).clamp(0, 1)
    return adversarial
