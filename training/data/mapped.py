"""Images that are too many for memory: uint8 in a file, of which a batch is read when it is asked for."""

import hashlib
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f2at.files import replacing
from f2at.images.preparation import Preparation


class MappedImages:
    """Some of the images of a file that is mapped into memory; used as a tensor (N, 3, H, W) of uint8 is.

    What is read is copied, and the file's pages are let go of: resident memory does not grow with what was read, and
    what the system keeps of the file is free to be taken.

    Args:
        path: uint8 (M, H, W, 3), without a header.
        size: (H, W).
        rows: int64 (N,), the images that count; None for all.
    """

    def __init__(self, path: Path, size: tuple[int, int], rows: Tensor | None = None) -> None:
        self.path, self.size = path, size
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._pixels = np.frombuffer(self._map, np.uint8).reshape(-1, *size, 3)
        self.rows = torch.arange(len(self._pixels)) if rows is None else rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, H, W)."""
        return len(self.rows), 3, *self.size

    def select(self, rows: Tensor) -> "MappedImages":
        """Those of these numbers, in their order; nothing is read."""
        return MappedImages(self.path, self.size, self.rows[rows])

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Images as a tensor on the CPU, (n, 3, H, W)."""
        rows = self.rows[index if isinstance(index, slice) else index.cpu()]
        pixels = torch.from_numpy(self._pixels[rows.numpy()])
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
        return pixels.permute(0, 3, 1, 2).contiguous()  # in memory as a set that is held there is, for equal results

    def split(self, size: int) -> Iterator[Tensor]:
        """All of them, in parts."""
        return (self[start : start + size] for start in range(0, len(self.rows), size))


def listing_digest(files: Iterable[Path], root: Path, preparation: Preparation) -> str:
    """Of the names, sizes and times of files, and of what is made of them."""
    digest = hashlib.sha256(repr(preparation).encode())
    for file in files:
        found = file.stat()
        name = file.relative_to(root).as_posix()
        digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def write_mapped(path: Path, images: Iterable[NDArray[np.uint8]]) -> None:
    """Write images (H, W, 3) to a file, all or nothing.

    Raises:
        OSError: it cannot be written, for want of space for example.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, draft.open("wb") as file:
        for image in images:
            file.write(np.ascontiguousarray(image).data)
