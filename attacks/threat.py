"""The threat model: a ball of radius eps (norm "linf", "l2" or "l1", in pixel units) inside the box [0, 1].

The l1 and l2 norms are over all values of an image, all channels.
Images are (N, 3, H, W), numpy or torch. An image on the uint8 grid has 255 x integer in every pixel.
"""

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks import l1
from f2at.images.pixels import LEVELS

NORMS = ("linf", "l2", "l1")

_FRACTION = re.compile(r"[0-9]{1,9}(/[0-9]{1,9}|\.[0-9]{1,20})?|\.[0-9]{1,20}")
_ROUNDED = 12  # digits behind the point from which on a decimal is taken for a fraction that was computed
_LARGEST_DENOMINATOR = 100_000
_TINY = 1e-12


def parse_eps(eps: str | float | Fraction, norm: str) -> Fraction:
    """The exact radius that `eps` states: "8/255", "0.031", 0.5 or a Fraction.

    A decimal of many digits, such as the float 8/255, is the fraction that it was rounded from: the number just below
    it would lose a level when it is cut to whole ones.
    """
    text = str(eps).strip()
    if not isinstance(eps, Fraction) and not _FRACTION.fullmatch(text):
        raise ValueError(f"eps must be a fraction such as '8/255' or a decimal such as '0.5'; got {text[:40]!r}")
    try:
        exact = Fraction(text)
    except ZeroDivisionError:
        raise ValueError(f"eps must not divide by zero; got {text!r}") from None
    if not isinstance(eps, Fraction) and len(text.partition(".")[2]) > _ROUNDED:
        exact = exact.limit_denominator(_LARGEST_DENOMINATOR)
    check_threat(exact, norm)
    return exact


def effective_eps(eps: Fraction, norm: str) -> Fraction:
    """The radius that uint8 images can use of it: linf is cut to whole levels, floor(255 eps) / 255.

    Raises ValueError for a ball that holds no other image of the grid than its centre.
    """
    levels = math.floor(LEVELS * eps)
    if levels < 1:
        raise ValueError(f"eps must be at least 1/{LEVELS}, one level of a uint8 image; got {eps}")
    return Fraction(levels, LEVELS) if norm == "linf" else eps


def check_threat(eps: float | Fraction, norm: str) -> None:
    """Raise ValueError unless the norm is known and eps lies in (0, 1] for linf, in (0, inf) for l2 and l1."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")
    if not 0 < eps < math.inf:
        raise ValueError(f"eps must be > 0 and finite; got {eps}")
    if norm == "linf" and eps > 1:
        raise ValueError(f"eps must be at most 1 for linf (images lie in [0, 1]); got {eps}")


def check_attack(inputs: Any, labels: Any, *, eps: float, norm: str) -> None:
    """Raise ValueError for arguments that no attack accepts; looks at shapes and types, never at values.

    Values are the caller's to check (check_batch): reading them would make a GPU wait.
    """
    check_threat(eps, norm)
    check_shapes(inputs, labels)


def check_shapes(inputs: Any, labels: Any) -> None:
    """Raise ValueError unless inputs are floating (N, 3, H, W) and labels integers (N,)."""
    xp = array_namespace(inputs)
    if inputs.ndim != 4 or not xp.isdtype(inputs.dtype, "real floating"):
        raise ValueError(f"inputs must be floating (N, 3, H, W); got {inputs.dtype} {tuple(inputs.shape)}")
    if labels.shape != inputs.shape[:1] or not xp.isdtype(labels.dtype, "integral"):
        raise ValueError(
            f"labels must be integers, one per input ({inputs.shape[0]},); got {labels.dtype} {tuple(labels.shape)}"
        )


def check_counts(**counts: Any) -> None:
    """Raise ValueError, with its name, for a parameter that is not an integer of at least 1."""
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be an integer of at least 1; got {count!r}")


def check_batch(inputs: Any, labels: Any, *, classes: int) -> None:
    """Raise ValueError unless inputs lie in [0, 1] and labels in [0, classes)."""
    xp = array_namespace(inputs)
    if inputs.shape[0] == 0:
        return
    if not bool(xp.all((inputs >= 0) & (inputs <= 1))):  # also refuses nan
        raise ValueError(f"inputs must lie in [0, 1]; got [{float(xp.min(inputs))}, {float(xp.max(inputs))}]")
    low, high = int(xp.min(labels)), int(xp.max(labels))
    if low < 0 or high >= classes:
        raise ValueError(f"labels must lie in [0, {classes}); got {low if low < 0 else high}")


def norms(perturbation: Any, norm: str) -> Any:
    """The norm of each sample: (N, 3, H, W) -> (N,)."""
    xp = array_namespace(perturbation)
    if norm == "linf":
        return xp.max(xp.abs(perturbation), axis=(1, 2, 3))
    if norm == "l1":
        return xp.sum(xp.abs(perturbation), axis=(1, 2, 3))
    return xp.sqrt(xp.sum(perturbation * perturbation, axis=(1, 2, 3)))


def unit(perturbation: Any, norm: str) -> Any:
    """Each sample scaled to norm 1 (zero stays zero)."""
    xp = array_namespace(perturbation)
    return perturbation / xp.clip(norms(perturbation, norm), min=_TINY)[:, None, None, None]


def steepest(gradient: Any, norm: str) -> Any:
    """The direction of norm 1 along which a linear objective rises fastest: sign(g), or g / |g|.

    For l1 that would be a single value, which the box soon stops: all mass is spread evenly over the largest entries of
    the gradient, `l1.SHARE` of them, as the sparse l1 descent does.
    """
    xp = array_namespace(gradient)
    if norm == "l1":
        return l1.spread(gradient, xp.full_like(gradient[:, 0, 0, 0], l1.SHARE * math.prod(gradient.shape[1:])))
    return xp.sign(gradient) if norm == "linf" else unit(gradient, norm)


def step(current: Any, gradient: Any, *, size: float, norm: str) -> Any:
    """A step of length `size` from `current` along the steepest direction; for l1, of what the box lets move."""
    return l1.step(current, gradient, size) if norm == "l1" else current + size * steepest(gradient, norm)


def project(adversarial: Any, clean: Any, *, eps: float, norm: str) -> Any:
    """Move `adversarial` into the ball around `clean` and into [0, 1]. The nearest point, for linf and l1.

    For l2 it is scaled onto the ball and then clipped, which keeps it there because `clean` lie in [0, 1].
    """
    xp = array_namespace(adversarial)
    if norm == "l1":
        return l1.project(adversarial, clean, eps=eps)
    if norm == "linf":  # as xp.clip does, whose wrapper takes several times as long for few small images
        adversarial = xp.minimum(xp.maximum(adversarial, clean - eps), clean + eps)
    else:
        perturbation = adversarial - clean
        scale = xp.clip(eps / xp.clip(norms(perturbation, norm), min=_TINY), max=1.0)
        adversarial = clean + perturbation * scale[:, None, None, None]
    return adversarial.clip(0.0, 1.0)


def as_draws(values: np.ndarray, reference: Any) -> Any:
    """Random draws from numpy, in the library and on the device of `reference`; floats also take its dtype."""
    xp = array_namespace(reference)
    draws = xp.asarray(values, device=device(reference))
    return xp.astype(draws, reference.dtype) if values.dtype.kind == "f" else draws


def uniform_start(inputs: Any, rng: np.random.Generator, *, eps: float, norm: str) -> Any:
    """A point uniform in the ball around each input (N, 3, H, W), clipped to [0, 1]."""
    if norm == "linf":
        draws = rng.uniform(-eps, eps, inputs.shape)
    else:
        draws = _directions(rng, inputs.shape, norm)
        radius = eps * rng.random(inputs.shape[:1]) ** (1 / math.prod(inputs.shape[1:]))
        draws *= (radius / norms(draws, norm))[:, None, None, None]
    return project(inputs + as_draws(draws, inputs), inputs, eps=eps, norm=norm)


def sphere_start(inputs: Any, rng: np.random.Generator, *, eps: float, norm: str) -> Any:
    """A random point at distance eps of each input (N, 3, H, W), clipped to [0, 1]."""
    draws = _directions(rng, inputs.shape, norm)
    return project(inputs + eps * unit(as_draws(draws, inputs), norm), inputs, eps=eps, norm=norm)


def _directions(rng: np.random.Generator, shape: tuple[int, ...], norm: str) -> np.ndarray:
    """Draws that, scaled to norm 1, are uniform on the sphere of l2 and l1; for linf, uniform in a cube."""
    if norm == "linf":
        return rng.uniform(-1, 1, shape)
    return rng.standard_normal(shape) if norm == "l2" else rng.laplace(size=shape)


def to_grid(inputs: Any) -> Any:
    """The nearest uint8 image, still as floats in [0, 1]."""
    xp = array_namespace(inputs)
    return xp.round(inputs * LEVELS) / LEVELS


def snap(adversarial: Any, clean: Any, *, eps: float | Fraction, norm: str) -> Any:
    """The uint8 image nearest to `adversarial` that lies in the ball around `clean` and in [0, 1].

    `clean` must be on the grid and `adversarial` in the ball. For l2 and l1, a sample that rounding moves out of the
    ball is truncated towards its clean image instead, in as few pixels as it takes: those that rounding moved
    furthest outward go first. For l1 that is the nearest image; what is moved by less than half a level is lost.
    """
    xp = array_namespace(adversarial)
    centre = xp.round(clean * LEVELS)
    offset = xp.clip(adversarial, min=0.0, max=1.0) * LEVELS - centre
    rounded = xp.round(offset)
    if norm == "linf":
        levels = math.floor(LEVELS * eps + 1e-6)  # eps = 8/255 as a float may fall just short of 8 levels
        rounded = xp.clip(rounded, min=-levels, max=levels)
    else:
        rounded = _truncate_to_ball(xp, rounded, offset, LEVELS * float(eps), norm)
    return (centre + rounded) / LEVELS


def _truncate_to_ball(xp: Any, rounded: Any, offset: Any, radius: float, norm: str) -> Any:
    """Replace as few entries of `rounded` as needed by trunc(offset), so that each sample's norm <= radius."""
    shape, power = offset.shape, 1 if norm == "l1" else 2
    rounded, offset = (xp.reshape(v, (shape[0], math.prod(shape[1:]))) for v in (rounded, offset))
    order = xp.argsort(xp.abs(offset) - xp.abs(rounded), axis=1)  # most outward first
    rounded, offset = (xp.take_along_axis(v, order, axis=1) for v in (rounded, offset))
    truncated = xp.trunc(offset)
    saved = xp.abs(rounded) ** power - xp.abs(truncated) ** power
    saved = xp.cumulative_sum(saved, axis=1, include_initial=True)[:, :-1]
    # The radius may be a float that falls just short of whole levels.
    excess = xp.sum(xp.abs(rounded) ** power, axis=1, keepdims=True) - (radius + (1e-6 if power == 1 else 0.0)) ** power
    result = xp.where(saved < excess, truncated, rounded)
    return xp.reshape(xp.take_along_axis(result, xp.argsort(order, axis=1), axis=1), shape)
