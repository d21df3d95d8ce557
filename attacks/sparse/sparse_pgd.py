"""Sparse-PGD, l0, Zhong et al. 2024, https://arxiv.org/abs/2405.05075."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import objective_weights
from f2at.attacks.sparse.arguments import check_pixels
from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_counts

_TINY = 1e-12
_FIRST_MASK = 2.0  # the largest entry of the mask at the start; a sigmoid is not flat there yet
_START_NOISE = 0.3  # of the mask, from the second pair of runs on


class _State(NamedTuple):
    """What is known of each standing sample: images (n, 3, H, W), masks (n, H, W) and numbers (n,)."""

    clean: Any
    labels: Any
    magnitude: Any  # what every pixel would change by, were it chosen: clean + magnitude lies in [0, 1]
    mask: Any  # how much each pixel is worth choosing; any real number
    chosen: Any  # bool: the largest of the mask
    waited: Any  # steps since the choice last changed
    gradient: Any
    best: Any
    best_loss: Any


def sparse_pgd(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    pixels: int,
    rng: np.random.Generator,
    steps: int = 50,
    restarts: int = 4,
    objective: str = "cross_entropy",
    step_size: float = 0.25,
    mask_step: float = 0.1,
    patience: int = 3,
) -> Any:
    """Ascent in two variables: what each pixel changes by (p), and which `pixels` pixels change (the mask m).

    The image is x + p on the pixels of the largest m. p takes steps of `step_size` along its gradient's sign and is
    clipped to [0, 1] - x; m takes steps of norm `mask_step` sqrt(HW) along its gradient, that of a choice softened to
    sigmoid(m). A mask whose choice stays the same for `patience` steps is drawn anew, from N(0, 1).

    Runs alternate between the paper's two gradients of p: the first keeps them for all pixels ("unprojected": colours
    of pixels that may be chosen later improve too), the second only for those chosen ("projected").

    In place of the paper's random start, p leads to the corner of the colour cube that the clean image's gradient
    points to, and m is what each pixel promises to gain there, which is the optimum of a linear model; from the third
    run on, m is perturbed.

    pixels: k, how many pixels may change; all of them, where the image has no more.
    restarts: how many runs there are.
    A sample leaves at its first misclassified image, the clean one included; one never broken returns its image of the
    largest objective. See `most_of_sparse_pgd` for the gradient evaluations that this takes; there are no others.
    """
    check_pixels(inputs, labels, pixels=pixels)
    check_counts(steps=steps, restarts=restarts, patience=patience)
    for name, size in {"step_size": step_size, "mask_step": mask_step}.items():
        if not 0 < size < math.inf:
            raise ValueError(f"{name} must be a positive number; got {size}")
    xp = array_namespace(inputs)

    def evaluate(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        weights = objective_weights(xp, objective, images.shape[0], device=device(images))
        logits, objectives, gradient = target.gradient(images, labels, labels, weights)
        return xp.sum(weights * objectives, axis=1), gradient, misclassified(logits, labels)

    survivors = Survivors(inputs)
    if len(survivors) == 0:
        return survivors.images
    loss, gradient, broken = evaluate(inputs, labels)
    best, best_loss, first, clean, labels = survivors.drop(broken, inputs, loss, gradient, inputs, labels)
    for restart in range(restarts):
        if len(survivors) == 0:
            return survivors.images
        noise = _START_NOISE if restart > 1 else 0.0
        state = _start(clean, labels, first, best, best_loss, pixels, noise, rng)
        for _ in range(steps):
            images = clean + xp.where(state.chosen[:, None, :, :], state.magnitude, 0.0)
            loss, gradient, broken = evaluate(images, labels)
            better = loss > state.best_loss
            state = state._replace(
                gradient=gradient,
                best=xp.where(better[:, None, None, None], images, state.best),
                best_loss=xp.where(better, loss, state.best_loss),
            )
            _, first, *rest = survivors.drop(broken, images, first, *state)
            state = _State(*rest)
            clean, labels = state.clean, state.labels
            if len(survivors) == 0:
                return survivors.images
            state = _step(state, pixels, step_size, mask_step, projected=restart % 2 == 1)
            state = _impatient(state, pixels, patience, rng)
        best, best_loss = state.best, state.best_loss
    survivors.keep(best)
    return survivors.images


def most_of_sparse_pgd(parameters: Mapping[str, Any]) -> int:
    """The most evaluations of one sample, all of them gradients: the clean image, and every step of every run."""
    return 1 + int(parameters["restarts"]) * int(parameters["steps"])


def largest(scores: Any, count: int) -> Any:
    """Which are the `count` largest scores of each image: (n, H, W) -> bool (n, H, W), as many even among equals."""
    xp = array_namespace(scores)
    flat = xp.reshape(scores, (scores.shape[0], -1))
    order = xp.argsort(flat, axis=1, descending=True)[:, :count]
    marked = xp.zeros(flat.shape, dtype=xp.bool, device=device(flat))
    marked[xp.arange(flat.shape[0], device=device(flat))[:, None], order] = True
    return xp.reshape(marked, scores.shape)


def _start(
    clean: Any,
    labels: Any,
    gradient: Any,
    best: Any,
    best_loss: Any,
    pixels: int,
    noise: float,
    rng: np.random.Generator,
) -> _State:
    """The colours that the clean image's gradient points to, and a mask of what they promise."""
    xp = array_namespace(clean)
    magnitude = xp.where(gradient > 0, 1 - clean, -clean)
    gain = xp.sum(gradient * magnitude, axis=1)
    mask = _FIRST_MASK * gain / (xp.max(gain, axis=(1, 2), keepdims=True) + _TINY)
    if noise:
        mask = mask + noise * as_draws(rng.standard_normal(mask.shape), clean)
    waited = xp.zeros(labels.shape, dtype=xp.int64, device=device(labels))
    return _State(clean, labels, magnitude, mask, largest(mask, pixels), waited, gradient, best, best_loss)


def _step(state: _State, pixels: int, step_size: float, mask_step: float, *, projected: bool) -> _State:
    """One step of the magnitude and of the mask."""
    xp = array_namespace(state.clean)
    height, width = state.mask.shape[1:]
    soft = 1 / (1 + xp.exp(-state.mask))
    uphill = xp.sum(state.gradient * state.magnitude, axis=1) * soft * (1 - soft)
    length = xp.sqrt(xp.sum(uphill * uphill, axis=(1, 2), keepdims=True))
    mask = state.mask + mask_step * math.sqrt(height * width) * uphill / (length + _TINY)
    # Where the unprojected gradient weighs pixels by sigmoid(m) > 0, its sign is the plain gradient's.
    gradient = xp.where(state.chosen[:, None, :, :], state.gradient, 0.0) if projected else state.gradient
    moved = state.magnitude + step_size * xp.sign(gradient)
    chosen = largest(mask, pixels)
    same = xp.all(chosen == state.chosen, axis=(1, 2))
    return state._replace(
        magnitude=xp.clip(moved, min=-state.clean, max=1 - state.clean),
        mask=mask,
        chosen=chosen,
        waited=xp.where(same, state.waited + 1, 0),
    )


def _impatient(state: _State, pixels: int, patience: int, rng: np.random.Generator) -> _State:
    """Draw the masks anew whose choice has stayed the same for `patience` steps."""
    xp = array_namespace(state.clean)
    stuck = state.waited >= patience
    if not bool(xp.any(stuck)):
        return state
    drawn = as_draws(rng.standard_normal(state.mask.shape), state.clean)
    mask = xp.where(stuck[:, None, None], drawn, state.mask)
    return state._replace(mask=mask, chosen=largest(mask, pixels), waited=xp.where(stuck, 0, state.waited))
