"""Picture files as the deployed model would be given them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from f2at.images.decode import OWN_FORMATS, OWN_PIXELS, ImageError, decode_image
from f2at.images.preparation import Preparation
from f2at.training.data.sets import DataError, ImageSet


def read_pictures(files: Sequence[tuple[Path, int]], preparation: Preparation) -> ImageSet:
    """Files and the numbers of their classes as images.

    Raises:
        DataError: which file cannot be read, and why.
    """
    images = np.empty((len(files), *preparation.size, 3), np.uint8)
    for index, (file, _) in enumerate(files):
        try:
            images[index] = decode_image(file.read_bytes(), preparation, max_pixels=OWN_PIXELS, formats=OWN_FORMATS)
        except (OSError, ImageError) as error:
            raise DataError(f"{file} cannot be read as an image: {error}") from None
    labels = torch.tensor([label for _, label in files])
    return ImageSet(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)
