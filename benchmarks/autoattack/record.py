"""What a list of attacks did to each sample, stored in a file that an interrupted run resumes from."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.autoattack.passes import Clock, Passes
from f2at.audit.suites import chosen
from f2at.images.pixels import Images, to_inputs

STANDS, CLEAN = -1, 0

Rows = NDArray[np.int64]
Found = NDArray[Any]
Attack = Callable[[Rows], Found]  # places in the chunk -> adversarial inputs (n, 3, H, W)


class Verdicts(NamedTuple):
    """The judging model's verdict on n images."""

    wrong: NDArray[np.bool_]  # by the rules of the attacks' authors
    margins: NDArray[np.float64]  # of the images: largest logit of another class minus the label's
    grid_margins: NDArray[np.float64]  # of the nearest images that lie on the uint8 grid and in the ball


Judge = Callable[[Rows, Found], Verdicts]


@dataclass
class Record:
    """N samples in the order of an audit, of which the first `done` have been through all A attacks.

    Attributes:
        about: JSON values that say what ran on what; records that agree in them are of the same run.
        attacks: names, in order.
        samples: structured (N,). "index" in the reference set; "broken_by", 0 for a sample misclassified clean, 1 + a
            for attack a, -1 for one that stands; "fell", the forward + backward passes taken when it did, or -1;
            "forward" and "backward" (A,), the passes of each attack; "margin", the largest of any image inside
            the ball; "grid_margin", that of the last image returned, on the uint8 grid.
        seconds: structured (A,). "wall" and "processor" time of the attacks, verdicts and counting apart.
        done: see above.
    """

    about: dict[str, Any]
    attacks: tuple[str, ...]
    samples: NDArray[Any]
    seconds: NDArray[Any]
    done: int = 0

    @classmethod
    def empty(cls, about: Mapping[str, Any], attacks: Sequence[str], indices: Rows) -> Self:
        """An empty record."""
        depth = (len(attacks),)
        fields = [("index", int), ("broken_by", int), ("fell", int), ("margin", float), ("grid_margin", float)]
        samples = np.zeros(len(indices), [*fields, ("forward", int, depth), ("backward", int, depth)])
        samples["index"], samples["broken_by"], samples["fell"] = indices, STANDS, -1
        return cls(dict(about), tuple(attacks), samples, np.zeros(depth, [("wall", float), ("processor", float)]))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            description = json.loads(str(file["description"]))
            attacks = tuple(description.pop("attacks"))
            return cls(attacks=attacks, samples=file["samples"], seconds=file["seconds"], **description)

    def save(self, path: Path) -> None:
        """Write all of it, atomically."""
        description = json.dumps({"about": self.about, "attacks": self.attacks, "done": self.done})
        temporary = path.with_name(f".{path.name}.partial")
        with temporary.open("wb") as file:
            np.savez_compressed(file, description=np.array(description), samples=self.samples, seconds=self.seconds)
        temporary.replace(path)


def carry_out(record: Record, path: Path, chunk: int, run: Callable[[Record, int], None]) -> Record:
    """Run what is left of a record, `chunk` samples at a time, and save after each; a file that exists is resumed.

    run: extends the record by the next samples.
    Raises ValueError for a file of another run.
    """
    if path.exists():
        found = Record.load(path)
        if json.dumps(found.about) != json.dumps(record.about) or not np.array_equal(
            found.samples["index"], record.samples["index"]
        ):
            raise ValueError(f"{path} is of another run, {found.about}; remove it or name another file")
        record = found
    path.parent.mkdir(parents=True, exist_ok=True)
    n = len(record.samples)
    with tqdm(total=n, initial=record.done, unit="image", desc=path.stem) as bar:
        while record.done < n:
            size = min(chunk, n - record.done)
            run(record, size)
            record.save(path)
            bar.update(size)
    return record


def run_chunk(
    record: Record,
    images: Images,
    passes: Passes,
    attacks: Sequence[Attack],
    judge: Judge,
    every: Sequence[int] | None = None,
) -> None:
    """Extend the record by the samples of these images: each attack in turn on those that still stand.

    attacks and judge take places among the images. every: attack a takes on one sample in every[a], as in an audit.
    """
    rows = np.arange(record.done, record.done + len(images))
    samples = record.samples[rows[0] : rows[-1] + 1]  # a view
    clean = judge(rows - rows[0], to_inputs(images))
    samples["broken_by"][clean.wrong] = CLEAN
    samples["margin"], samples["grid_margin"] = clean.margins, clean.grid_margins
    leads: dict[int, float] = {}
    for place, attack in enumerate(attacks):
        stood = rows[samples["broken_by"] == STANDS].tolist()
        standing = np.array(chosen(stood, every[place] if every else 1, leads), np.int64) - rows[0]
        if not len(standing):
            continue
        before = passes.forward.copy(), passes.backward.copy()
        passes.begin(standing)
        clock, passes.clock = Clock(), Clock()
        with clock:
            found = attack(standing)
        record.seconds[place]["wall"] += clock.wall - passes.clock.wall
        record.seconds[place]["processor"] += clock.processor - passes.clock.processor
        samples["forward"][:, place] = passes.forward - before[0]
        samples["backward"][:, place] = passes.backward - before[1]
        verdicts = judge(standing, found)
        passes.apply_verdict(standing, verdicts.wrong)
        samples["broken_by"][standing[verdicts.wrong]] = 1 + place
        samples["grid_margin"][standing] = verdicts.grid_margins
        for row, margin in zip(rows[standing].tolist(), verdicts.grid_margins.tolist(), strict=True):
            leads[row] = min(-margin, leads.get(row, np.inf))
        samples["margin"][standing] = np.maximum(samples["margin"][standing], verdicts.margins)
    samples["margin"] = np.maximum(samples["margin"], passes.margins)
    samples["fell"] = np.where(samples["broken_by"] > CLEAN, passes.fell, -1)
    record.done += len(images)
