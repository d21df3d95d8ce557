"""Random crops and mirror images, drawn on the host for a whole epoch and made on the device."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def draw_crops(rng: np.random.Generator, count: int, *, padding: int, flip: bool) -> Tensor:
    """What `augment` does to each of `count` images: int64 (count, 3).

    Top and left edge of the crop, uniform in 0 to 2 padding, and 1 where it is mirrored (half of them, if `flip`).
    A whole epoch's draws are one small tensor, which can be moved to the device at once.
    """
    edges = rng.integers(2 * padding + 1, size=(count, 2))
    mirrored = rng.integers(2, size=(count, 1)) * flip
    return torch.from_numpy(np.concatenate([edges, mirrored], axis=1))


def augment(images: Tensor, crops: Tensor, *, padding: int) -> Tensor:
    """Crop each image out of its zero-padded self and mirror it, as drawn; on the device of both, without a loop.

    Args:
        images: (N, 3, H, W), of any type.
        crops: int64 (N, 3), from `draw_crops` with the same padding.
        padding: pixels of zeros on every side.

    Returns:
        Images of the same shape and type, channels-last in memory.
    """
    top, left, mirrored = crops[:, :, None].unbind(1)
    height, width = (torch.arange(size, device=images.device) for size in images.shape[2:])
    rows = top + height
    columns = left + torch.where(mirrored.bool(), width.flip(0), width)
    padded = functional.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    image = torch.arange(len(images), device=images.device)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
