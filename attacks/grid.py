"""8-bit images in and out: the harness's side of the threat model, whatever an attack returns.

Distances are in levels, 255 times pixel units; radii are exact fractions in pixel units. As in `threat`, what an attack
found comes first and the clean images second.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks import threat
from f2at.images.pixels import LEVELS, Images, to_images, to_inputs


def clip_to_ball(adversarial: NDArray[Any], clean: Images, *, eps: Fraction, norm: str) -> NDArray[np.float64]:
    """The ball and the box: float64 (N, 3, H, W) no further than ``eps`` from ``clean``, in [0, 1].

    ``adversarial`` (N, 3, H, W) may be anything; a pixel that is not finite becomes the clean one.
    """
    centre = to_inputs(clean, np.float64)
    return np.asarray(threat.project(_finite(adversarial, centre), centre, eps=float(eps), norm=norm), np.float64)


def snap(adversarial: NDArray[Any], clean: Images, *, eps: Fraction, norm: str) -> Images:
    """The ball, the box and the grid: 8-bit images (N, H, W, 3) no further than ``eps`` from ``clean``.

    Rounded as a target that snaps rounds them, in the same precision: what fooled the model inside an attack's
    loop is the very image that is judged, unless that lies outside the ball.
    """
    images = to_images(np.clip(_finite(adversarial, to_inputs(clean)), 0, 1))
    outside = distances(images, clean, norm) > float(eps * LEVELS)
    if outside.any():
        inside = clip_to_ball(adversarial[outside], clean[outside], eps=eps, norm=norm)
        images[outside] = to_images(threat.snap(inside, to_inputs(clean[outside], np.float64), eps=eps, norm=norm))
    return images


def _finite(adversarial: NDArray[Any], centre: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.isfinite(adversarial), adversarial, centre)


def distances(images: Images, clean: Images, norm: str) -> NDArray[np.float64]:
    """Distance of each image from its clean one, in levels: (N,), whole numbers for linf and l1."""
    change = np.abs(images.astype(np.int64) - clean.astype(np.int64))
    pixels = (1, 2, 3)
    if norm == "linf":
        size = change.max(axis=pixels, initial=0)
    else:
        size = change.sum(axis=pixels) if norm == "l1" else np.sqrt((change**2).sum(axis=pixels))
    return np.asarray(size, dtype=np.float64)
