"""A user's own pictures: one folder per class, divided already or to be divided."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from f2at.images.folders import ClassFolders, class_folders, hidden
from f2at.training.configuration.options import DataConfig
from f2at.training.data.reading import read_pictures
from f2at.training.data.sets import DataError, Dataset, of_each_class

Files = tuple[tuple[Path, int], ...]
_LEAST = 3  # pictures of a class to divide: one to train on, one to validate, one to test


def own_pictures(config: DataConfig, cache: Path | None) -> Dataset:
    """The pictures in `train/CLASS/` and `test/CLASS/`, or, without `test/`, a share of them as the test set.

    Without `train/`, the folder itself holds the folders of the classes.

    Raises:
        DataError: there are no such folders, they disagree, a class has too few pictures, or one cannot be read.
    """
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"data.root = {root}: there is no such folder")
    divided = any(_folders(root / "train"))
    if not divided and any(_folders(root / "test")):
        raise DataError(f"data.root = {root} has test/, but no folder train/ with one folder of images for each class")
    train = _listed(root / "train" if divided else root, root)
    notes = train.notes
    if divided and any(_folders(root / "test")):
        test = _listed(root / "test", root)
        if train.classes != test.classes:
            raise DataError(
                f"data.root = {root}: train/ has classes {list(train.classes)}, test/ has {list(test.classes)}"
            )
        train_files, test_files, notes = train.files, test.files, (*notes, *test.notes)
    else:
        train_files, test_files = _divide(train, root, config.test)
    if divided:
        others = [folder.name for folder in _folders(root) if folder.name not in ("train", "test")]
        notes += tuple(f"{root / name} is neither train/ nor test/: left out" for name in sorted(others))
    return Dataset(
        read_pictures(train_files, config, cache),
        read_pictures(test_files, config, cache),
        train.classes,
        notes,
        *(tuple(file.relative_to(root).as_posix() for file, _ in files) for files in (train_files, test_files)),
    )


def describe(parts: dict[str, Tensor], classes: Sequence[str]) -> str:
    """How many pictures each part and each class have, in one line; `parts` are labels by name."""
    counts = sum(torch.bincount(labels, minlength=len(classes)) for labels in parts.values())
    assert isinstance(counts, Tensor)
    least, most = int(counts.argmin()), int(counts.argmax())
    sizes = ", ".join(f"{len(labels)} {name}" for name, labels in parts.items())
    if counts[least] == counts[most]:
        return f"{int(counts.sum())} pictures of {len(classes)} classes ({sizes}), {int(counts[most])} of each"
    share = float((parts["test"] == most).float().mean())
    return (
        f"{int(counts.sum())} pictures of {len(classes)} classes ({sizes}), from {int(counts[least])} "
        f"({classes[least]}) to {int(counts[most])} ({classes[most]}): who always says {classes[most]} is right "
        f"on {share:.1%} of the test images"
    )


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [entry for entry in root.iterdir() if entry.is_dir() and not hidden(entry.name)]


def _listed(folder: Path, root: Path) -> ClassFolders:
    try:
        return class_folders(folder)
    except ValueError as error:
        raise DataError(f"data.root = {root}: {error}") from None


def _divide(listed: ClassFolders, root: Path, share: float) -> tuple[Files, Files]:
    """Training and test files: of each class the share whose names have the lowest digests.

    So the test set hardly changes when pictures come in: none that was trained on becomes one to test with, or few.
    """
    labels = torch.tensor([label for _, label in listed.files])
    counts = torch.bincount(labels)
    if int(counts.min()) < _LEAST:
        label = int(counts.argmin())
        raise DataError(
            f"data.root = {root}: class {listed.classes[label]} must have at least {_LEAST} pictures, to train, "
            f"validate and test on, or there must be a folder test/; got {int(counts[label])}"
        )
    left = of_each_class(labels, share).tolist()
    test: list[tuple[Path, int]] = []
    for file, label in sorted(listed.files, key=lambda entry: _digest(entry[0].relative_to(root))):
        if left[label]:
            test.append((file, label))
            left[label] -= 1
    chosen = set(test)
    return tuple(entry for entry in listed.files if entry not in chosen), tuple(test)


def _digest(name: Path) -> bytes:
    return hashlib.sha256(name.as_posix().encode("utf-8", "surrogateescape")).digest()
