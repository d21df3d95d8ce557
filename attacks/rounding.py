"""Errors that rounding to 8 bits leaves: where it may take an image out of the ball, attacks look before they stop."""

from typing import Any

from array_api_compat import array_namespace

from f2at.attacks.survivors import misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import snap


def held(target: Target, images: Any, clean: Any, labels: Any, broken: Any, *, eps: float, norm: str) -> Any:
    """Those of the errors `broken` (n,) whose 8-bit image inside the ball is an error as well: bool (n,).

    images, clean: (n, 3, H, W), all of the samples. One forward evaluation for each error, none for linf: rounding
    leaves no cube.
    """
    xp = array_namespace(images)
    if norm == "linf" or not bool(xp.any(broken)):
        return broken
    rounded = snap(images[broken], clean[broken], eps=eps, norm=norm)
    found = xp.asarray(broken, copy=True)
    found[broken] = misclassified(target.logits(rounded), labels[broken])
    return found
