"""What an attack is to a report and a harness: its name, its source, its parameters and what they cost at most."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from f2at.attacks.objectives import objective_weights
from f2at.attacks.target import Evaluation, Target
from f2at.attacks.threat import NORMS, check_batch, check_threat
from f2at.command_line import suggestion

Knowledge = Literal["white-box", "black-box", "transfer"]  # transfer: gradients of another model, a surrogate
Parameters = Mapping[str, Any]
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack function with all its parameters: what a report names, and what runs.

    parameters: every keyword of `function` but eps, norm and rng; JSON values.
    most: from the parameters, the most evaluations, forward and gradient, that it takes on one sample.
    norms: the norms that it is made for.
    needs_scores: whether it goes by the scores of the audited model, and not by its labels alone.
    """

    name: str
    title: str
    paper: str  # its address
    knowledge: Knowledge
    function: Callable[..., Any]
    parameters: Parameters
    most: Callable[[Parameters], int]
    norms: tuple[str, ...] = NORMS
    needs_scores: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def most_per_sample(self) -> int:
        """The most evaluations, forward and gradient, that it takes on one sample: as if it never succeeded.

        In l2 and l1, multi-targeted and Auto-PGD for l1 take one more for each error that rounding to 8 bits takes
        back; they are few. In l1, each run of multi-targeted takes two more, where it enters a smaller ball.
        """
        return self.most(self.parameters)

    def override(self, **parameters: Any) -> "Attack":
        """The same attack with other parameters, e.g. attack.override(steps=10)."""
        unknown = sorted(parameters.keys() - self.parameters.keys())
        if unknown:
            accepted = ", ".join(sorted(self.parameters))
            near = suggestion(unknown[0], self.parameters)
            raise ValueError(f"{self.name} has no parameter {unknown[0]!r}; it takes {accepted}{near}")
        return replace(self, parameters={**self.parameters, **parameters})

    def named(self, name: str) -> "Attack":
        """The same attack under another name, so that a report can tell two runs of it apart."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"the name of an attack must be lower-case letters, digits and dashes; got {str(name)[:40]!r}"
            )
        return replace(self, name=name)

    def check(self) -> None:
        """Raise ValueError for parameters that the attack refuses: it is run, on no images."""
        inputs, labels = np.zeros((0, 3, 8, 8), np.float32), np.zeros(0, np.int64)
        rng = np.random.default_rng(0)
        try:
            objective_weights(np, self.parameters.get("objective", "margin"), 0)
            self.function(_Nothing(), inputs, labels, eps=0.1, norm=self.norms[0], rng=rng, **self.parameters)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        except TypeError as error:
            words = {name: value for name, value in self.parameters.items() if isinstance(value, str)}
            words.pop("objective", None)
            reasons = [f"{name} must be a number; got {value!r:.40}" for name, value in words.items()]
            raise ValueError(f"{self.name}: {'; '.join(reasons) or error}") from error

    def run(self, target: Target, inputs: Any, labels: Any, *, eps: float, norm: str, rng: np.random.Generator) -> Any:
        """Adversarial inputs (N, 3, H, W), float, in the ball around `inputs` and in [0, 1].

        inputs: float (N, 3, H, W) in [0, 1]; labels: integers (N,). Raises ValueError for anything else, and for a
        norm that is not among the attack's.
        """
        check_threat(eps, norm)
        if norm not in self.norms:
            raise ValueError(f"norm must be {' or '.join(self.norms)} for {self.name}; got {norm!r}")
        if inputs.shape[0] == 0:
            return inputs
        check_batch(inputs, labels, classes=target.classes)
        return self.function(target, inputs, labels, eps=eps, norm=norm, rng=rng, **self.parameters)


def usual_parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """The keywords of an attack at their defaults: not what has none, such as the size of its set, and not its norm."""
    return {
        key: parameter.default
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty and key != "norm"
    }


class _Nothing:
    """A target of ten classes that has no images to judge."""

    classes = 10

    def logits(self, inputs: Any) -> Any:
        return np.zeros((len(inputs), self.classes), np.float32)

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:  # noqa: ARG002
        return Evaluation(self.logits(inputs), weights, inputs)
