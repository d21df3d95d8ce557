"""The training configuration: frozen dataclasses that check themselves. files.py reads and writes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from f2at.attacks.threat import NORMS
from f2at.images.preparation import FITS, INTERPOLATIONS, Preparation
from f2at.training.methods import FastF2AT, Method, PlainTraining
from f2at.training.methods.base import option

SIZE = 32
ON_COLLAPSE = ("warn", "stop", "second-step", "more-noise")
OPTIMIZERS = ("sgd", "adamw")
RISING = ("one-cycle", "cyclic")  # schedules with a warm-up of their own
SCHEDULES = ("piecewise", "piecewise-linear", "one-cycle", "cyclic", "cosine")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, what is accepted and what came."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_one_of(name: str, value: str, accepted: tuple[str, ...]) -> None:
    _require(value in accepted, f"{name} must be one of {', '.join(accepted)}; got {value!r}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how they are prepared."""

    name: str = option(
        "digits",
        "data set: digits, cifar10, cifar100, tiny-imagenet, or folder (pictures of your own, one folder per class)",
    )
    root: str = option("data", "folder that holds the data set (digits needs none)")
    size: int | None = option(
        None,
        "height and width of the images in pixels; others are resized (default: as the weights or the timm model have "
        f"it, otherwise {SIZE})",
    )
    fit: str = option("crop", "how others are made square: squash, crop (the centre) or pad (with black)")
    interpolation: str = option("bilinear", f"how they are resized: {', '.join(INTERPOLATIONS)}")
    validation: int | float = option(
        1000, "training images held out to choose the best checkpoint: how many, or a share (0.15) of each class"
    )
    test: float = option(0.2, "folder without test/: share of each class that is set apart as the test images")
    memory: float = option(
        1.0, "gigabytes of prepared pictures held in memory; a larger set is read from a file beside the run"
    )
    reference: int = option(1000, "test images kept with the run, on which the exported model is audited")
    crop_padding: int = option(4, "augmentation: random crop of the image padded by this many pixels; 0 for none")
    flip: bool = option(True, "augmentation: random horizontal flip")

    @property
    def preparation(self) -> Preparation:
        """What every picture goes through, here and wherever the model is deployed."""
        size = self.size or SIZE
        return Preparation((size, size), self.fit, self.interpolation)

    def __post_init__(self) -> None:
        _require(self.size is None or self.size >= 8, f"data.size must be at least 8 pixels; got {self.size}")
        _require_one_of("data.fit", self.fit, FITS)
        _require_one_of("data.interpolation", self.interpolation, tuple(INTERPOLATIONS))
        _require(
            self.validation >= 1 if isinstance(self.validation, int) else 0 < self.validation < 1,
            f"data.validation must be at least 1 image, or a share between 0 and 1; got {self.validation}",
        )
        _require(0 < self.test < 1, f"data.test must be a share between 0 and 1; got {self.test}")
        _require(self.memory >= 0, f"data.memory must be 0 gigabytes or more; got {self.memory}")
        _require(self.reference >= 1, f"data.reference must be at least 1 image; got {self.reference}")
        _require(self.crop_padding >= 0, f"data.crop_padding must be 0 or more; got {self.crop_padding}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which architecture."""

    name: str = option("resnet18", "architecture: resnet18, resnet50, wide_resnet, vgg16_bn, or timm/NAME")
    width: int | None = option(
        None, "channels of the first stage (widening factor of wide_resnet); default: the paper's"
    )
    depth: int | None = option(None, "layers; only wide_resnet has a choice")
    weights: str | None = option(
        None,
        "what to start from (fine-tuning): a checkpoint, a safetensors file of weights, or pretrained (timm's own, "
        "from the hub); the head is fresh for other classes",
    )


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """The threat model trained against, and the inner attack (Section V-A: PGD-10 on the cross-entropy)."""

    eps: Fraction = option(Fraction(8, 255), "radius of the ball; for linf the largest change of a pixel, as in 8/255")
    norm: str = option(
        "linf", f"of the ball: {', '.join(NORMS)}; others than linf go with kind = pgd, and a step_size to match"
    )
    kind: str = option("pgd", "inner attack: pgd, n-fgsm (one step from a noisy image) or none (x' = x)")
    objective: str = option("method", "what it maximises: method (the method's own), cross_entropy, kl or margin")
    step_size: Fraction = option(Fraction("0.007"), "pgd: step")
    steps: int = option(10, "pgd: steps")
    start: str = option("gaussian", "pgd: gaussian (the image + 0.001 N(0, 1)) or uniform in the ball")
    fgsm_noise: float = option(2.0, "n-fgsm: half-width of its uniform noise, in eps")
    fgsm_step: float = option(1.0, "n-fgsm: its step, in eps")
    validation_steps: int = option(10, "steps of the PGD that chooses the best checkpoint (step size eps / 4)")
    test_steps: int = option(20, "steps of the PGD on the test set, after training (step size eps / 4)")

    on_collapse: str = option(
        "warn",
        "when a model that withstands one step falls to ten: warn; stop; or go on from the best checkpoint with a "
        "second-step, or with more-noise (n-fgsm)",
    )

    def __post_init__(self) -> None:
        _require_one_of("attack.norm", self.norm, NORMS)
        if self.norm == "linf":
            _require(0 < self.eps <= 1, f"attack.eps must be above 0 and at most 1; got {self.eps}")
        else:
            _require(self.eps > 0, f"attack.eps must be above 0; got {self.eps}")
            _require(self.kind != "n-fgsm", f"attack.norm must be linf for attack.kind = n-fgsm; got {self.norm!r}")
            _require(
                self.kind == "none" or self.steps * self.step_size >= self.eps,
                "attack.step_size must be at least eps / steps, so that the attack reaches the edge of the ball in "
                f"{self.norm}; got {self.step_size} with {self.steps} steps and eps {self.eps}",
            )
        _require(self.step_size > 0, f"attack.step_size must be above 0; got {self.step_size}")
        for name in ("steps", "validation_steps", "test_steps"):
            _require(getattr(self, name) >= 1, f"attack.{name} must be at least 1; got {getattr(self, name)}")
        _require_one_of("attack.kind", self.kind, ("pgd", "n-fgsm", "none"))
        _require_one_of("attack.objective", self.objective, ("method", "cross_entropy", "kl", "margin"))
        _require_one_of("attack.start", self.start, ("gaussian", "uniform"))
        _require_one_of("attack.on_collapse", self.on_collapse, ON_COLLAPSE)
        _require(
            self.on_collapse != "more-noise" or self.kind == "n-fgsm",
            f"attack.on_collapse = more-noise needs attack.kind = n-fgsm; got {self.kind!r}",
        )
        _require(self.fgsm_noise >= 0, f"attack.fgsm_noise must be 0 or more; got {self.fgsm_noise}")
        _require(self.fgsm_step > 0, f"attack.fgsm_step must be above 0; got {self.fgsm_step}")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and the schedule of its learning rate; SGD as in Section V-A."""

    name: str = option("sgd", "sgd or adamw")
    epochs: int = option(100, "passes over the training images")
    batch_size: int = option(128, "images per step, over all processes")
    lr: float = option(0.1, "learning rate (its peak, where the schedule has one)")
    momentum: float = option(0.9, "sgd: momentum")
    weight_decay: float = option(2e-4, "weight decay")
    warmup: float = option(0.0, "epochs in which the rate rises from nothing to where the schedule has it")
    schedule: str = option("piecewise", f"of the learning rate: {', '.join(SCHEDULES)}")
    milestones: tuple[int, ...] = option(
        (50, 75), "epochs at which piecewise divides the rate by 10, and from which piecewise-linear lets it slope down"
    )

    def __post_init__(self) -> None:
        _require_one_of("optimizer.name", self.name, OPTIMIZERS)
        _require(self.epochs >= 1, f"optimizer.epochs must be at least 1; got {self.epochs}")
        _require(self.batch_size >= 2, f"optimizer.batch_size must be at least 2; got {self.batch_size}")
        _require(self.lr > 0, f"optimizer.lr must be above 0; got {self.lr}")
        _require(0 <= self.momentum < 1, f"optimizer.momentum must be in [0, 1); got {self.momentum}")
        _require(self.weight_decay >= 0, f"optimizer.weight_decay must be 0 or more; got {self.weight_decay}")
        _require_one_of("optimizer.schedule", self.schedule, SCHEDULES)
        _require(self.warmup >= 0, f"optimizer.warmup must be 0 or more epochs; got {self.warmup}")
        _require(
            not (self.warmup and self.schedule in RISING),
            f"optimizer.warmup must be 0 with optimizer.schedule = {self.schedule}, which rises by itself; "
            f"got {self.warmup}",
        )
        rising = list(self.milestones) == sorted(set(self.milestones)) and min(self.milestones, default=0) >= 0
        _require(rising, f"optimizer.milestones must be epochs in rising order; got {list(self.milestones)}")


@dataclass(frozen=True, kw_only=True)
class AveragingConfig:
    """A running average of the weights, which is evaluated and saved in their place; for any method."""

    decay: float = option(0.0, "its largest decay, as in 0.999; warms up as min(decay, (t + 1) / (t + 10)); 0 for none")

    def __post_init__(self) -> None:
        _require(0 <= self.decay < 1, f"averaging.decay must be in [0, 1); got {self.decay}")


@dataclass(frozen=True, kw_only=True)
class AWPConfig:
    """Adversarial weight perturbation (Wu et al., 2020): each step is taken at the worst weights nearby."""

    gamma: float = option(0.0, "size of the perturbation relative to each weight, as in 0.005; 0 for none")
    warmup: int = option(0, "epochs at the beginning that go without")

    def __post_init__(self) -> None:
        _require(self.gamma >= 0, f"awp.gamma must be 0 or more; got {self.gamma}")
        _require(self.warmup >= 0, f"awp.warmup must be 0 or more; got {self.warmup}")


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Where to run (Lightning Fabric's terms)."""

    accelerator: str = option("auto", "auto, cpu or cuda")
    devices: int = option(1, "processes, one a device")
    precision: str = option("32-true", "32-true, bf16-mixed or 16-mixed")

    def __post_init__(self) -> None:
        _require_one_of("hardware.accelerator", self.accelerator, ("auto", "cpu", "cuda"))
        _require_one_of("hardware.precision", self.precision, ("32-true", "bf16-mixed", "16-mixed"))
        _require(self.devices >= 1, f"hardware.devices must be at least 1; got {self.devices}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole training run. Two runs of equal configuration give the same weights on the same machine."""

    seed: int = option(0, "seed of every random draw")
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    method: Method = field(default_factory=PlainTraining)
    attack: AttackConfig = field(default_factory=AttackConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
    awp: AWPConfig = field(default_factory=AWPConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)

    def __post_init__(self) -> None:
        _require(
            not (self.averaging.decay and self.method.averaging),
            f"averaging.decay must be 0 with method.name = {self.method.name}, which averages by itself "
            f"(method.decay); got {self.averaging.decay}",
        )
        _require(
            not (self.awp.gamma and self.hardware.precision == "16-mixed"),
            "awp.gamma needs hardware.precision 32-true or bf16-mixed: it reads gradients, which 16-mixed scales",
        )

        for name, value, wanted in (
            ("attack.kind", self.attack.kind, ("pgd", "n-fgsm")),
            ("hardware.precision", self.hardware.precision, ("32-true", "bf16-mixed")),
        ):
            _require(
                not isinstance(self.method, FastF2AT) or value in wanted,
                f"{name} must be {' or '.join(wanted)} with method.name = {self.method.name}; got {value!r}",
            )

    @property
    def adversarial(self) -> bool:
        """Whether the loss is taken on adversarial examples; if so, PGD chooses the best checkpoint."""
        return self.method.adversarial and self.attack.kind != "none"

    @property
    def decay(self) -> float:
        """Of the running average of the weights, the method's or one asked for; 0 for none."""
        return self.method.averaging or self.averaging.decay


SECTIONS: Mapping[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    "attack": AttackConfig,
    "optimizer": OptimizerConfig,
    "averaging": AveragingConfig,
    "awp": AWPConfig,
    "hardware": HardwareConfig,
}
