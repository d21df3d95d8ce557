"""Whether a model hides its gradients behind what rounds or cuts off, so that an approximation is to be followed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.target import Target
from f2at.audit.subject import Subject, ToTarget
from f2at.command_line import shortened
from f2at.images.pixels import Images, Labels, to_inputs

IMAGES = 16  # at most, of an audit's
_FIRST = 2  # of them, more than a tenth of all
_VANISHING = 0.9  # of the images: a gradient at fewer is none to rely on
_NAMED = 5  # nodes


class Straightened(NamedTuple):
    """A model with the gradients of a graph that passes straight through what has no slope."""

    target: Target
    passed: Sequence[str]  # the names of its nodes; none: nothing is left without a slope
    description: dict[str, Any]  # what the report says of it besides


def straightened(
    target: Target,
    derive: Callable[[], Straightened | None],
    images: Images,
    labels: Labels,
    to_target: ToTarget = np.asarray,
) -> Straightened | None:
    """What to attack in place of a model whose gradients vanish at nearly all of the images though its answers differ.

    None if they do not, or if they vanish without what rounds as well.

    Args:
        target: the model.
        derive: makes the other, if there is one; it may take long, and is called where gradients vanish.
        images: uint8 (N, H, W, 3) of the model's size, N >= 1.
        labels: (N,).
        to_target: moves a numpy array to the target's library and device.
    """
    subject = Subject(target, to_target, None)
    # The first few tell nearly always, and of a large model every gradient takes its time.
    enough = (1 - _VANISHING) * len(images)
    if any(_followed(subject, images[:n], labels[:n]).sum() > enough for n in (_FIRST, len(images))):
        return None
    logits = subject.logits(to_inputs(images))
    if not (logits != logits[:1]).any():
        return None
    other = derive()
    if other is None or not other.passed:
        return None
    followed = _followed(Subject(other.target, to_target, None), images, labels)
    return other if followed.mean() >= _VANISHING else None


def saying(passed: Sequence[str]) -> str:
    """What was passed straight through, in words."""
    return f"the gradient is passed straight through {shortened(passed, _NAMED) or 'nothing, since nothing jumps'}"


def _followed(subject: Subject, images: Images, labels: Labels) -> NDArray[np.bool_]:
    """At which images the gradient of the margin or of the cross-entropy points anywhere."""
    found = np.zeros(len(images), dtype=bool)
    for objective in ("margin", "cross_entropy"):
        rows = np.flatnonzero(~found)
        if not len(rows):
            break
        gradients = subject.gradients(images[rows], labels[rows], objective).reshape(len(rows), -1)
        found[rows] = (np.isfinite(gradients) & (gradients != 0)).any(axis=1)
    return found
