"""Trains and evaluates what is missing, and stores both, so that nothing is computed twice."""

import hashlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.paper.evaluation import evaluate
from benchmarks.paper.experiments import sat, surrogate
from benchmarks.paper.scales import Scale
from benchmarks.paper.terms import Column, Evaluation, Experiment, Record, Row, Run
from f2at.attacks.attack import Attack
from f2at.images.sets.npz import read_labelled
from f2at.models import Classifier, load_checkpoint
from f2at.training.configuration.files import config_to_table
from f2at.training.configuration.options import Config, ConfigError, DataConfig
from f2at.training.cost import forward_passes
from f2at.training.critic import train_critics
from f2at.training.data import Dataset, ImageSet, hold_out, load_dataset
from f2at.training.divergence import DivergenceError
from f2at.training.hardware import open_fabric
from f2at.training.loop import Trainer, train
from f2at.training.methods import F2AT
from f2at.training.methods.donsker_varadhan import save_critics
from f2at.training.runs.folder import RunFolder

EVALUATION_VERSION = 1  # raise it when `evaluate` changes what it measures; stored evaluations are then redone


@dataclass(frozen=True)
class Outcome:
    """The outcome of a row: for each seed, the records of the experiment's evaluations, or why there are none."""

    row: Row
    records: Sequence[Sequence[Record]]
    refusal: str | None = None

    def values(self, experiment: Experiment, column: Column) -> list[float]:
        """The column's number for each seed that has one: a class may have no images."""
        place = experiment.evaluations.index(column.evaluation)
        values = [column.value(records[place]) for records in self.records]
        return [value for value in values if not math.isnan(value)]


class Runner:
    """The runs of one scale in one folder.

    Args:
        scale: sizes and settings.
        folder: holds a run folder for each configuration, and its evaluations inside, in evaluations/.
        progress: report progress on stderr.
    """

    def __init__(self, scale: Scale, folder: Path, *, progress: bool = True) -> None:
        self.scale, self.folder, self._progress = scale, folder, progress

    def rows(self, experiment: Experiment) -> list[Row]:
        """The rows that differ at this scale: where one data set stands for several, the first of equal runs."""
        seen: list[tuple[Any, ...]] = []
        kept = []
        for row in experiment.rows:
            section, model = (dict(m) for m in (self.scale.data[row.run.data], self.scale.models[row.run.model]))
            key = (str(section), str(model), row.run.method, row.run.attack)
            if key not in seen:
                seen.append(key)
                kept.append(row)
        return kept

    def config(self, run: Run, seed: int) -> Config:
        """The configuration of a run at this scale; critics that it needs are those learned on SAT's first run.

        Raises:
            ConfigError: the method, or one of its options, does not exist.
        """
        if run.method.get("estimator") == "donsker-varadhan":
            teacher = self.path(self.scale.config(sat(run), 0))
            critic = self.folder / "critics" / f"{teacher.name}-K{run.method['planes']}.safetensors"
            run = replace(run, method={**run.method, "critic": str(critic)})
        return self.scale.config(run, seed)

    def path(self, config: Config) -> Path:
        """The folder of a run: readable, and different for any two configurations."""
        digest = _digest(config_to_table(config))
        return self.folder / f"{config.data.name}-{config.model.name}-{config.method.name}-{digest}-seed{config.seed}"

    def missing(self, experiment: Experiment) -> Iterator[Config]:
        """The configurations that the experiment needs and that are not trained yet; impossible ones are left out."""
        seen = set()
        for row in self.rows(experiment):
            runs = [(row.run, seed) for seed in range(self.scale.seeds)]
            if any(evaluation.transfers for evaluation in experiment.evaluations):
                runs.append((surrogate(row.run), 0))
            for run, seed in runs:
                try:
                    config = self.config(run, seed)
                except ConfigError:
                    continue
                path = self.path(config)
                if path not in seen and not _finished(path):
                    seen.add(path)
                    yield config

    def run(self, experiment: Experiment) -> list[Outcome]:
        """Train and evaluate every row; one that cannot be trained is refused with its reason; the others continue."""
        return [self._row(experiment, row) for row in self.rows(experiment)]

    def _row(self, experiment: Experiment, row: Row) -> Outcome:
        try:
            models = [self._model(row.run, seed) for seed in range(self.scale.seeds)]
            if experiment.best_seed:
                models = [max(models, key=lambda model: model.score)]
            other = None
            if any(evaluation.transfers for evaluation in experiment.evaluations):
                other = self._model(surrogate(row.run), 0)
            records = [
                [self._evaluate(row, model, other, evaluation) for evaluation in experiment.evaluations]
                for model in models
            ]
        except (ConfigError, DivergenceError) as error:
            self._say(f"{row.name}: refused: {error}")
            return Outcome(row, [], str(error))
        return Outcome(row, records)

    def _model(self, run: Run, seed: int) -> "Trained":
        config = self.config(run, seed)
        path = self.path(config)
        if not _finished(path):
            if isinstance(config.method, F2AT) and config.method.critic:
                self._learn_critics(Path(config.method.critic), self._model(sat(run), 0), config.method.planes)
            self._say(f"train {path}")
            train(config, path, progress=self._progress)
        return Trained(path, config)

    def _learn_critics(self, file: Path, teacher: "Trained", planes: int) -> None:
        if not file.is_file():
            self._say(f"learn {file}")
            file.parent.mkdir(parents=True, exist_ok=True)
            critics, bounds = train_critics(teacher.path, planes=planes, progress=self._progress)
            save_critics(file, critics, bounds=bounds)

    def _evaluate(self, row: Row, model: "Trained", other: "Trained | None", evaluation: Evaluation) -> Record:
        scaled = self.scale.evaluation(evaluation)
        other = other if evaluation.transfers else None
        request = {
            "version": EVALUATION_VERSION,
            "attacks": [{"name": attack.name, **attack.parameters} for attack in scaled.attacks],
            "eps": str(self.scale.eps),
            "times": scaled.eps,
            "images": self.scale.images,
            "surrogate": None if other is None else other.path.name,
        }
        name = "+".join(attack.name for attack in scaled.attacks) or "clean"
        file = model.path / "evaluations" / f"{name}-{_digest(request)}.json"
        if file.is_file():
            kept: Record = json.loads(file.read_text())
            return kept
        self._say(f"evaluate {row.name}: {name} on {model.path.name}")
        images, labels = model.reference(self.scale.images)
        started = time.perf_counter()
        record = evaluate(
            model.module, None if other is None else other.module, images, labels, scaled, eps=self.scale.eps
        )
        record |= {"request": request, "seconds": round(time.perf_counter() - started, 2)}
        file.parent.mkdir(exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(record))
        temporary.replace(file)
        return record

    def _say(self, text: str) -> None:
        if self._progress:
            print(text, file=sys.stderr)


class Trained:
    """A finished run: its best checkpoint on the device that it was trained for, and its test images."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self._config = path, config

    @cached_property
    def _checkpoint(self) -> tuple[Classifier, Mapping[str, Any]]:
        model, info = load_checkpoint(RunFolder(self.path).best)
        return model.to(_device(self._config)), info.metrics

    @property
    def module(self) -> Classifier:
        """The model, in eval mode."""
        return self._checkpoint[0]

    @property
    def score(self) -> float:
        """Validation accuracy under PGD, or on clean images for a model that was trained on those."""
        validation = self._checkpoint[1]["validation"]
        return float(validation.get("robust", validation["clean"]))

    def reference(self, count: int | None) -> tuple[np.ndarray, np.ndarray]:
        """The first `count` labelled test images, uint8 (N, H, W, 3), drawn once and for all by training."""
        images, labels = read_labelled(RunFolder(self.path).reference, name="reference")
        return images[:count], labels[:count]


def estimate(runner: Runner, experiment: Experiment) -> tuple[float, list[str]]:
    """Seconds that the experiment will take, from a few timed steps of each kind of run, and lines that say why.

    Evaluations are counted on every second image for all steps of its attacks.
    """
    total, lines = 0.0, []
    sizes: dict[DataConfig, int] = {}
    times: dict[Config, float] = {}
    spent = sum(gradients(a) for e in experiment.evaluations for a in runner.scale.evaluation(e).attacks)
    for config in runner.missing(experiment):
        kind = replace(config, seed=0)
        if config.data not in sizes:
            sizes[config.data] = len(hold_out(load_dataset(config.data).train.labels, config.data.validation)[0])
        if kind not in times:
            times[kind] = seconds_per_image(config)
        training = times[kind] * sizes[config.data] * config.optimizer.epochs
        gradient = times[kind] * 2 / forward_passes(config)
        evaluating = gradient * spent * (runner.scale.images or 10_000) / 2
        total += training + evaluating
        lines.append(
            f"{runner.path(config).name}: training {training / 3600:.1f} h, evaluation {evaluating / 3600:.1f} h"
        )
    return total, lines


def gradients(attack: Attack) -> float:
    """What an attack may spend per image, in gradients; a forward pass of one that follows none counts half."""
    return attack.most_per_sample * (0.5 if attack.knowledge == "black-box" else 1.0)


def seconds_per_image(config: Config) -> float:
    """Time of a training step per image, in the training loop itself, on random images.

    The fixed cost of a run is subtracted: steps are added until they take as long as it does.
    """
    batch = config.optimizer.batch_size if _device(config).type == "cuda" else 8
    optimizer = replace(config.optimizer, epochs=1, batch_size=batch)
    config = replace(config, optimizer=optimizer, data=replace(config.data, validation=2))

    def run(count: int) -> float:
        size, rng = config.data.preparation.size[0], np.random.default_rng(0)
        pixels = rng.integers(256, size=(2 + count * batch, 3, size, size), dtype=np.uint8)
        data = ImageSet(torch.from_numpy(pixels), torch.arange(len(pixels)) % 10)
        dataset = Dataset(data, ImageSet(data.images[:2], data.labels[:2]), tuple("0123456789"))
        fabric = open_fabric(replace(config.hardware, devices=1))
        fabric.launch()
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(config, dataset, RunFolder(Path(folder)), fabric, progress=False)
            started = time.perf_counter()
            trainer.run()
            return time.perf_counter() - started

    run(1)  # warm-up: the first run pays one-time costs
    base, steps = min(run(1), run(1)), 4
    while (seconds := run(1 + steps)) < 2 * base:
        steps *= 2
    return (seconds - base) / (steps * batch)


def _device(config: Config) -> torch.device:
    cuda = config.hardware.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if cuda else "cpu")


def _finished(path: Path) -> bool:
    folder = RunFolder(path)
    return folder.last.is_file() and not folder.state.is_file()


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
