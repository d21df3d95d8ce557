"""Learning rate as a pure function of the step, so that a resumed run needs nothing restored."""

import math

from training.config import OptimizerConfig

WARM_UP = 0.3  # share of a one-cycle run in which the rate rises


def learning_rate(config: OptimizerConfig, progress: float) -> float:
    """The rate at `progress` epochs (fractions count).

    piecewise divides by 10 at each milestone. one-cycle (Smith and Topin, 2019) rises linearly to its peak over the
    first 30 % and falls to zero as a half cosine.
    """
    if config.schedule == "piecewise":
        return float(config.lr * 0.1 ** sum(progress >= milestone for milestone in config.milestones))
    position = progress / config.epochs
    if position < WARM_UP:
        return config.lr * max(position / WARM_UP, 0.04)
    return config.lr * 0.5 * (1 + math.cos(math.pi * (position - WARM_UP) / (1 - WARM_UP)))
