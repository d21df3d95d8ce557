"""An undefended classifier with what makes attacks fail put in front of it, behind it or beside it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIDE, CLASSES, EPS = 8, 4, "16/255"
NAMES = [str(number) for number in range(CLASSES)]
_MEAN, _COARSE = 0.5, 0.6  # of pixels; how far apart the coefficients are that JPEG would keep


def linear(seed: int = 0) -> nn.Sequential:
    """Undefended: every image is within EPS of an error."""
    layer = nn.Linear(3 * SIDE * SIDE, CLASSES)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        layer.bias.copy_(-_MEAN * layer.weight.sum(dim=1))
    return nn.Sequential(nn.Flatten(), layer)


def images() -> np.ndarray:
    """Ten, of any pixels."""
    return np.random.default_rng(5).integers(0, 256, (10, SIDE, SIDE, 3), dtype=np.uint8)


class Sabotaged(nn.Module):
    """The classifier and what is done to it, a function of (model, inputs)."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor], model: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.function = model or linear(), function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.model, inputs)


def cosines() -> Tensor:
    """The matrix (8, 8) of the orthonormal discrete cosine transform."""
    places = torch.arange(SIDE, dtype=torch.float64)
    rows = torch.cos(math.pi * places[:, None] * (places + 0.5) / SIDE) * math.sqrt(2 / SIDE)
    rows[0] /= math.sqrt(2)
    return rows.float()


def nothing(model: nn.Module, inputs: Tensor) -> Tensor:
    return model(inputs)  # type: ignore[no-any-return]


def mean_sparse(model: nn.Module, inputs: Tensor) -> Tensor:
    """What lies near the mean is set to it (MeanSparse, arXiv 2406.05927, in front and with a wide threshold)."""
    return nothing(model, torch.where((inputs - _MEAN).abs() > 0.3, inputs, torch.full_like(inputs, _MEAN)))


def coarse(inputs: Tensor) -> Tensor:
    """As JPEG does it: the cosine transform of a block of 8 x 8, rounded to multiples, and back."""
    matrix = cosines()
    rounded = torch.round(matrix @ (inputs - _MEAN) @ matrix.T / _COARSE) * _COARSE
    return matrix.T @ rounded @ matrix + _MEAN


def jpeg(model: nn.Module, inputs: Tensor) -> Tensor:
    return nothing(model, coarse(inputs))


def random_resize(model: nn.Module, inputs: Tensor) -> Tensor:
    """Each made smaller at random, and put somewhere (Xie et al. 2018, arXiv 1711.01991)."""

    def moved(image: Tensor) -> Tensor:
        size = int(torch.randint(6, SIDE + 1, ()))
        left, above = (int(torch.randint(0, SIDE - size + 1, ())) for _ in range(2))
        small = nn.functional.interpolate(image[None], size=(size, size))
        return nn.functional.pad(small, (left, SIDE - size - left, above, SIDE - size - above), value=_MEAN)

    return nothing(model, torch.cat([moved(image) for image in inputs]))


class Ensemble(nn.Module):
    """The mean of two, of which one hides its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.hidden = linear(), linear(1)

    def forward(self, inputs: Tensor) -> Tensor:
        return (nothing(self.open, inputs) + nothing(self.hidden, coarse(inputs))) / 2


def cold(model: nn.Module, inputs: Tensor) -> Tensor:
    """Of a temperature so low that the gradient of the cross-entropy is 0 in float32."""
    return nothing(model, inputs) / 1e-4


def detector(model: nn.Module, inputs: Tensor) -> Tensor:
    """A class more, which images get whose neighbouring pixels differ more than those of the clean ones do."""
    odd = (inputs[..., 1:] - inputs[..., :-1]).abs().mean(dim=(1, 2, 3)) > 0.36
    logits = nothing(model, inputs)
    rejected = torch.where(odd, 1e3, -1e3)
    return torch.cat([logits, rejected[:, None]], dim=1)


def labels_of(model: nn.Module) -> np.ndarray:
    """What it says of the images, more often than not where it draws."""
    torch.manual_seed(0)
    inputs = torch.from_numpy(images()).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        votes = sum(nn.functional.one_hot(model(inputs).argmax(dim=1), CLASSES + 1) for _ in range(15))
    assert isinstance(votes, Tensor)
    return votes.argmax(dim=1).numpy()


MODELS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: Sabotaged(nothing),
    "thresholds": lambda: Sabotaged(mean_sparse),
    "random resize": lambda: Sabotaged(random_resize),
    "jpeg": lambda: Sabotaged(jpeg),
    "ensemble": Ensemble,
    "temperature": lambda: Sabotaged(cold),
    "detector": lambda: Sabotaged(detector),
}
