"""What training costs: in a unit that no machine changes, and in time on this one."""

import time
from collections.abc import Callable
from typing import NamedTuple

from tqdm import tqdm

from f2at.training.collapse import IMAGES, STEPS
from f2at.training.configuration.options import Config

_LONG_ENOUGH = 5.0  # seconds of batches, from which the pace is known


def forward_passes(config: Config) -> int:
    """Cost of a training step, in forward passes of the model over the step's batch.

    A backward pass to the images alone counts as one more, a backward pass to the weights as two: that is what their
    multiplications come to. Measured ratios of steps agree with it (benchmarks/results/training_step.md).
    """
    attack, method = config.attack, config.method
    inner = 0
    if config.adversarial:
        objective = method.inner if attack.objective == "method" else attack.objective
        steps = attack.steps if attack.kind == "pgd" else 1
        inner = 2 * steps + (objective == "kl")  # the divergence needs the clean images' logits first
    return inner + method.shared_passes + method.passes * (2 if config.awp.gamma else 1)


class Outlook(NamedTuple):
    """Seconds that an epoch takes, validation included, and that a run has still to go, its last test included."""

    epoch: float
    left: float

    def line(self, epochs: int) -> str:
        """For people, of so many epochs to come."""
        one, all_ = (tqdm.format_interval(max(1, round(seconds))) for seconds in self)
        return f"about {one} an epoch, validation included; {all_} in all for the {epochs} to come"


def foresee(config: Config, seconds: float, *, images: int, validation: int, test: int, epochs: int) -> Outlook:
    """What is to come of a run.

    Args:
        config: of the run.
        seconds: that a training step takes, for each of its images.
        images, validation, test: how many there are of each.
        epochs: to come, the one that has begun included.
    """
    one = seconds / forward_passes(config)  # forward pass of an image
    attack = config.attack
    each = _evaluation(attack.validation_steps if config.adversarial else 0) * validation
    if config.adversarial:
        each += (_evaluation(1) + _evaluation(STEPS)) * min(IMAGES, validation)
    epoch = seconds * images + one * each
    return Outlook(epoch, epoch * epochs + one * _evaluation(attack.test_steps) * test)


def _evaluation(steps: int) -> int:
    """Forward passes of an image in `f2at.training.evaluation.evaluate`, if it withstands."""
    return 1 + (2 * steps + 1 if steps else 0)


class Stopwatch:
    """Tells once, after the first batches of a process, how long a training step takes.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._begun = clock()
        self._batches = self._images = 0
        self._told = False

    def beat(self, images: int, *, last: bool) -> float | None:
        """A batch of so many images is done; seconds per image, when that is known well enough, or it was the last.

        The first batch pays what is paid once, and counts only where it is alone.
        """
        if self._told:
            return None
        now = self._clock()
        self._batches += 1
        if self._batches == 1 and not last:
            self._begun = now
            return None
        self._images += images
        self._told = last or now - self._begun >= _LONG_ENOUGH
        return (now - self._begun) / self._images if self._told else None
