"""The training images as a run sees them: batch by batch, cropped and mirrored, on the device."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from f2at.training.configuration.options import Config
from f2at.training.data.augmentation import augment, draw_crops
from f2at.training.data.mapped import MappedImages
from f2at.training.data.sets import ImageSet


class Feed:
    """One process's share of every batch.

    All processes draw the same, and each takes its share: their number matters to BatchNorm alone, which sees one
    share at a time.

    Args:
        data: the training images.
        config: batch size and augmentation.
        device: where the images are wanted. Bytes, and small next to what a step computes: it holds them all, unless
            they are in a file.
        rank, world: which process of how many.

    Raises:
        ValueError: there are too few images for a batch.
    """

    def __init__(self, data: ImageSet, config: Config, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.batch_size, self.rank, self.world = config.optimizer.batch_size, rank, world
        self.padding, self.flip, self.device = config.data.crop_padding, config.data.flip, device
        self.count = len(data.labels)
        if not self._divide(torch.arange(self.count)):
            raise ValueError(
                f"optimizer.batch_size {self.batch_size} and the {self.count} training images left by "
                f"data.validation give no batch of 2 images for each of {world} processes"
            )
        self.images = data.images if isinstance(data.images, MappedImages) else data.images.to(device)
        self.labels = data.labels.to(device)

    @property
    def batches(self) -> int:
        """In an epoch."""
        return len(self._divide(torch.arange(self.count)))

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (n, 3, H, W) in [0, 1] and labels (n,), each image of the set once; all is drawn at the call."""
        batches = self._divide(torch.from_numpy(rng.permutation(self.count)).to(self.device))
        crops = draw_crops(rng, self.count, padding=self.padding, flip=self.flip).to(self.device)
        return (
            (self._augmented(self.images[batch].to(self.device), crops[batch]), self.labels[batch]) for batch in batches
        )

    def _augmented(self, images: Tensor, crops: Tensor) -> Tensor:
        return augment(images, crops, padding=self.padding).float() / 255

    def _divide(self, order: Tensor) -> list[Tensor]:
        """Numbers of images, batch by batch; a last share too small for BatchNorm is left out."""
        shares = [
            batch[: len(batch) - len(batch) % self.world][self.rank :: self.world]
            for batch in order.split(self.batch_size)
        ]
        return [share for share in shares if len(share) >= 2]
