"""Self-ensemble adversarial training (Wang and Wang, ICLR 2022, https://arxiv.org/abs/2203.09678)."""

from dataclasses import dataclass
from typing import ClassVar

from f2at.training.methods.base import option
from f2at.training.methods.sat import SAT


@dataclass(frozen=True, kw_only=True)
class SEAT(SAT):
    """SAT whose result is the running average of its weights: that is what is evaluated, chosen and saved."""

    name: ClassVar[str] = "seat"

    decay: float = option(0.999, "largest decay of the average, which warms up as min(decay, (t + 1) / (t + 10))")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay < 1:
            raise ValueError(f"decay must be above 0 and below 1; got {self.decay}")

    @property
    def averaging(self) -> float:
        """The decay."""
        return self.decay
