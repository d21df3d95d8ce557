"""What an experiment is made of: rows are trained models, columns are evaluations of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from f2at.attacks.attack import Attack

Record = Mapping[str, Any]  # what benchmarks.paper.evaluation.evaluate returns
Drawing = Literal["bars", "lines", "scatter", "rows", "classes", "densities", "planes"]


@dataclass(frozen=True)
class Run:
    """A training run in the paper's terms.

    data: "CIFAR-10", "CIFAR-100" or "Tiny-ImageNet"; model: "ResNet-18", "ResNet-50", "VGG-16" or "WRN-34-10";
    method: the [method] section of a configuration; attack: keys of its [attack] section that every scale keeps.
    """

    data: str
    model: str
    method: Mapping[str, Any]
    attack: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of a table: its name, which is also its key in the published numbers, and the model behind it."""

    name: str
    run: Run


@dataclass(frozen=True)
class Evaluation:
    """Attacks in order, each on the images that still stand; none: clean images. `eps`: in multiples of the scale's."""

    attacks: tuple[Attack, ...] = ()
    eps: float = 1.0

    @property
    def transfers(self) -> bool:
        """Whether it follows the gradients of the surrogate."""
        return any(attack.knowledge == "transfer" for attack in self.attacks)


@dataclass(frozen=True)
class Column:
    """A heading, the evaluation that it reads, and the number, in percent, that it reads off it."""

    name: str
    evaluation: Evaluation
    value: Callable[[Record], float]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A table or a figure.

    best_seed: evaluate only the seed with the best validation accuracy (the paper does so for black-box attacks).
    """

    title: str
    rows: Sequence[Row]
    columns: Sequence[Column]
    drawing: Drawing = "bars"
    best_seed: bool = False

    @property
    def evaluations(self) -> list[Evaluation]:
        """Each once, in the order of the columns."""
        found: list[Evaluation] = []
        for column in self.columns:
            if column.evaluation not in found:
                found.append(column.evaluation)
        return found


def with_rows(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """The experiment with only the rows of these names, in its own order; with all of them, where none is named.

    Raises:
        ValueError: it has no row of such a name.
    """
    known = [row.name for row in experiment.rows]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"row must be among {known}; got {unknown[0]!r}")
    return replace(experiment, rows=[row for row in experiment.rows if not names or row.name in names])
