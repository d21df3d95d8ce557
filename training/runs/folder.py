"""The folder of a run: what is in it, and when it may be written.

config.toml          the configuration, complete
metrics.jsonl        one row per epoch
curves.png           the same as a picture
best.safetensors     the checkpoint chosen on the validation images
last.safetensors     the checkpoint of the last epoch
split.csv            which picture of a folder of one's own is trained on, validated and tested with
reference.npz        labelled test images, on which the exported model is audited
state.safetensors    what an interrupted run needs to resume; gone when the run is finished

Beside it, in .images/, are prepared images that are too many for memory, for all runs there.
"""

import csv
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from f2at.models.checkpoint import load_tensors, save_tensors
from f2at.training.configuration.files import config_from_table, config_to_table
from f2at.training.configuration.options import Config, ConfigError
from f2at.training.data import ImageSet

_SPLIT = ("part", "file")


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says what to do."""


class RunFolder:
    """A training run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.curves = path / "curves.png"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.split = path / "split.csv"
        self.reference = path / "reference.npz"
        self.state = path / "state.safetensors"
        self.images = path.parent / ".images"

    def prepare(self, config: Config, *, overwrite: bool) -> None:
        """Make the folder ready for this configuration: a new one, or one that was interrupted under the same.

        Raises:
            RunError: as `check` does.
        """
        self.check(config, overwrite=overwrite)
        if overwrite:
            for file in self._files():
                file.unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        self.config.write_text(tomli_w.dumps(config_to_table(config)))

    def check(self, config: Config, *, overwrite: bool) -> None:
        """Whether the folder can be used for this configuration; changes nothing.

        Raises:
            RunError: the folder holds a finished run, a run of another configuration, or something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"output {self.path} is a file; a folder is needed")
        if self.path.is_dir() and any(self.path.iterdir()):
            if not self.config.is_file():
                raise RunError(f"output {self.path} is not empty and holds no run; choose another folder")
            if overwrite:
                self._require_nothing_else()
                return
            if self.last.is_file() and not self.state.is_file():
                raise RunError(f"output {self.path} holds a finished run; choose another folder or pass --overwrite")
            found, table = _completed(tomllib.loads(self.config.read_text())), config_to_table(config)
            if found != table:
                raise RunError(
                    f"output {self.path} holds an interrupted run with another configuration "
                    f"({_difference(found, table)}); choose another folder or pass --overwrite"
                )

    def _files(self) -> tuple[Path, ...]:
        return (self.config, self.metrics, self.curves, self.best, self.last, self.split, self.reference, self.state)

    def _require_nothing_else(self) -> None:
        """Whatever is replaced must be this package's to replace; a killed run leaves `.NAME.PID` behind."""
        own = {file.name for file in self._files()}
        foreign = sorted(
            file.name for file in self.path.iterdir() if file.name not in own and file.stem.removeprefix(".") not in own
        )
        if foreign:
            raise RunError(f"output {self.path} also holds {foreign[0]}, which is no part of a run; move it away first")

    def save_split(self, parts: Mapping[str, Sequence[str]]) -> None:
        """Note which files each part is made of, where they are known, or check that they still are those.

        Raises:
            RunError: an interrupted run began with other pictures.
        """
        if not parts:
            return
        rows = [(part, file) for part, files in parts.items() for file in files]
        if self.split.is_file():
            with self.split.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                before = {tuple(row) for row in csv.reader(file)} - {_SPLIT}
            came, went = set(rows) - before, before - set(rows)
            if came or went:
                raise RunError(
                    f"output {self.path} holds an interrupted run of other pictures: {len(came)} have come or moved, "
                    f"{len(went)} are gone ({next(iter(sorted(went or came)))[-1]}, for one); put them back, choose "
                    "another folder or pass --overwrite"
                )
            return
        with self.split.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([_SPLIT, *rows])

    def save_reference(self, data: ImageSet) -> None:
        """Keep labelled uint8 images (N, H, W, 3)."""
        np.savez_compressed(
            self.reference,
            images=data.images[:].permute(0, 2, 3, 1).contiguous().numpy(),
            labels=data.labels.numpy(),
        )

    def save_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """All rows so far, one JSON object per line."""
        self.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def save_state(self, tensors: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Weights and optimizer state after the last row's epoch."""
        save_tensors(self.state, tensors, {"rows": list(rows)})

    def load_state(self) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """What `save_state` saved, or None if the run starts from the beginning."""
        if not self.state.is_file():
            return None
        tensors, description = load_tensors(self.state)
        return tensors, description["rows"]


def _completed(table: dict[str, Any]) -> dict[str, Any]:
    """With the values of options that did not exist yet when it was written."""
    try:
        return config_to_table(config_from_table(table))
    except ConfigError:
        return table


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str:
    """The first key in which two configurations differ."""
    for key in sorted({*found, *wanted}):
        left, right = found.get(key), wanted.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping) and left != right:
            return _difference(left, right, f"{prefix}{key}.")
        if left != right:
            return f"{prefix}{key} is {left!r} there and {right!r} here"
    return "no difference"
