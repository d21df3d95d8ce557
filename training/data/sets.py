"""Labelled images for training, and how they are divided."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from f2at.training.data.mapped import MappedImages

AT_MOST = 2000  # images of a share held out: accuracy is known within 1.1 points (one standard error), which is enough
_TOGETHER = 256  # images whose pixels are counted at once


class DataError(ValueError):
    """A data set that is missing or malformed; the message says what to do."""


class ImageSet(NamedTuple):
    """Labelled images: uint8 (N, 3, H, W), in memory or in a file, and int64 (N,)."""

    images: Tensor | MappedImages
    labels: Tensor

    def select(self, rows: Tensor) -> "ImageSet":
        """Those of these numbers, in their order."""
        chosen = self.images.select(rows) if isinstance(self.images, MappedImages) else self.images[rows]
        return ImageSet(chosen, self.labels[rows])


class Dataset(NamedTuple):
    """A data set with its split.

    Attributes:
        train, test: the images.
        classes: their names.
        notes: a line for each kind of thing that was left out.
        train_files, test_files: where each image comes from, if from a folder of the user's own; relative to it.
    """

    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    train_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()


def draw_images(data: ImageSet, count: int) -> ImageSet:
    """`count` images, always the same ones, in random order, so that the classes are mixed."""
    return data.select(torch.from_numpy(np.random.default_rng(0).permutation(len(data.labels)))[:count])


def hold_out(labels: Tensor, amount: float) -> tuple[Tensor, Tensor]:
    """Numbers of the images to keep and of those to hold out, either in random order; whatever the run's seed.

    Args:
        labels: int64 (N,).
        amount: how many (an integer), or a share of each class (a fraction); see `of_each_class`.
    """
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    if isinstance(amount, int):
        return order[amount:], order[:amount]
    mixed, left = labels[order], of_each_class(labels, amount)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in enumerate(left.tolist()):
        held[(mixed == label).nonzero()[:count, 0]] = True
    return order[~held], order[held]


def of_each_class(labels: Tensor, share: float) -> Tensor:
    """How many images of each class make up a share: (C,).

    One at least, but never the only one, and no more than about 2,000 in all.
    """
    counts = torch.bincount(labels)
    wanted = (counts * min(share, AT_MOST / len(labels))).round().long()
    return wanted.clamp(min=1).minimum(counts - 1).clamp(min=0)


def split_validation(train: ImageSet, amount: float) -> tuple[ImageSet, ImageSet]:
    """Training images without, and with only, those held out; see `hold_out`."""
    kept, held_out = hold_out(train.labels, amount)
    return train.select(kept), train.select(held_out)


def channel_statistics(images: Tensor | MappedImages) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 images (N, 3, H, W), in [0, 1]."""
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for part in images.split(_TOGETHER):
        counts += torch.stack([torch.bincount(channel.flatten().int(), minlength=256) for channel in part.unbind(1)])
    levels, share = torch.arange(256) / 255, counts / counts.sum(1, keepdim=True)
    mean = (share * levels).sum(1)
    std = ((share * levels**2).sum(1) - mean**2).clamp(min=1e-6).sqrt()
    return [round(v, 4) for v in mean.tolist()], [round(v, 4) for v in std.tolist()]
