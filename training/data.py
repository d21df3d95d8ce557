"""Data sets by name, as uint8 arrays in memory; pictures are read and resized as the deployed model's are."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional
from torchvision.datasets import CIFAR10, CIFAR100

from f2at.command_line import suggestion
from f2at.images.decode import OWN_FORMATS, OWN_PIXELS, ImageError, decode_image
from f2at.images.folders import class_folders
from f2at.images.preparation import Preparation
from f2at.training.configuration.options import DataConfig


class DataError(ValueError):
    """A data set that is missing or malformed; the message says what to do."""


class ImageSet(NamedTuple):
    """Labelled images: uint8 (N, 3, H, W) and int64 (N,)."""

    images: Tensor
    labels: Tensor


class Dataset(NamedTuple):
    """A data set with its official split; `notes` say in a line each what was left out."""

    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load_dataset(config: DataConfig) -> Dataset:
    """The data set that the configuration names, at its size.

    Raises:
        DataError: unknown name, missing or malformed files, or too few images.
    """
    if config.name not in DATASETS:
        near = suggestion(config.name, DATASETS)
        raise DataError(f"data.name must be one of {', '.join(DATASETS)}; got {config.name!r}{near}")
    dataset = DATASETS[config.name](Path(config.root), config.preparation)
    if config.validation >= len(dataset.train.labels):
        raise DataError(
            f"data.validation must be below the {len(dataset.train.labels)} training images; got {config.validation}"
        )
    return dataset


def draw_images(data: ImageSet, count: int) -> ImageSet:
    """`count` images, always the same ones, in random order, so that the classes are mixed."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(data.labels)))[:count]
    return ImageSet(data.images[order], data.labels[order])


def split_validation(train: ImageSet, count: int) -> tuple[ImageSet, ImageSet]:
    """Training images without, and with only, `count` held out; the same ones whatever the run's seed."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(train.labels)))
    held_out, kept = order[:count], order[count:]
    return ImageSet(train.images[kept], train.labels[kept]), ImageSet(train.images[held_out], train.labels[held_out])


def channel_statistics(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 images (N, 3, H, W), in [0, 1]."""
    counts = torch.stack([torch.bincount(channel.flatten().int(), minlength=256) for channel in images.unbind(1)])
    levels, share = torch.arange(256) / 255, counts / counts.sum(1, keepdim=True)
    mean = (share * levels).sum(1)
    std = ((share * levels**2).sum(1) - mean**2).clamp(min=1e-6).sqrt()
    return [round(v, 4) for v in mean.tolist()], [round(v, 4) for v in std.tolist()]


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


def _digits(_: Path, preparation: Preparation) -> Dataset:
    """1,797 handwritten digits that ship with scikit-learn: 8x8, 17 grey levels; 397 of them are the test set."""
    digits = load_digits()
    grey = (digits.images * 255 / 16).round().astype(np.uint8)
    images = _prepared(grey[..., None].repeat(3, axis=3), preparation)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(images)))
    images, labels = images[order], torch.from_numpy(digits.target)[order].long()
    train, test = ImageSet(images[397:], labels[397:]), ImageSet(images[:397], labels[:397])
    return Dataset(train, test, tuple(str(name) for name in digits.target_names))


def _cifar(source: type[CIFAR10]) -> Callable[[Path, Preparation], Dataset]:
    def load(root: Path, preparation: Preparation) -> Dataset:
        try:
            parts = [source(str(root), train=train) for train in (True, False)]
        except RuntimeError:
            raise DataError(
                f"no intact {source.__name__} under data.root = {root}: put the official python version there, "
                f"unpacked as {root / source.base_folder}"
            ) from None
        train, test = (ImageSet(_prepared(part.data, preparation), torch.tensor(part.targets)) for part in parts)
        return Dataset(train, test, tuple(parts[0].classes))

    return load


def _prepared(pictures: NDArray[np.uint8], preparation: Preparation) -> Tensor:
    """uint8 (N, 3, H, W) of pictures (N, h, w, 3)."""
    if pictures.shape[1:3] != preparation.size:
        pictures = np.stack([np.asarray(preparation.fitted(Image.fromarray(picture))) for picture in pictures])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def _tiny_imagenet(root: Path, preparation: Preparation) -> Dataset:
    """Tiny ImageNet as its archive unpacks; its `val` part, with `val_annotations.txt`, serves as the test set."""
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
    return Dataset(_read(train_files, preparation), _read(test_files, preparation), names)


def _folder(root: Path, preparation: Preparation) -> Dataset:
    """Any images in `train/CLASS/` and `test/CLASS/`."""
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise DataError(f"data.root = {root} has no folder {part}/ with one folder of images for each class")
    try:
        train, test = (class_folders(root / part) for part in ("train", "test"))
    except ValueError as error:
        raise DataError(f"data.root = {root}: {error}") from None
    if train.classes != test.classes:
        raise DataError(f"data.root = {root}: train/ has classes {list(train.classes)}, test/ has {list(test.classes)}")
    parts = [_read(part.files, preparation) for part in (train, test)]
    return Dataset(parts[0], parts[1], train.classes, (*train.notes, *test.notes))


def _read(files: Sequence[tuple[Path, int]], preparation: Preparation) -> ImageSet:
    """The pictures as the deployed model would be given them."""
    images = np.empty((len(files), *preparation.size, 3), np.uint8)
    for index, (file, _) in enumerate(files):
        try:
            images[index] = decode_image(file.read_bytes(), preparation, max_pixels=OWN_PIXELS, formats=OWN_FORMATS)
        except (OSError, ImageError) as error:
            raise DataError(f"{file} cannot be read as an image: {error}") from None
    labels = torch.tensor([label for _, label in files])
    return ImageSet(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


DATASETS: Mapping[str, Callable[[Path, Preparation], Dataset]] = {
    "digits": _digits,
    "cifar10": _cifar(CIFAR10),
    "cifar100": _cifar(CIFAR100),
    "tiny-imagenet": _tiny_imagenet,
    "folder": _folder,
}
