"""Numbered places for what several processes may have only so much of at once: each is a locked file."""

import os
from collections.abc import Mapping
from pathlib import Path

from f2at.serving.process.files import acquire_lock


class Places:
    """Places that were taken; `leave` gives them back, as does the end of the process, even by kill -9."""

    def __init__(self) -> None:
        self._locks: list[int] = []

    def take(self, folders: Mapping[Path, int]) -> Path | None:
        """Take one of the places in each folder, which has as many as it is mapped to, or none at all.

        Returns:
            The folder that is full; None if the places were taken.
        """
        for folder, most in folders.items():
            tries = (acquire_lock(folder / str(number)) for number in range(most))
            lock = next((lock for lock in tries if lock is not None), None)
            if lock is None:
                self.leave()
                return folder
            self._locks.append(lock)
        return None

    def leave(self) -> None:
        """Give the places back."""
        while self._locks:
            os.close(self._locks.pop())

    def __del__(self) -> None:
        self.leave()  # of a request that ended before its answer began
