"""Labelled images as an audit or an export takes them: the labels at once, pixels when they are asked for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from f2at.command_line import shortened, suggestion
from f2at.images.labelled import check_labelled, check_range
from f2at.images.pixels import Images, Labels
from f2at.images.preparation import Preparation

Rows = Sequence[int] | NDArray[np.int64]  # which images, in any order
_SHOWN = 5  # names in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSet(ABC):
    """Labelled images.

    Attributes:
        labels: int64 (N,).
        names: of the classes that the labels count, if the data says; None otherwise.
        notes: what was left out, a line for each kind.
        source: name of the file or folder that they are in; None for arrays.
        contents: whether `digest` is over what is in the images.
    """

    contents: ClassVar[bool] = True

    labels: Labels
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    source: str | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def size(self) -> tuple[int, int] | None:
        """(H, W) of what `read` gives; None for pictures of any size before `prepared` says which they are to have."""

    @abstractmethod
    def prepared(self, preparation: Preparation) -> Self:
        """The same images as a model takes them.

        Raises:
            ValueError: they are arrays of another size.
        """

    @abstractmethod
    def read(self, rows: Rows) -> Images:
        """Pixels of these images, uint8 (len(rows), H, W, 3), in that order. No others are decoded.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is damaged, or no image.
        """

    @abstractmethod
    def digest(self) -> str:
        """sha256 of the whole set, read once as a stream: of shape, pixels and labels, or of the picture files."""

    def drawn(self, rows: Rows) -> "LabelledSet":
        """These images alone, in that order, for one who reads them again and again: in memory.

        Raises:
            OSError, ValueError: as `read`.
        """
        return Arrays(images=self.read(rows), labels=self.labels[np.asarray(rows, np.int64)])

    def of_classes(self, classes: Sequence[str], *, named: bool) -> Self:
        """The same images with labels that count the outputs of a model.

        Args:
            classes: of the model, in the order of its outputs.
            named: whether somebody named them. If not, and the data has names for as many, these count in their order.

        Raises:
            ValueError: the data has classes that the model has not, or labels outside of the model's.
        """
        numbers = None if self.names is None else _places(self.names, classes, named=named)
        count = len(classes) if numbers is None else len(numbers)
        check_range(self.labels, count, name="data")
        if numbers is not None:
            return replace(self, labels=numbers[self.labels], names=tuple(classes))
        return replace(self, names=self.names if self.names and not named else tuple(classes))


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays(LabelledSet):
    """Images that are in memory, uint8 (N, H, W, 3)."""

    images: Images

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.images.shape[1], self.images.shape[2]

    def prepared(self, preparation: Preparation) -> Self:
        """Themselves, if they have the size."""
        check_size(self.size, preparation)
        return self

    def read(self, rows: Rows) -> Images:
        """A copy of these."""
        return self.images[np.asarray(rows, np.int64)]

    def digest(self) -> str:
        """Of what is in the arrays."""
        digest = hashlib.sha256(repr(self.images.shape).encode("ascii"))
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


def in_memory(images: NDArray[Any], labels: NDArray[Any], *, name: str = "", classes: int | None = None) -> Arrays:
    """Arrays as a set, checked as `f2at.images.labelled.check_labelled` does."""
    check_labelled(images, labels, name=name, classes=classes)
    return Arrays(images=images, labels=labels.astype(np.int64, copy=False))


def check_size(size: tuple[int, int], preparation: Preparation) -> None:
    """Refuse arrays that are not of the model's size: nobody says how they were to be resized."""
    if size != preparation.size:
        accepted, received = (f"{height} x {width}" for height, width in (preparation.size, size))
        raise ValueError(f"data must be images of {accepted} for this model; got {received}")


def _places(names: Sequence[str], classes: Sequence[str], *, named: bool) -> NDArray[np.int64] | None:
    """The output of each class of the data; None if they are the outputs in their order."""
    places = {name: place for place, name in enumerate(classes)}
    unknown = [name for name in names if name not in places]
    if tuple(names) == tuple(classes) or (unknown and not named and len(names) == len(classes)):
        return None
    if unknown:
        near = suggestion(unknown[0], classes) if named else ""
        which = (
            f"the model's classes are {shortened(classes, _SHOWN)}{near}"
            if named
            else f"the model has {len(classes)} outputs without names; name them, in their order (--classes)"
        )
        raise ValueError(f"data has classes that the model has not: {shortened(unknown, _SHOWN)}; {which}")
    twice = sorted({name for name in names if list(classes).count(name) > 1})
    if twice:
        raise ValueError(
            f"classes must have different names to be matched with the data's; {shortened(twice, _SHOWN)} come twice"
        )
    return np.array([places[name] for name in names], np.int64)
