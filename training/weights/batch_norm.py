"""BatchNorm's running statistics, for batches that should not move them."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def running_statistics(model: nn.Module, *, update: bool) -> Iterator[None]:
    """Inside, BatchNorm in train mode normalises with its batch, and moves its running statistics only if `update`.

    Bit-plane patterns are far off the data's distribution, and a look at the gradient before the step counts nothing
    twice: their statistics would spoil the model in eval mode.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = layer.momentum if update else 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
