"""Three sizes of the same experiments: the paper's, one for a laptop, one for a test."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from benchmarks.paper.terms import Evaluation, Run
from f2at.attacks.attack import Attack
from f2at.attacks.registry import ATTACKS
from f2at.training.configuration.files import config_from_table
from f2at.training.configuration.options import Config
from f2at.training.cost import forward_passes
from f2at.training.methods import METHODS, SEAT
from f2at.training.methods.base import CrossEntropyMethod

PAPER_EPS = Fraction(8, 255)
_ARCHITECTURES = {"ResNet-18": "resnet18", "ResNet-50": "resnet50", "VGG-16": "vgg16_bn", "WRN-34-10": "wide_resnet"}
_AUTOATTACK = ("apgd-ce", "apgd-t", "fab-t", "square")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How an experiment is scaled down, and how a result describes that.

    Attributes:
        note: a description for the reader of a result.
        data: the data set that stands for each of the paper's: a [data] section.
        models: the [model] section that stands for each of the paper's.
        attack, optimizer, hardware: the other sections; `attack.eps` is the radius of the evaluations, too.
        images: test images evaluated; None: all.
        seeds: how many runs of each row.
        autoattack: names of the attacks that give the column AA; each keeps the parameters of the registry.
        smoothing: of the labels, for every method with a cross-entropy to smooth.
        decay: of the running average of the weights, for every method that has none of its own; 0 for none.
        settings: sections of further keys, laid over all of these and over what they leave out, such as [awp].
        passes: what a run may cost for each training image, in forward passes of the model: methods with costlier steps
            then train for fewer epochs; None: all train for `optimizer.epochs`.
        most: no attack of an evaluation takes more steps than this, nor 20 times as many queries; None: as published.
    """

    note: str
    data: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]
    attack: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    hardware: Mapping[str, Any]
    images: int | None
    seeds: int
    autoattack: Sequence[str] = _AUTOATTACK
    smoothing: float = 0.0
    decay: float = 0.0
    passes: int | None = None
    most: int | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def eps(self) -> Fraction:
        """The radius, in pixels of [0, 1], that stands for the paper's 8/255."""
        return Fraction(str({**self.attack, **self.settings.get("attack", {})}["eps"]))

    def config(self, run: Run, seed: int) -> Config:
        """The configuration of a run.

        Raises:
            ConfigError: the method, or one of its options, does not exist.
        """
        sections = {
            "data": self.data[run.data],
            "model": self.models[run.model],
            "attack": {**self.attack, **run.attack},
            "optimizer": self.optimizer,
            "hardware": self.hardware,
            "averaging": {"decay": 0.0 if run.method["name"] == SEAT.name else self.decay},
        }
        laid_over = {
            name: {**sections.get(name, {}), **self.settings.get(name, {})} for name in (*sections, *self.settings)
        }
        method = METHODS.get(run.method["name"])
        smoothed = {"label_smoothing": self.smoothing} if method and issubclass(method, CrossEntropyMethod) else {}
        config = config_from_table({**laid_over, "seed": seed, "method": {**smoothed, **run.method}})
        if self.passes is None or "epochs" in self.settings.get("optimizer", {}):
            return config
        epochs = max(1, round(self.passes / forward_passes(config)))
        return replace(config, optimizer=replace(config.optimizer, epochs=epochs))

    def evaluation(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation at this scale: AutoAttack as chosen, steps and queries capped, step sizes relative to eps."""
        attacks: Sequence[Attack] = evaluation.attacks
        if tuple(attack.name for attack in attacks) == _AUTOATTACK:
            attacks = [ATTACKS[name] for name in self.autoattack]
        return replace(evaluation, attacks=tuple(self._attack(attack) for attack in attacks))

    def _attack(self, attack: Attack) -> Attack:
        changed: dict[str, Any] = {}
        for name, value in attack.parameters.items():
            if name == "step_size" and value is not None:
                changed[name] = round(value * float(self.eps / PAPER_EPS), 6)
            elif self.most is not None and name.endswith("steps"):
                changed[name] = min(value, self.most)
            elif self.most is not None and name == "queries":
                changed[name] = min(value, 20 * self.most)
        return attack.override(**changed)


def _models(**options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {paper: {"name": name, **options.get(name, {})} for paper, name in _ARCHITECTURES.items()}


def _for_all(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return dict.fromkeys(("CIFAR-10", "CIFAR-100", "Tiny-ImageNet"), data)


_DIGITS = {"name": "digits", "crop_padding": 1, "flip": False}

SMOKE = Scale(
    note="smoke: one epoch of 8x8 digits on networks of width 4, 20 images, at most 5 steps an attack. It shows that "
    "everything runs; the numbers mean nothing.",
    data=_for_all({**_DIGITS, "size": 8, "validation": 200, "reference": 20}),
    models=_models(
        resnet18={"width": 4}, resnet50={"width": 4}, vgg16_bn={"width": 4}, wide_resnet={"depth": 10, "width": 1}
    ),
    attack={"eps": "32/255", "step_size": "8/255", "steps": 2, "validation_steps": 1, "test_steps": 1},
    optimizer={"epochs": 1, "batch_size": 50, "lr": 0.1, "schedule": "one-cycle"},
    hardware={"accelerator": "cpu"},
    images=20,
    seeds=2,
    autoattack=("apgd-ce", "square"),
    most=5,
)

_NARROW = _models(
    resnet18={"width": 16}, resnet50={"width": 16}, vgg16_bn={"width": 16}, wide_resnet={"depth": 10, "width": 2}
)

SMALL = Scale(
    note="small: digits at 16x16 and eps 32/255 in place of the paper's data, every run at the cost of 350 forward "
    "passes an image, networks of width 16 and a WRN-10-2; AA is the adaptive suite's multi-targeted attack, which "
    "stands for AutoAttack.",
    data=_for_all({**_DIGITS, "size": 16, "validation": 200, "reference": 397}),
    models=_NARROW,
    attack={"eps": "32/255", "step_size": "8/255", "steps": 7, "validation_steps": 7},
    optimizer={"batch_size": 128, "lr": 0.05, "weight_decay": 5e-4, "schedule": "one-cycle"},
    hardware={"accelerator": "auto"},
    images=397,
    seeds=2,
    autoattack=("multi-targeted",),
    passes=350,
)

FULL = Scale(
    note="full: the paper's setting (Section V-A), AutoAttack with its authors' parameters.",
    data={
        "CIFAR-10": {"name": "cifar10", "reference": 10_000},
        "CIFAR-100": {"name": "cifar100", "reference": 10_000},
        "Tiny-ImageNet": {"name": "tiny-imagenet", "size": 64, "reference": 10_000},
    },
    models=_models(),
    attack={"eps": "8/255", "step_size": 0.007, "steps": 10},
    optimizer={"epochs": 100, "batch_size": 128, "lr": 0.1, "milestones": [50, 75]},
    hardware={"accelerator": "auto", "precision": "bf16-mixed"},
    images=None,
    seeds=3,
)

SCALES: Mapping[str, Scale] = MappingProxyType({"smoke": SMOKE, "small": SMALL, "full": FULL})


def scale_for(name: str, data: str | None, seeds: int | None) -> Scale:
    """A scale by name.

    Args:
        name: a key of `SCALES`.
        data: full: the folder of the data sets (default: data); small: a folder of images, one folder per class, that
            takes the place of digits; smoke: none.
        seeds: how many, if not the scale's.

    Raises:
        ValueError: the scale has no use for `data`, or seeds is below 1.
    """
    scale = SCALES[name]
    if seeds is not None:
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1; got {seeds}")
        scale = replace(scale, seeds=seeds)
    if data is None:
        return scale
    if name == "full":
        return replace(scale, data={key: {**section, "root": data} for key, section in scale.data.items()})
    if name == "small":
        # 15 minutes per run for 50,000 images on one core with bfloat16 multiplication.
        return replace(
            scale,
            note=f"small: images of {data} in place of the paper's data, every run at the cost of 40 forward passes an "
            "image (4 to 8 epochs on N-FGSM), with a running average of the weights (0.999), labels smoothed by 0.1 "
            "and a one-cycle schedule, networks of width 16 and a WRN-10-2: far from converged; AA is the adaptive "
            "suite's multi-targeted attack, which stands for AutoAttack.",
            data=_for_all({"name": "folder", "root": data, "size": 32, "validation": 1000, "reference": 2000}),
            attack={
                "eps": "8/255",
                "kind": "n-fgsm",
                "validation_steps": 5,
                "test_steps": 5,
            },
            optimizer={"batch_size": 128, "lr": 0.2, "weight_decay": 5e-4, "schedule": "one-cycle"},
            hardware={"accelerator": "auto", "precision": "bf16-mixed"},
            images=2000,
            seeds=seeds or 1,
            smoothing=0.1,
            decay=0.999,
            passes=40,
        )
    raise ValueError(f"data must be left out at scale smoke, which has digits; got {data!r}")


def with_settings(scale: Scale, texts: Sequence[str]) -> Scale:
    """The scale with other keys of a configuration, as in "optimizer.epochs=30" or "awp.gamma=0.005".

    Raises:
        ValueError: not of that form, or a key of [method], which is what the rows of a table differ in.
    """
    settings: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        section, _, name = key.partition(".")
        if not value or not name or section in ("", "method"):
            raise ValueError(f"--set must be SECTION.KEY=VALUE with a section other than method; got {text!r}")
        try:
            settings.setdefault(section, {})[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings.setdefault(section, {})[name] = value  # text, as on the command line of training
    note = f"{scale.note} Changed: {', '.join(texts)}." if texts else scale.note
    if scale.passes and "epochs" in settings.get("optimizer", {}):
        note += " So all train for as long, whatever it costs."
    return replace(scale, settings=settings, note=note)
