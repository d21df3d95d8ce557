"""Training curves as a picture."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

NO_LOSS = ("epoch", "lr", "logit_norm", "collapsed")
CHECKS = ("single_step", "ten_steps")  # accuracies of the model itself, where validation may be of its average


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss terms on the left, validation accuracy on the right, over the epochs.

    Args:
        rows: those of metrics.jsonl.
        path: a .png file.
    """
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for name in rows[-1]:
        values = [row.get(name, math.nan) for row in rows]  # a term may come in later
        label = name.removeprefix("validation_").replace("_", " ")
        if name.startswith("validation_") or name in CHECKS:
            accuracies.plot(epochs, [100 * value for value in values], label=label)
        elif name not in NO_LOSS:
            losses.plot(epochs, values, label=label)
    losses.set(xlabel="epoch", ylabel="loss", title="Training")
    accuracies.set(xlabel="epoch", ylabel="accuracy (%)", title="Validation", ylim=(0, 100))
    for axes in (losses, accuracies):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
