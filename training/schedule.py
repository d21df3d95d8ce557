"""The optimizer, and its learning rate as a pure function of the step, so that a resumed run needs none restored."""

import math

import torch
from torch import nn

from f2at.training.configuration.options import OptimizerConfig

WARM_UP = {"one-cycle": 0.3, "cyclic": 0.4}  # share of a run in which the rate rises
LEAST = 0.04  # of the peak: where a rate rises from nothing, the first step does something all the same


def create_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """For all weights of a model."""
    if config.name == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def learning_rate(config: OptimizerConfig, progress: float) -> float:
    """The rate at `progress` epochs (fractions count).

    piecewise divides by 10 at each milestone. piecewise-linear falls by as much, but linearly, from each milestone to
    the next, and from the last one to the end (Wang and Wang, 2022). one-cycle (Smith and Topin, 2019) rises linearly
    to its peak over the first 30 % and falls to zero as a half cosine; cyclic (Wong, Rice and Kolter, 2020) rises over
    the first 40 % and falls linearly. cosine (Loshchilov and Hutter, 2017) falls from the beginning. The first `warmup`
    epochs take as much less as they are not yet over.
    """
    return _scheduled(config, progress) * (max(progress / config.warmup, LEAST) if progress < config.warmup else 1.0)


def _scheduled(config: OptimizerConfig, progress: float) -> float:
    passed = sum(progress >= milestone for milestone in config.milestones)
    position = progress / config.epochs
    if config.schedule == "piecewise":
        return float(config.lr * 0.1**passed)
    if config.schedule == "piecewise-linear":
        if not passed:
            return config.lr
        begin, end = (*config.milestones, config.epochs)[passed - 1 : passed + 1]
        return float(config.lr * 0.1 ** (passed - 1) * (1 - 0.9 * min((progress - begin) / (end - begin), 1)))
    warm_up = WARM_UP.get(config.schedule, 0.0)
    if position < warm_up:
        return config.lr * max(position / warm_up, LEAST)
    fall = (position - warm_up) / (1 - warm_up)
    return config.lr * ((1 - fall) if config.schedule == "cyclic" else 0.5 * (1 + math.cos(math.pi * fall)))
