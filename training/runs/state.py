"""What an interrupted run needs to resume besides its configuration, as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from f2at.models import Classifier
from f2at.training.weights.averaging import WeightAverage

# What optimizers keep for each weight, and what the file calls it.
_KEPT = {"momentum_buffer": "momentum", "exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "step": "step"}


def to_tensors(model: Classifier, optimizer: torch.optim.Optimizer, average: WeightAverage | None) -> dict[str, Tensor]:
    """Weights, the optimizer's momenta and, where there is one, the running average of the weights."""
    states = optimizer.state_dict()["state"]
    return {
        **{f"model.{name}": value for name, value in model.state_dict().items()},
        **{
            f"{name}.{index}": entry[key]
            for index, entry in states.items()
            for key, name in _KEPT.items()
            if entry.get(key) is not None
        },
        **({f"average.{name}": value for name, value in average.state_dict().items()} if average else {}),
    }


def restore(
    tensors: Mapping[str, Tensor],
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
) -> None:
    """Put what `to_tensors` gave back into a model, optimizer and average of the same configuration."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    model.load_state_dict(part("model."))
    state = optimizer.state_dict()
    state["state"] = {}
    for key, name in _KEPT.items():
        for index, tensor in part(f"{name}.").items():
            state["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(state)
    if average:
        average.load_state_dict(part("average."))
