"""The attacks by name, with the parameters their authors published."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from attacks.apgd import apgd, apgd_targeted
from attacks.fgsm import fgsm
from attacks.pgd import pgd
from attacks.square import square
from attacks.target import Target
from attacks.threat import check_batch

Knowledge = Literal["white-box", "black-box", "transfer"]  # transfer: gradients of another model, a surrogate


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack function with all its parameters: what a report names, and what runs.

    parameters: every keyword of `function` but eps, norm and rng; JSON values.
    """

    name: str
    title: str
    paper: str  # its address
    knowledge: Knowledge
    function: Callable[..., Any]
    parameters: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    def override(self, **parameters: Any) -> "Attack":
        """The same attack with other parameters, e.g. attack.override(steps=10)."""
        unknown = sorted(parameters.keys() - self.parameters.keys())
        if unknown:
            accepted = ", ".join(sorted(self.parameters))
            raise ValueError(f"{self.name} has no parameter {unknown[0]!r}; it takes {accepted}")
        return replace(self, parameters={**self.parameters, **parameters})

    def run(self, target: Target, inputs: Any, labels: Any, *, eps: float, norm: str, rng: np.random.Generator) -> Any:
        """Adversarial inputs (N, 3, H, W), float, in the ball around `inputs` and in [0, 1].

        inputs: float (N, 3, H, W) in [0, 1]; labels: integers (N,). Raises ValueError for anything else.
        """
        if inputs.shape[0] == 0:
            return inputs
        check_batch(inputs, labels, classes=target.classes)
        return self.function(target, inputs, labels, eps=eps, norm=norm, rng=rng, **self.parameters)


def _attack(
    name: str, function: Callable[..., Any], knowledge: Knowledge, title: str, arxiv: str, **parameters: Any
) -> Attack:
    """An entry of the registry: all parameters of `function`, at their defaults but for those given."""
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and key not in ("eps", "norm", "rng")
    }
    return Attack(
        name=name,
        title=title,
        paper=f"https://arxiv.org/abs/{arxiv}",
        knowledge=knowledge,
        function=function,
        parameters={**defaults, **parameters},
    )


_APGD = "Auto-PGD (Croce and Hein 2020)"

# To add an attack: its file, its row here, and its row in the tests' tables.
ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        attack.name: attack
        for attack in (
            _attack("fgsm", fgsm, "white-box", "Fast gradient sign method (Goodfellow et al. 2015)", "1412.6572"),
            _attack("pgd", pgd, "white-box", "Projected gradient descent (Madry et al. 2018)", "1706.06083"),
            _attack("apgd-ce", apgd, "white-box", f"{_APGD}, cross-entropy", "2003.01690"),
            _attack("apgd-dlr", apgd, "white-box", f"{_APGD}, DLR loss", "2003.01690", objective="dlr"),
            _attack("apgd-t", apgd_targeted, "white-box", f"{_APGD}, targeted DLR loss", "2003.01690"),
            _attack("square", square, "black-box", "Square attack (Andriushchenko et al. 2020)", "1912.00049"),
        )
    }
)
