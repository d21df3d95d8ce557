"""Loaders on small data in the real formats, written here."""

import hashlib
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from f2at.training.configuration.options import DataConfig
from f2at.training.data import DataError, augment, channel_statistics, draw_crops, load_dataset, split_validation

RNG = np.random.default_rng(0)


def _write_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=95)


def test_digits() -> None:
    dataset = load_dataset(DataConfig(name="digits", size=16, validation=200))
    assert dataset.train.images.shape == (1400, 3, 16, 16)
    assert dataset.test.images.shape == (397, 3, 16, 16)
    assert dataset.train.images[:].dtype == torch.uint8
    assert dataset.train.labels.unique().tolist() == list(range(10))
    assert dataset.classes == tuple("0123456789")
    images = torch.cat([dataset.train.images[:], dataset.test.images[:]])
    assert len(images.flatten(1).unique(dim=0)) == 1797  # no image is in both parts, or twice
    assert int(images.max()) == 255


def _write_cifar(
    root: Path, folder: str, parts: dict[str, list[list[Any]]], key: str, monkeypatch: Any, cls: Any
) -> None:
    """Batches as the official archive has them, with their checksums in place of the official ones."""
    base = root / folder
    base.mkdir(parents=True)
    names = {"label_names": ["cat", "dog"], "fine_label_names": ["cat", "dog"]}
    for index, (attribute, entries) in enumerate(parts.items()):
        renewed = []
        for name, _ in entries:
            data = np.zeros((4, 3, 32, 32), np.uint8)
            data[:, index] = np.arange(4)[:, None, None]  # the channel tells train from test
            content = pickle.dumps({"data": data.reshape(4, -1), key: [0, 1, 0, 1]})
            (base / name).write_bytes(content)
            renewed.append([name, hashlib.md5(content).hexdigest()])
        monkeypatch.setattr(cls, attribute, renewed)
    content = pickle.dumps(names)
    meta = dict(cls.meta)
    (base / meta["filename"]).write_bytes(content)
    monkeypatch.setattr(cls, "meta", {**meta, "md5": hashlib.md5(content).hexdigest()})


@pytest.mark.parametrize(
    ("name", "cls", "key", "batches"), [("cifar10", CIFAR10, "labels", 5), ("cifar100", CIFAR100, "fine_labels", 1)]
)
def test_cifar(name: str, cls: Any, key: str, batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"train_list": list(cls.train_list), "test_list": list(cls.test_list)}
    _write_cifar(tmp_path, cls.base_folder, parts, key, monkeypatch, cls)
    dataset = load_dataset(DataConfig(name=name, root=str(tmp_path), size=32, validation=2))
    assert dataset.train.images.shape == (4 * batches, 3, 32, 32)
    assert dataset.test.images.shape == (4, 3, 32, 32)
    assert dataset.classes == ("cat", "dog")
    assert dataset.test.labels.tolist() == [0, 1, 0, 1]
    assert dataset.test.images[:][3, :, 0, 0].tolist() == [0, 3, 0]
    assert dataset.train.images[:][3, :, 0, 0].tolist() == [3, 0, 0]


def test_tiny_imagenet(tmp_path: Path) -> None:
    base = tmp_path / "tiny-imagenet-200"
    for index in range(3):
        _write_image(base / f"train/n01/images/n01_{index}.JPEG", (200, 0, 0), (64, 64))
        _write_image(base / f"train/n02/images/n02_{index}.JPEG", (0, 200, 0), (64, 64))
    _write_image(base / "val/images/val_0.JPEG", (0, 200, 0), (64, 64))
    _write_image(base / "val/images/val_1.JPEG", (200, 0, 0), (64, 64))
    (base / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n")
    (base / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\ttree frog, tree-frog\nn03\tother\n")
    dataset = load_dataset(DataConfig(name="tiny-imagenet", root=str(tmp_path), size=64, validation=1))
    assert dataset.classes == ("goldfish", "tree frog")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [1, 0]  # as annotated, not as sorted
    assert dataset.test.images[:][0, 1].float().mean() > 150


def test_tiny_imagenet_with_an_unknown_annotation(tmp_path: Path) -> None:
    base = tmp_path / "tiny-imagenet-200"
    _write_image(base / "train/n01/images/n01_0.JPEG", (200, 0, 0))
    (base / "val").mkdir()
    (base / "val/val_annotations.txt").write_text("val_0.JPEG\tn09\t0\t0\t9\t9\n")
    (base / "words.txt").write_text("n01\tgoldfish\n")
    with pytest.raises(DataError, match="classes without training images: n09"):
        load_dataset(DataConfig(name="tiny-imagenet", root=str(tmp_path), validation=1))


def test_image_folder_of_any_shape_and_format(tmp_path: Path) -> None:
    for part in ("train", "test"):
        _write_image(tmp_path / part / "red" / "a.png", (255, 0, 0), (50, 20))
        _write_image(tmp_path / part / "blue" / "b.jpg", (0, 0, 255), (9, 33))
    dataset = load_dataset(DataConfig(name="folder", root=str(tmp_path), size=16, validation=1))
    assert dataset.classes == ("blue", "red")
    assert dataset.train.images.shape == (2, 3, 16, 16)
    assert dataset.train.images[:][1, :, 8, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tiny-imagenet", "folder"])
def test_missing_data_says_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root"):
        load_dataset(DataConfig(name=name, root=str(tmp_path / "nowhere"), validation=1))


def test_folder_with_an_unreadable_image(tmp_path: Path) -> None:
    for part in ("train", "test"):
        _write_image(tmp_path / part / "red" / "a.png", (255, 0, 0))
    (tmp_path / "test/red/b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png cannot be read as an image"):
        load_dataset(DataConfig(name="folder", root=str(tmp_path), size=16, validation=1))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path, make: Callable[[Path], object]) -> None:
    for part in ("train", "test"):
        _write_image(tmp_path / part / "red" / "a.png", (255, 0, 0))
    make(tmp_path / "train/red/b.png")
    with pytest.raises(DataError, match=r"train/red/b\.png is no file that can be read"):
        load_dataset(DataConfig(name="folder", root=str(tmp_path), validation=0 + 1))


def _png(width: int, height: int, body: bytes) -> bytes:
    """A PNG of black and white that says what size it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_png(20_000, 20_000, b""), "too many pixels"),  # a decompression bomb
        (_png(64, 64, zlib.compress(bytes(40))), "PNG file is truncated or damaged"),
        (_png(64, 64, b"no pixels"), "PNG file is truncated or damaged"),
        (b"", "not a file that is read here; send PNG, JPEG, WEBP, BMP, TIFF, PPM"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    for part in ("train", "test"):
        _write_image(tmp_path / part / "red" / "a.png", (255, 0, 0))
    (tmp_path / "train/red/b.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"train/red/b\.png cannot be read as an image: .*{reason}") as caught:
        load_dataset(DataConfig(name="folder", root=str(tmp_path), validation=1))
    assert "\n" not in str(caught.value)


def test_what_a_folder_leaves_out_is_said(tmp_path: Path) -> None:
    for part in ("train", "test"):
        _write_image(tmp_path / part / "red" / "a.png", (255, 0, 0))
        _write_image(tmp_path / part / ".ipynb_checkpoints" / "a.png", (255, 0, 0))
    (tmp_path / "train/red/b.heic").touch()
    _write_image(tmp_path / "train/red/c.png", (255, 0, 0))
    dataset = load_dataset(DataConfig(name="folder", root=str(tmp_path), validation=1))
    assert (dataset.classes, len(dataset.train.labels)) == (("red",), 2)
    assert dataset.notes == (
        f"{tmp_path}/train/red has files that are no images of a kind read here: left out 1 of .heic",
    )


def test_folder_whose_parts_disagree(tmp_path: Path) -> None:
    _write_image(tmp_path / "train/red/a.png", (255, 0, 0))
    _write_image(tmp_path / "test/blue/a.png", (255, 0, 0))
    with pytest.raises(DataError, match=r"train/ has classes \['red'\], test/ has \['blue'\]"):
        load_dataset(DataConfig(name="folder", root=str(tmp_path), validation=1))


def test_unknown_data_set_and_too_many_held_out() -> None:
    with pytest.raises(DataError, match=r"data\.name must be one of digits.*got 'mnist'"):
        load_dataset(DataConfig(name="mnist"))
    with pytest.raises(DataError, match=r"data\.validation must be below the 1400 training images; got 1400"):
        load_dataset(DataConfig(name="digits", validation=1400))


def test_validation_is_held_out_of_train_and_fixed() -> None:
    dataset = load_dataset(DataConfig(name="digits", size=8, validation=200))
    kept, held_out = split_validation(dataset.train, 200)
    again, _ = split_validation(dataset.train, 200)
    assert (len(kept.labels), len(held_out.labels)) == (1200, 200)
    assert torch.equal(kept.images[:], again.images[:])
    together = torch.cat([kept.images[:], held_out.images[:]]).flatten(1)
    assert torch.equal(together.unique(dim=0), dataset.train.images[:].flatten(1).unique(dim=0))


def test_channel_statistics_match_torch() -> None:
    images = torch.from_numpy(RNG.integers(0, 256, (10, 3, 8, 8), dtype=np.uint8))
    mean, std = channel_statistics(images)
    channels = images.permute(1, 0, 2, 3).flatten(1).float() / 255
    assert mean == pytest.approx(channels.mean(1).tolist(), abs=1e-4)
    assert std == pytest.approx(channels.std(1, correction=0).tolist(), abs=1e-4)


def _augment_one(image: np.ndarray, crop: list[int], padding: int) -> np.ndarray:
    """The plain way: paint the image on black, cut, mirror."""
    channels, height, width = image.shape
    top, left, mirrored = crop
    canvas = np.zeros((channels, height + 2 * padding, width + 2 * padding), image.dtype)
    canvas[:, padding : padding + height, padding : padding + width] = image
    cut = canvas[:, top : top + height, left : left + width]
    return cut[:, :, ::-1] if mirrored else cut


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    flip=st.booleans(),
)
def test_augmentation_is_the_plain_one(
    seed: int, count: int, height: int, width: int, padding: int, flip: bool
) -> None:
    """Also where the padding is larger than the image and where the image is not square."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    crops = draw_crops(rng, count, padding=padding, flip=flip)
    found = augment(torch.from_numpy(images), crops, padding=padding)
    assert found.dtype == torch.uint8
    assert found.shape == images.shape
    for image, crop, result in zip(images, crops.tolist(), found.numpy(), strict=True):
        np.testing.assert_array_equal(result, _augment_one(image, crop, padding))


def test_every_crop_is_as_likely_as_another() -> None:
    """Chi-squared of the 2 (2 padding + 1)^2 outcomes; 49 degrees of freedom exceed 85 once in a thousand."""
    crops = draw_crops(np.random.default_rng(0), 50_000, padding=2, flip=True)
    assert crops.shape == (50_000, 3)
    _, counts = crops.unique(dim=0, return_counts=True)
    assert len(counts) == 50
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 85


def test_crops_follow_from_the_generator() -> None:
    drawn = [draw_crops(np.random.default_rng(seed), 100, padding=4, flip=True) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not draw_crops(np.random.default_rng(0), 100, padding=4, flip=False)[:, 2].any()


def test_without_padding_and_flip_nothing_changes() -> None:
    images = torch.from_numpy(RNG.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8))
    crops = draw_crops(RNG, 4, padding=0, flip=False)
    assert torch.equal(augment(images, crops, padding=0), images)


def test_augmentation_never_waits_for_the_device() -> None:
    """On the meta device there is nothing to wait for: reading any value, or mixing devices, is an error."""
    images = torch.empty(4, 3, 8, 8, dtype=torch.uint8, device="meta")
    crops = torch.empty(4, 3, dtype=torch.int64, device="meta")
    found = augment(images, crops, padding=2)
    assert (found.shape, found.dtype, found.device) == (images.shape, images.dtype, images.device)
    assert found.is_contiguous(memory_format=torch.channels_last)
