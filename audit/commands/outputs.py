"""Where commands write: nowhere that they read, over nothing unasked, and where something can be written at all."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from f2at.bundle.format import CLASSIFIER, GRADIENT, MANIFEST, REFERENCE, SIGNATURES
from f2at.files import draft_of

_BUNDLE = (MANIFEST, CLASSIFIER, GRADIENT, REFERENCE, *SIGNATURES)


def check_outputs(outputs: Sequence[tuple[str, Path]], inputs: Iterable[object], *, overwrite: bool) -> None:
    """Refuse files that cannot be written, that are there, or that the command itself reads; missing folders are made.

    Args:
        outputs: every file that the command writes, after the option that names it.
        inputs: what is read, files and bundles' folders; what is no path is left out.
        overwrite: whether files that are there may be replaced.

    Raises:
        ValueError: with the option and the file.
    """
    read = [path.resolve() for path in inputs if isinstance(path, Path)]
    places = [path.resolve() for _, path in outputs]
    for number, (option, path) in enumerate(outputs):
        where = places[number]
        if path.is_dir():
            raise ValueError(f"{option} must name a file to write; {path} is a folder")
        if where in read or (where.parent in read and where.name in _BUNDLE):
            raise ValueError(f"{option} must not name a file that is read; got {path}")
        if where in places[:number]:
            raise ValueError(f"{option} must name a file of its own; {path} is another output of this command")
        if path.exists() and not overwrite:
            raise ValueError(f"{path} exists; give --overwrite or another --{option}")
    for option, path in outputs:
        draft = draft_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.touch()
            draft.unlink()
        except OSError as error:
            raise ValueError(f"{option} must name a file that can be written; {path}: {error.strerror}") from error
