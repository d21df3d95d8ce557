"""Bookkeeping of minimum-norm attacks: the nearest adversarial image of each sample."""

import math
from typing import Any

from array_api_compat import array_namespace, device

from f2at.attacks.threat import norms, project


class Nearest:
    """The nearest adversarial image found so far of each sample of a batch.

    `images` (N, 3, H, W) starts as the clean batch, `distances` (N,) as inf. A sample with an adversarial image
    within `enough` of its input needs no nearer one; with `enough` 0 the search never ends early.
    """

    def __init__(self, inputs: Any, *, norm: str, enough: float) -> None:
        xp = array_namespace(inputs)
        self.inputs, self.norm, self.enough = inputs, norm, enough
        self.images = xp.asarray(inputs, copy=True)
        self.distances = xp.full(inputs.shape[:1], math.inf, dtype=inputs.dtype, device=device(inputs))

    @property
    def index(self) -> Any:
        """The samples that still need a nearer image, (n,)."""
        (index,) = array_namespace(self.distances).nonzero(self.distances > self.enough)
        return index

    def record(self, index: Any, current: Any, adversarial: Any) -> Any:
        """Keep those of `current` (n, 3, H, W), images of the samples `index` (n,), that are adversarial and nearer.

        Returns which of these samples still need a nearer image: bool (n,).
        """
        distances = norms(current - self.inputs[index], self.norm)
        nearer = adversarial & (distances < self.distances[index])
        self.images[index[nearer]] = current[nearer]
        self.distances[index[nearer]] = distances[nearer]
        return self.distances[index] > self.enough

    def within(self, eps: float) -> Any:
        """The images, those beyond eps (N, 3, H, W) moved into the ball."""
        return project(self.images, self.inputs, eps=eps, norm=self.norm)
