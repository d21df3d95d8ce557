"""What an interrupted run needs to resume besides its configuration, as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from f2at.models import Classifier
from f2at.training.weights.averaging import WeightAverage


def to_tensors(model: Classifier, optimizer: torch.optim.Optimizer, average: WeightAverage | None) -> dict[str, Tensor]:
    """Weights, momenta and, where there is one, the running average of the weights."""
    momenta = optimizer.state_dict()["state"]
    return {
        **{f"model.{name}": value for name, value in model.state_dict().items()},
        **{
            f"momentum.{index}": entry["momentum_buffer"]
            for index, entry in momenta.items()
            if entry.get("momentum_buffer") is not None
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
    state["state"] = {int(index): {"momentum_buffer": tensor} for index, tensor in part("momentum.").items()}
    optimizer.load_state_dict(state)
    if average:
        average.load_state_dict(part("average."))
