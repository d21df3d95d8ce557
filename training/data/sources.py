"""Data sets by name; pictures are read and resized as the deployed model's are."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from f2at.command_line import suggestion
from f2at.images.preparation import Preparation
from f2at.training.configuration.options import DataConfig
from f2at.training.data.folder import own_pictures
from f2at.training.data.mapped import MappedImages
from f2at.training.data.reading import read_pictures
from f2at.training.data.sets import DataError, Dataset, ImageSet


def load_dataset(config: DataConfig, cache: Path | None = None) -> Dataset:
    """The data set that the configuration names, at its size.

    Args:
        config: which, and how it is prepared.
        cache: folder for prepared images that are too many for memory; None holds any number in memory.

    Raises:
        DataError: unknown name, missing or malformed files, or too few images.
    """
    if config.name not in DATASETS:
        near = suggestion(config.name, DATASETS)
        raise DataError(f"data.name must be one of {', '.join(DATASETS)}; got {config.name!r}{near}")
    dataset = DATASETS[config.name](config, cache)
    if config.validation >= len(dataset.train.labels):
        raise DataError(
            f"data.validation must be below the {len(dataset.train.labels)} training images; got {config.validation}"
        )
    files = [part.images.path for part in (dataset.train, dataset.test) if isinstance(part.images, MappedImages)]
    held = tuple(
        f"prepared images are in {file} ({file.stat().st_size / 1e9:.2f} GB), for later runs of the same pictures as "
        "well; delete it when there are none"
        for file in files
    )
    return dataset._replace(notes=(*dataset.notes, *held))


def _digits(config: DataConfig, _: Path | None) -> Dataset:
    """1,797 handwritten digits that ship with scikit-learn: 8x8, 17 grey levels; 397 of them are the test set."""
    from sklearn.datasets import load_digits  # takes seconds, which other data need not wait for

    digits = load_digits()
    grey = (digits.images * 255 / 16).round().astype(np.uint8)
    images = _prepared(grey[..., None].repeat(3, axis=3), config.preparation)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(images)))
    images, labels = images[order], torch.from_numpy(digits.target)[order].long()
    train, test = ImageSet(images[397:], labels[397:]), ImageSet(images[:397], labels[:397])
    return Dataset(train, test, tuple(str(name) for name in digits.target_names))


def _cifar(source: type[CIFAR10]) -> Callable[[DataConfig, Path | None], Dataset]:
    def load(config: DataConfig, _: Path | None) -> Dataset:
        root = Path(config.root)
        try:
            parts = [source(str(root), train=train) for train in (True, False)]
        except RuntimeError:
            raise DataError(
                f"no intact {source.__name__} under data.root = {root}: put the official python version there, "
                f"unpacked as {root / source.base_folder}"
            ) from None
        train, test = (ImageSet(_prepared(part.data, config.preparation), torch.tensor(part.targets)) for part in parts)
        return Dataset(train, test, tuple(parts[0].classes))

    return load


def _prepared(pictures: NDArray[np.uint8], preparation: Preparation) -> Tensor:
    """uint8 (N, 3, H, W) of pictures (N, h, w, 3)."""
    if pictures.shape[1:3] != preparation.size:
        pictures = np.stack([np.asarray(preparation.fitted(Image.fromarray(picture))) for picture in pictures])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def _tiny_imagenet(config: DataConfig, cache: Path | None) -> Dataset:
    """Tiny ImageNet as its archive unpacks; its `val` part, with `val_annotations.txt`, serves as the test set."""
    root = Path(config.root)
    base = root / "tiny-imagenet-200"
    words_file, annotations_file = base / "words.txt", base / "val" / "val_annotations.txt"
    for needed in (base / "train", words_file, annotations_file):
        if not needed.exists():
            raise DataError(f"no Tiny ImageNet under data.root = {root}: {needed} is missing; unpack the archive there")
    wnids = sorted(folder.name for folder in (base / "train").iterdir() if folder.is_dir())
    words = dict(line.split("\t", 1) for line in words_file.read_text().splitlines() if "\t" in line)
    annotations = [line.split("\t")[:2] for line in annotations_file.read_text().splitlines() if line]
    unknown = {wnid for _, wnid in annotations} - set(wnids)
    if unknown:
        raise DataError(f"{annotations_file} names classes without training images: {', '.join(sorted(unknown))}")
    test_files = [(base / "val" / "images" / name, wnids.index(wnid)) for name, wnid in annotations]
    train_files = [
        (file, index) for index, wnid in enumerate(wnids) for file in sorted((base / "train" / wnid).rglob("*.JPEG"))
    ]
    names = tuple(words.get(wnid, wnid).split(",")[0] for wnid in wnids)
    return Dataset(read_pictures(train_files, config, cache), read_pictures(test_files, config, cache), names)


DATASETS: Mapping[str, Callable[[DataConfig, Path | None], Dataset]] = {
    "digits": _digits,
    "cifar10": _cifar(CIFAR10),
    "cifar100": _cifar(CIFAR100),
    "tiny-imagenet": _tiny_imagenet,
    "folder": own_pictures,
}
