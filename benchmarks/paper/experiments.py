"""What each table and figure of the paper needs, in the terms of terms.py.

`EXPERIMENTS` is the whole list. A row states its training run in the paper's terms; a `Scale` (scales.py) turns that
into a configuration that fits a GPU, a laptop or a test. Where the paper leaves open what a figure shows, its entry
says so.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.paper.published import BLACK_BOX, WHITE_BOX
from benchmarks.paper.terms import Column, Evaluation, Experiment, Record, Row, Run
from f2at.attacks.registry import ATTACKS


def accuracy(record: Record) -> float:
    """Share of images that are classified correctly, clean and attacked."""
    return 100 * float(np.mean(record["right"]))


def _class_accuracy(label: int) -> Callable[[Record], float]:
    """The same among the images of one class; not a number if there is none."""

    def value(record: Record) -> float:
        mine = np.array(record["right"])[np.array(record["labels"]) == label]
        return 100 * float(mine.mean()) if len(mine) else float("nan")

    return value


def _natural_accuracy(planes: int) -> Callable[[Record], float]:
    return lambda record: _percent(record["natural_accuracy"][planes - 1])


def _natural_difference(planes: int) -> Callable[[Record], float]:
    return lambda record: _percent(record["natural_difference"][planes - 1])


def _flipped(plane: int) -> Callable[[Record], float]:
    return lambda record: _percent(record["flipped_bits"][plane])


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share


def _mean_confidence(record: Record) -> float:
    return 100 * float(np.mean(record["confidence"]))


_STEP = 0.007  # Section V-A, at its eps of 8/255
_PGD = ATTACKS["pgd"].override(step_size=_STEP)
# Figures of adversarial images need those that all steps have worked on, not the first that fool the model.
_FULL_PGD = Evaluation((_PGD.override(stop_at_success=False),))
_FULL_CW = Evaluation((ATTACKS["cw"].override(stop_at_success=False),))
_CLEAN = Evaluation()
_AUTOATTACK = tuple(ATTACKS[name] for name in ("apgd-ce", "apgd-t", "fab-t", "square"))

_WHITE_BOX_ATTACKS = ((), (_PGD,), (_PGD.override(steps=100),), (ATTACKS["mi-fgsm"],), (ATTACKS["cw"],), _AUTOATTACK)
_BLACK_BOX_ATTACKS = (
    ATTACKS["transfer-fgsm"],
    ATTACKS["transfer-pgd"].override(step_size=_STEP),
    *(ATTACKS[f"transfer-{name}"] for name in ("ti", "mi", "di", "vmi")),
)
_WHITE_BOX = {
    name: Column(name, Evaluation(attacks), accuracy)
    for name, attacks in zip(WHITE_BOX, _WHITE_BOX_ATTACKS, strict=True)
}
_SUMMARY = [
    *(_WHITE_BOX[name] for name in ("Clean", "PGD-20")),
    Column("APGD", Evaluation((ATTACKS["apgd-ce"],)), accuracy),
    _WHITE_BOX["AA"],
]
_BLACK_BOX = [
    Column(name, Evaluation((attack,)), accuracy) for name, attack in zip(BLACK_BOX, _BLACK_BOX_ATTACKS, strict=True)
]

# Section V-A; L_mg over all classes and the cosine estimator are this package's readings (see docs/paper.md).
_F2AT = {"name": "f2at", "planes": 2, "gamma": 1.0, "tau": 0.07, "upsilon": 0.995, "alpha": 0.1}
_CHEAP = {"name": "f2at-fast", "planes": 4, "gamma": 0.15}  # this package's own (see docs/paper.md)
_PLAIN = {"name": "plain"}
_DEFENCES: Mapping[str, Mapping[str, Any]] = {
    "SAT": {"name": "sat"},
    "TRADES": {"name": "trades"},
    "MART": {"name": "mart"},
    "SEAT": {"name": "seat"},
    "F2AT": _F2AT,
}
_ARCHITECTURES = ("ResNet-18", "WRN-34-10")


def sat(run: Run) -> Run:
    """SAT on the same data and architecture: the model that learned critics judge by."""
    return Run(run.data, run.model, _DEFENCES["SAT"])


def surrogate(run: Run) -> Run:
    """The model whose gradients black-box attacks follow: an adversarially trained VGG-16 (Section V-A)."""
    return Run(run.data, "VGG-16", _DEFENCES["SAT"])


def _defences(data: str, model: str, prefix: str = "") -> list[Row]:
    return [Row(f"{prefix}{name}", Run(data, model, method)) for name, method in _DEFENCES.items()]


def _white_box(data: str, model: str) -> Experiment:
    return Experiment(
        title=f"White-box attacks on {data}, {model}: adversarial accuracy (%)",
        rows=_defences(data, model),
        columns=list(_WHITE_BOX.values()),
    )


def _black_box(model: str, *data: str) -> Experiment:
    return Experiment(
        title=f"Black-box attacks, from an adversarially trained VGG-16 to {model}: adversarial accuracy (%)",
        rows=[row for name in data for row in _defences(name, model, f"{name}/")],
        columns=_BLACK_BOX,
        best_seed=True,
    )


def _f2at(name: str, model: str = "ResNet-18", **options: Any) -> Row:
    return Row(name, Run("CIFAR-10", model, {**_F2AT, **options}))


EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        "table-I": _white_box("CIFAR-10", "ResNet-18"),
        "table-II": _white_box("CIFAR-10", "WRN-34-10"),
        "table-III": _white_box("CIFAR-100", "WRN-34-10"),
        "table-IV": _white_box("CIFAR-100", "ResNet-18"),
        "table-V": _white_box("Tiny-ImageNet", "ResNet-18"),
        "table-VI": _black_box("WRN-34-10", "CIFAR-10", "CIFAR-100"),
        "table-VII": _black_box("ResNet-18", "CIFAR-10", "CIFAR-100", "Tiny-ImageNet"),
        "table-VIII": Experiment(
            title="The effect of K on CIFAR-10, ResNet-18: clean and adversarial accuracy (%)",
            rows=[_f2at(f"K={planes}", planes=planes) for planes in (2, 4, 6, 8)],
            columns=list(_WHITE_BOX.values()),
        ),
        # The paper shows one clean and one adversarial image, of a model and an attack that it does not name: here the
        # undefended ResNet-18 and SAT's, under PGD-20. The numbers are the share of pixel values whose bit flipped.
        "figure-1": Experiment(
            title="Bit-planes of a clean and an adversarial image: bits flipped by PGD-20, plane by plane (%)",
            rows=[
                Row("undefended", Run("CIFAR-10", "ResNet-18", _PLAIN)),
                Row("SAT", Run("CIFAR-10", "ResNet-18", _DEFENCES["SAT"])),
            ],
            columns=[Column(f"plane {plane}", _FULL_PGD, _flipped(plane)) for plane in range(8)],
            drawing="planes",
        ),
        # (a) is L_ce + L_mg (Eq. 18), (b) L_ce + L_mg^soft (Eq. 19); what else its panels show is not in the text. SAT
        # is L_ce alone. Eq. 19 is read over all classes: as printed it has no lower bound.
        "figure-3": Experiment(
            title="Margin losses under white-box attacks, CIFAR-10, WRN-34-10: adversarial accuracy (%)",
            rows=[
                Row("L_ce (SAT)", Run("CIFAR-10", "WRN-34-10", _DEFENCES["SAT"])),
                _f2at("L_ce + L_mg", "WRN-34-10", alpha=0.0, scope="hard"),
                _f2at("L_ce + L_mg^soft", "WRN-34-10", alpha=0.0, scope="all"),
            ],
            columns=list(_WHITE_BOX.values()),
        ),
        # "Correct predictions for each class", of clean or of adversarial images is not said: here both.
        "figure-4": Experiment(
            title="Correct predictions in each class, CIFAR-10, ResNet-18 (%)",
            rows=_defences("CIFAR-10", "ResNet-18"),
            columns=[
                Column(f"{name} {label}", column.evaluation, _class_accuracy(label))
                for name, column in _WHITE_BOX.items()
                if name in ("Clean", "PGD-20")
                for label in range(10)
            ],
            drawing="classes",
        ),
        # (a, b) accuracy over eps at 10 steps, (c, d) over steps at eps 8/255; which two models the panels stand for is
        # not in the text: here the two of Tables I and II.
        "figure-5": Experiment(
            title="PGD on CIFAR-10 over eps (10 steps) and over steps (eps 8/255): adversarial accuracy (%)",
            rows=[row for model in _ARCHITECTURES for row in _defences("CIFAR-10", model, f"{model}/")],
            columns=[
                *(
                    Column(f"eps {levels}/8", Evaluation((_PGD.override(steps=10),), levels / 8), accuracy)
                    for levels in (2, 4, 6, 8, 12, 16)
                ),
                *(
                    Column(f"steps {steps}", Evaluation((_PGD.override(steps=steps),)), accuracy)
                    for steps in (5, 10, 20, 50, 100)
                ),
            ],
            drawing="lines",
        ),
        "figure-6": Experiment(
            title="Clean against robust accuracy (PGD-20), CIFAR-10 (%)",
            rows=[row for model in _ARCHITECTURES for row in _defences("CIFAR-10", model, f"{model}/")],
            columns=[_WHITE_BOX["Clean"], _WHITE_BOX["PGD-20"]],
            drawing="scatter",
        ),
        "figure-7": Experiment(
            title="Ablation, CIFAR-10, WRN-34-10: accuracy (%)",
            rows=[
                _f2at("F2AT", "WRN-34-10"),
                _f2at("F2AT(i)", "WRN-34-10", alpha=0.0, natural="clean"),
                _f2at("F2AT(ii)", "WRN-34-10", gamma=0.0),
                _f2at("F2AT(iii)", "WRN-34-10", alpha=0.0),
            ],
            columns=[_WHITE_BOX[name] for name in ("Clean", "PGD-20", "AA")],
        ),
        # K is not said; here the paper's default, 2, and 4.
        "figure-8": Experiment(
            title="Undefended models on adversarial images of CIFAR-10 and on their natural patterns: accuracy (%)",
            rows=[
                Row(model, Run("CIFAR-10", model, _PLAIN))
                for model in ("ResNet-18", "ResNet-50", "VGG-16", "WRN-34-10")
            ],
            columns=[
                _WHITE_BOX["Clean"],
                *(
                    column
                    for name, evaluation in (("PGD-20", _FULL_PGD), ("CW", _FULL_CW))
                    for column in (
                        Column(name, evaluation, accuracy),
                        *(Column(f"{name}, X_nat of K={k}", evaluation, _natural_accuracy(k)) for k in (2, 4)),
                    )
                ),
            ],
        ),
        # "Discrepancy ratio" is not defined: here the share of pixel values of X_nat that the attack (PGD-20) changed.
        # Nor is the model named: here those of Figure 1.
        "figure-9": Experiment(
            title="Natural patterns of adversarial and of clean images: pixel values that differ (%)",
            rows=[
                Row("undefended", Run("CIFAR-10", "ResNet-18", _PLAIN)),
                Row("SAT", Run("CIFAR-10", "ResNet-18", _DEFENCES["SAT"])),
            ],
            columns=[Column(f"K {planes}", _FULL_PGD, _natural_difference(planes)) for planes in range(1, 9)],
            drawing="lines",
        ),
        # "A standard PGD attack": PGD-20; the architecture is not said: ResNet-18. The numbers are means of what is
        # drawn.
        "figure-10": Experiment(
            title="Predicted probability of the true class on CIFAR-10, ResNet-18: mean (%)",
            rows=_defences("CIFAR-10", "ResNet-18"),
            columns=[Column("Clean", _CLEAN, _mean_confidence), Column("PGD-20", _FULL_PGD, _mean_confidence)],
            drawing="densities",
        ),
        # "We retrain the model with our method on the clean examples" (end of Section V-D): F2AT, no inner attack.
        "clean-training": Experiment(
            title="Training on clean images, CIFAR-10, ResNet-18: clean accuracy (%)",
            rows=[
                Row("undefended", Run("CIFAR-10", "ResNet-18", _PLAIN)),
                Row("F2AT", Run("CIFAR-10", "ResNet-18", _F2AT, {"kind": "none"})),
            ],
            columns=[_WHITE_BOX["Clean"]],
        ),
        # Not in the paper. Where a scale fixes what a run may cost, this compares the methods at equal cost.
        "defences": Experiment(
            title="Every method, CIFAR-10, ResNet-18: clean and robust accuracy (%)",
            rows=[
                Row("undefended", Run("CIFAR-10", "ResNet-18", _PLAIN)),
                *_defences("CIFAR-10", "ResNet-18"),
                Row("F2AT, cheap", Run("CIFAR-10", "ResNet-18", _CHEAP)),
            ],
            columns=_SUMMARY,
            drawing="scatter",
        ),
        # Not in the paper: what it leaves open, and what it varies, one at a time.
        "readings": Experiment(
            title="Readings of F2AT, CIFAR-10, ResNet-18: clean and robust accuracy (%)",
            rows=[
                Row("SAT", Run("CIFAR-10", "ResNet-18", _DEFENCES["SAT"])),
                _f2at("F2AT"),
                _f2at("(i) X_nat = X, alpha = 0", alpha=0.0, natural="clean"),
                _f2at("(ii) gamma = 0", gamma=0.0),
                _f2at("(iii) alpha = 0", alpha=0.0),
                *(_f2at(f"K = {planes}", planes=planes) for planes in (4, 6, 8)),
                *(_f2at(f"K = {planes}, alpha = 0", planes=planes, alpha=0.0) for planes in (4, 6)),
                *(_f2at(f"gamma = {gamma}, alpha = 0", gamma=gamma, alpha=0.0) for gamma in (0.25, 0.5)),
                _f2at("Eq. 18", scope="hard"),
                _f2at("Eq. 19 as printed, gamma = 0.1", scope="others", gamma=0.1),
                _f2at("alpha = 0.3", alpha=0.3),
                _f2at("tau = 0.2", tau=0.2),
                _f2at("alpha rises over 8 epochs", warmup=8),
                _f2at("Donsker-Varadhan", estimator="donsker-varadhan"),
                _f2at("Donsker-Varadhan, tau = 1", estimator="donsker-varadhan", tau=1.0),
                _f2at("patterns move BatchNorm", pattern_statistics=True),
            ],
            columns=_SUMMARY,
            drawing="rows",
        ),
    }
)
