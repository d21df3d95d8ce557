"""The training loop, on Lightning Fabric (device, precision, several processes)."""

import math
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from f2at import __version__
from f2at.models import CheckpointInfo, Classifier, load_checkpoint, save_checkpoint
from f2at.training.collapse import count_collapses, harden, notice_collapse
from f2at.training.configuration.files import config_from_table, config_to_table, load_config
from f2at.training.configuration.options import AttackConfig, Config
from f2at.training.cost import Stopwatch, foresee
from f2at.training.data import Dataset, ImageSet, draw_images, hold_out, load_dataset
from f2at.training.data.feed import Feed
from f2at.training.data.folder import describe
from f2at.training.divergence import require_finite
from f2at.training.evaluation import evaluate
from f2at.training.hardware import open_fabric
from f2at.training.inner_attack import begin, draw_noise, find_adversarial
from f2at.training.methods.base import SharedPass
from f2at.training.runs.curves import draw_curves
from f2at.training.runs.folder import RunFolder
from f2at.training.runs.state import restore, to_tensors
from f2at.training.schedule import create_optimizer, learning_rate
from f2at.training.step import TrainingStep
from f2at.training.weights.averaging import WeightAverage
from f2at.training.weights.batch_norm import running_statistics
from f2at.training.weights.folded import FoldedModel
from f2at.training.weights.initial import starting_model, with_size
from f2at.training.weights.perturbation import weight_perturbation

CHECK_EVERY = 20  # steps between looks at the loss; looking makes the host wait for the device


def train(
    config: Config | Mapping[str, Any] | str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train as configured and write the run folder; an interrupted run resumes where it stopped.

    Args:
        config: everything that decides the result: a TOML file, as in configs/, or its content as a mapping.
        output: the run folder.
        overwrite: start again in a folder that holds a run.
        progress: show a bar for each epoch.

    Returns:
        The metrics of the best checkpoint: its epoch, and clean and robust accuracy on validation and test images.

    Raises:
        ValueError: anything in the configuration, the data or the folder that cannot be used, or a device or precision
            that this machine does not have.
        DivergenceError: the loss became infinite or not a number.
    """
    if isinstance(config, Mapping):
        config = config_from_table(config)
    elif not isinstance(config, Config):
        config = load_config(Path(config), {})
    config = with_size(config)
    folder = RunFolder(Path(output))
    if "LOCAL_RANK" not in os.environ:  # before other processes start; they would only repeat the refusal
        folder.check(config, overwrite=overwrite)
    fabric = open_fabric(config.hardware)
    dataset = load_dataset(config.data, folder.images)
    fabric.launch()
    trainer = Trainer(config, dataset, folder, fabric, progress=progress and fabric.is_global_zero)
    # Only now, when nothing can be wrong with the request any more, is anything written.
    if fabric.is_global_zero:
        for note in (*dataset.notes, *trainer.notes):
            tqdm.write(note, file=sys.stderr)
        folder.prepare(config, overwrite=overwrite)
        folder.save_split(trainer.split)
        folder.save_reference(draw_images(dataset.test, config.data.reference))
    fabric.barrier()
    return trainer.run()


class Trainer:
    """One run: the model, its optimizer and what has been measured so far."""

    def __init__(self, config: Config, dataset: Dataset, folder: RunFolder, fabric: Fabric, *, progress: bool) -> None:
        self.config, self.dataset, self.folder, self.fabric, self.progress = (
            config,
            dataset,
            folder,
            fabric,
            progress,
        )
        kept, held_out = hold_out(dataset.train.labels, config.data.validation)
        train_set, self.validation_set = dataset.train.select(kept), dataset.train.select(held_out)
        self.feed = Feed(train_set, config, fabric.device, fabric.global_rank, fabric.world_size)
        self.rows: list[dict[str, Any]] = []

        torch.manual_seed(config.seed)
        model, self.architecture, note = starting_model(config.model, config.data, dataset.classes, train_set.images)
        self.notes = [note] if note else []
        self.split: dict[str, list[str]] = {}
        if dataset.train_files:
            parts = {"train": train_set.labels, "validation": self.validation_set.labels, "test": dataset.test.labels}
            self.notes.append(describe(parts, dataset.classes))
            rows = {"train": kept.sort().values, "validation": held_out.sort().values}
            self.split = {part: [dataset.train_files[row] for row in rows[part]] for part in rows}
            self.split["test"] = sorted(dataset.test_files)
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizer = create_optimizer(config.optimizer, self.model)
        self.average = WeightAverage(self.model, config.decay) if config.decay else None
        config.method.check(self.model)

    @property
    def result(self) -> Classifier:
        """The model that is evaluated and saved: the running average of the weights, where there is one."""
        return self.average.model if self.average else self.model

    def run(self) -> dict[str, Any]:
        """All epochs that are left, then the best checkpoint's accuracy on the test images."""
        saved = self.folder.load_state()
        if saved is not None:
            tensors, self.rows = saved
            restore(tensors, self.model, self.optimizer, self.average)
        self.objective = TrainingStep(self.model, self.config.method)
        self.step, self.wrapped_optimizer = self.fabric.setup(self.objective, self.optimizer)
        self.result.to(self.fabric.device)
        self.folded = FoldedModel(self.model)  # what the inner attack is run on
        self.stopwatch = Stopwatch()
        for epoch in range(len(self.rows), self.config.optimizer.epochs):
            collapses = self.fabric.broadcast(count_collapses(self.rows))
            if collapses.now and self.config.attack.on_collapse == "stop":
                break
            attack = harden(self.config.attack, collapses.times)
            if collapses.now and collapses.sound and attack != self.config.attack:
                self._return_to_best()
            terms = self._epoch(epoch, attack)
            if self.fabric.is_global_zero:
                self._record(epoch, terms)
            self.fabric.barrier()
        return self._finish() if self.fabric.is_global_zero else {}

    def _return_to_best(self) -> None:
        """The best checkpoint's weights, with fresh momenta."""
        best, _ = load_checkpoint(self.folder.best)
        for model in (self.model, self.result):
            model.load_state_dict(best.state_dict())
        self.optimizer.state.clear()

    def _epoch(self, epoch: int, attack: AttackConfig) -> dict[str, float]:
        """One pass over the training images, with this inner attack; the mean of each term of the loss."""
        config, fabric = self.config, self.fabric
        # Every draw of an epoch follows from (seed, epoch), so a resumed run repeats them.
        rng = np.random.default_rng((config.seed, epoch))
        feed, total = self.feed.epoch(rng), self.feed.batches
        generator = torch.Generator(fabric.device).manual_seed(int(rng.integers(2**62)))
        self.objective.method = config.method.at(epoch)
        self.model.train()
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=fabric.device))
        bar = tqdm(
            feed,
            total=total,
            desc=f"epoch {epoch + 1:>3}/{config.optimizer.epochs}",
            unit="batch",
            disable=not self.progress,
        )
        for index, (images, labels) in enumerate(bar):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(config.optimizer, epoch + index / total)
            adversarial, shared = images, None
            if config.adversarial:
                whole = (len(images) * fabric.world_size, *images.shape[1:])
                noise = draw_noise(attack, whole, generator)[fabric.global_rank :: fabric.world_size]
                with fabric.autocast():
                    shared = self.objective.method.share(self.model, begin(images, noise, attack), labels)
                adversarial = find_adversarial(
                    self.folded.fold(),
                    images,
                    labels,
                    attack,
                    noise,
                    fabric.autocast(),
                    inner=config.method.inner,
                    first=shared.direction if shared else None,
                )
            perturb = config.awp.gamma > 0 and epoch >= config.awp.warmup
            terms = self._update(images, adversarial, labels, shared, perturb=perturb)
            for name, value in terms.items():
                sums[name] += value.detach()
            if index % CHECK_EVERY == 0 or index == total - 1:
                means = {name: float(value) / (index + 1) for name, value in sums.items()}
                require_finite(means, epoch)
                bar.set_postfix(loss=f"{means['loss']:.3f}")
            seconds = self.stopwatch.beat(len(images), last=index == total - 1)
            if seconds and self.progress:
                self._say_outlook(seconds, config.optimizer.epochs - epoch)
        return means

    def _say_outlook(self, seconds: float, epochs: int) -> None:
        """How long the run will take, at so many seconds per image."""
        images = self.feed.count // self.fabric.world_size
        validation, test = len(self.validation_set.labels), len(self.dataset.test.labels)
        outlook = foresee(self.config, seconds, images=images, validation=validation, test=test, epochs=epochs)
        tqdm.write(outlook.line(epochs), file=sys.stderr)

    def _update(
        self, images: Tensor, adversarial: Tensor, labels: Tensor, shared: SharedPass | None, *, perturb: bool
    ) -> dict[str, Tensor]:
        """One step of the optimizer, at adversarially perturbed weights if `perturb`; the terms of the loss there."""
        perturbed: AbstractContextManager[None] = nullcontext()
        if perturb:
            self.wrapped_optimizer.zero_grad()
            with running_statistics(self.model, update=False):
                self.fabric.backward(self.step(images, adversarial, labels)["loss"])
            perturbed = weight_perturbation(self.model, self.config.awp.gamma)
        with perturbed:
            self.wrapped_optimizer.zero_grad()
            terms: dict[str, Tensor] = self.step(images, adversarial, labels)
            if shared:
                terms |= {"loss": terms["loss"] + shared.term, **shared.terms}
            self.fabric.backward(terms["loss"])
            self.wrapped_optimizer.step()
        if self.average:
            self.average.update(self.model)
        return terms

    def _record(self, epoch: int, terms: Mapping[str, float]) -> None:
        """Measure on the validation images, and save what the run would need if it stopped here."""
        self.result.eval()
        steps = self.config.attack.validation_steps if self.config.adversarial else 0
        validation = self._evaluated(self.result, self.validation_set, steps)
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            **terms,
            **{f"validation_{name}": value for name, value in validation.items()},
        }
        if self.config.adversarial:  # the model, not its average, which lags behind
            row |= notice_collapse(self.model.eval(), self.validation_set, self.config.attack, epoch + 1)
        best = max(map(self._score, self.rows), default=-math.inf)
        self.rows.append(row)
        if self._score(row) > best:
            save_checkpoint(self.folder.best, self.result, self._info({"epoch": epoch + 1, "validation": validation}))
        self.folder.save_metrics(self.rows)
        self.folder.save_state(to_tensors(self.model, self.optimizer, self.average), self.rows)
        if self.progress:
            shown = "  ".join(f"{name} {value:.1%}" for name, value in validation.items())
            tqdm.write(f"epoch {epoch + 1:>3}  loss {row['loss']:.3f}  validation: {shown}", file=sys.stderr)

    def _evaluated(self, model: Classifier, data: ImageSet, steps: int) -> dict[str, float]:
        attack = self.config.attack
        return evaluate(model, data, eps=float(attack.eps), norm=attack.norm, steps=steps)

    def _score(self, row: Mapping[str, Any]) -> float:
        """By which the best epoch is chosen; one that collapsed is behind all that did not."""
        key = "validation_robust" if self.config.adversarial else "validation_clean"
        return float(row[key]) - bool(row.get("collapsed"))

    def _finish(self) -> dict[str, Any]:
        """Save the last checkpoint and the curves, and measure the best one on the test images."""
        attack = self.config.attack
        save_checkpoint(self.folder.last, self.result, self._info({"epoch": len(self.rows)}))
        draw_curves(self.rows, self.folder.curves)
        model, info = load_checkpoint(self.folder.best)
        model.to(self.fabric.device)
        test = self._evaluated(model, self.dataset.test, attack.test_steps)
        metrics = {
            **info.metrics,
            "test": {**test, "images": len(self.dataset.test.labels), "attack": f"PGD-{attack.test_steps}"},
        }
        save_checkpoint(self.folder.best, model, self._info(metrics))
        self.folder.state.unlink(missing_ok=True)
        return metrics

    def _info(self, metrics: Mapping[str, Any]) -> CheckpointInfo:
        return CheckpointInfo(
            architecture=self.architecture,
            classes=self.dataset.classes,
            input_size=self.config.data.preparation.size,
            dataset=self.config.data.name,
            fit=self.config.data.fit,
            interpolation=self.config.data.interpolation,
            recipe=config_to_table(self.config),
            metrics=metrics,
            versions={"python": platform.python_version(), "f2at": __version__, "torch": version("torch")},
        )
