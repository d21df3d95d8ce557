"""A running average of a model's weights."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from f2at.models import Classifier


class WeightAverage:
    """The exponential moving average of a model's weights and BatchNorm statistics, as in SEAT (Wang and Wang, 2022).

    The decay warms up as min(decay, (t + 1) / (t + 10)), so that the random beginning is soon forgotten.

    Args:
        model: the average begins as its copy.
        decay: share of the old average that each update keeps, once warmed up.

    Attributes:
        model: the averaged model, in eval mode.
        updates: t, how many there were.
    """

    def __init__(self, model: Classifier, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
        self.updates = 0

    @torch.no_grad()
    def update(self, model: Classifier) -> None:
        """Move the average towards the model; counters among the buffers are copied."""
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        self.updates += 1
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        averages, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, values, 1 - decay)  # one launch, not one for each of a hundred tensors
        for counter, value in pairs:
            if not counter.is_floating_point():
                counter.copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """What `load_state_dict` needs to resume."""
        return {"updates": torch.tensor(self.updates), **self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        rest = dict(state)
        self.updates = int(rest.pop("updates"))
        self.model.load_state_dict(rest)
