"""Hue, saturation and value of inputs (N, 3, H, W) in [0, 1]."""

import numpy as np

from f2at.attacks.transformations.corruptions.filters import Inputs

_GREY = np.array([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601


def luma(inputs: Inputs) -> Inputs:
    """Grey (N, 1, H, W)."""
    return np.asarray((inputs * _GREY).sum(axis=1, keepdims=True))


def add_value(inputs: Inputs, added: float) -> Inputs:
    """More value at the same hue and saturation: colours grow in proportion, black becomes grey."""
    value = inputs.max(axis=1, keepdims=True)
    target = np.clip(value + added, 0, 1)
    return np.asarray(np.where(value > 0, inputs * (target / np.where(value > 0, value, 1)), target))


def change_saturation(inputs: Inputs, factor: float, added: float) -> Inputs:
    """Saturation times a factor, plus something, at the same hue and value; grey has the hue 0, which is red's."""
    value = inputs.max(axis=1, keepdims=True)
    chroma = value - inputs.min(axis=1, keepdims=True)
    saturation = chroma / np.where(value > 0, value, 1)
    target = np.clip(saturation * factor + added, 0, 1)
    red = np.array([0.0, 1.0, 1.0])[:, None, None]
    below = np.where(chroma > 0, (value - inputs) / np.where(chroma > 0, chroma, 1), red)  # the value, in chromas
    return np.asarray(value - below * value * target)
