"""Where commands write: nowhere that they read, and where something can be written at all."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from f2at.bundle.format import CLASSIFIER, GRADIENT, MANIFEST, REFERENCE, SIGNATURES

_BUNDLE = (MANIFEST, CLASSIFIER, GRADIENT, REFERENCE, *SIGNATURES)


def check_outputs(outputs: Mapping[Path, str], inputs: Iterable[object]) -> None:
    """Refuse files that cannot be written, or that the command itself reads; missing folders are made.

    Args:
        outputs: options that name them, by file.
        inputs: what is read, files and bundles' folders; what is no path is left out.

    Raises:
        ValueError: with the option and the file.
    """
    read = [path.resolve() for path in inputs if isinstance(path, Path)]
    for path, option in outputs.items():
        where = path.resolve()
        if where in read or (where.parent in read and where.name in _BUNDLE):
            raise ValueError(f"{option} must not name a file that is read; got {path}")
    for path, option in outputs.items():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.touch()
            draft.unlink()
        except OSError as error:
            raise ValueError(f"{option} must name a file that can be written; {path}: {error.strerror}") from error
