"""Picture files as the deployed model would be given them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from f2at.images.decode import decode_own
from f2at.images.folders import read_picture
from f2at.training.configuration.options import DataConfig
from f2at.training.data.mapped import MappedImages, listing_digest, write_mapped
from f2at.training.data.sets import DataError, ImageSet

Files = Sequence[tuple[Path, int]]
_GIGABYTE = 10**9


def read_pictures(files: Files, config: DataConfig, cache: Path | None) -> ImageSet:
    """Files and the numbers of their classes as images: in memory, or, if they are too many, in a file.

    Args:
        files: below `config.root`.
        config: how they are prepared, and how many gigabytes of them are held in memory.
        cache: folder for that file, where it is found again by a later run of the same pictures; None holds any number
            in memory.

    Raises:
        DataError: which file cannot be read, and why; or there is no space for them all.
    """
    height, width = config.preparation.size
    labels = torch.tensor([label for _, label in files])
    if cache is None or len(files) * height * width * 3 <= config.memory * _GIGABYTE:
        images = np.empty((len(files), 3, height, width), np.uint8)
        for index, image in enumerate(_decoded(files, config)):
            images[index] = image.transpose(2, 0, 1)
        return ImageSet(torch.from_numpy(images), labels)
    digest = listing_digest((file for file, _ in files), Path(config.root), config.preparation)
    path = cache / f"{digest}.uint8"
    if not path.is_file():
        try:
            write_mapped(path, _decoded(files, config))
        except OSError as error:
            raise DataError(f"the prepared images cannot be written to {path}: {error}") from error
    return ImageSet(MappedImages(path, config.preparation.size), labels)


def _decoded(files: Files, config: DataConfig) -> Iterator[NDArray[np.uint8]]:
    """Pictures (H, W, 3) in the order of their files."""
    for file, _ in tqdm(files, desc="reading", unit="picture", delay=5, leave=False, disable=None):
        try:
            image = decode_own(str(file), read_picture(file), config.preparation)
        except ValueError as error:
            raise DataError(str(error)) from None
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error}") from None
        yield image
