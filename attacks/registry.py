"""The attacks by name, with the parameters their authors published."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from f2at.attacks.black_box.hopskipjump import hopskipjump
from f2at.attacks.black_box.rays import rays
from f2at.attacks.black_box.square import square
from f2at.attacks.objectives import objective_weights
from f2at.attacks.target import Evaluation, Target
from f2at.attacks.threat import NORMS, check_batch, check_threat
from f2at.attacks.transfer.di_fgsm import di_fgsm
from f2at.attacks.transfer.ti_fgsm import ti_fgsm
from f2at.attacks.transfer.vmi_fgsm import vmi_fgsm
from f2at.attacks.white_box.apgd import apgd, apgd_targeted
from f2at.attacks.white_box.carlini_wagner import carlini_wagner
from f2at.attacks.white_box.fab import fab_targeted
from f2at.attacks.white_box.fgsm import fgsm
from f2at.attacks.white_box.mi_fgsm import mi_fgsm
from f2at.attacks.white_box.multi_targeted import multi_targeted
from f2at.attacks.white_box.pgd import pgd
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

        In l2, multi-targeted takes one more for each error that rounding to 8 bits takes back; they are few.
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


class _Nothing:
    """A target of ten classes that has no images to judge."""

    classes = 10

    def logits(self, inputs: Any) -> Any:
        return np.zeros((len(inputs), self.classes), np.float32)

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:  # noqa: ARG002
        return Evaluation(self.logits(inputs), weights, inputs)


def _attack(
    name: str,
    function: Callable[..., Any],
    knowledge: Knowledge,
    title: str,
    arxiv: str,
    most: Callable[[Parameters], int],
    *,
    norms: tuple[str, ...] = NORMS,
    needs_scores: bool = False,
    **parameters: Any,
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
        most=most,
        norms=norms,
        needs_scores=needs_scores or knowledge == "white-box",
    )


def _transfer(
    name: str,
    function: Callable[..., Any],
    title: str,
    arxiv: str,
    most: Callable[[Parameters], int],
    **parameters: Any,
) -> Attack:
    """An entry for an attack on a surrogate: every sample takes every step, whatever the surrogate says of it."""
    return _attack(f"transfer-{name}", function, "transfer", f"{title}, transferred", arxiv, most, **parameters)


def _once(_: Parameters) -> int:
    return 1


def _run(p: Parameters) -> int:
    """One run: a gradient at every step, and a last look."""
    return int(p["steps"]) + 1


def _runs(p: Parameters) -> int:
    return int(p["restarts"]) * _run(p)


def _queries(p: Parameters) -> int:
    return int(p["queries"])


_APGD = "Auto-PGD (Croce and Hein 2020)"

# To add an attack: its file, its row here, and its row in the tests' tables.
ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        attack.name: attack
        for attack in (
            _attack(
                "fgsm", fgsm, "white-box", "Fast gradient sign method (Goodfellow et al. 2015)", "1412.6572", _once
            ),
            _attack("pgd", pgd, "white-box", "Projected gradient descent (Madry et al. 2018)", "1706.06083", _runs),
            _attack("mi-fgsm", mi_fgsm, "white-box", "Momentum iterative FGSM (Dong et al. 2018)", "1710.06081", _run),
            # What tables of robust accuracy call CW: PGD on the margin, Carlini and Wagner's f6 at confidence 0.
            _attack(
                "cw",
                pgd,
                "white-box",
                "Carlini and Wagner's objective (2017), by projected gradient descent",
                "1608.04644",
                _runs,
                norms=("linf",),
                objective="margin",
                steps=30,
                step_size=0.007,
            ),
            _attack(
                "cw-l2",
                carlini_wagner,
                "white-box",
                "Carlini and Wagner's l2 attack (2017)",
                "1608.04644",
                lambda p: p["searches"] * p["steps"],
                norms=("l2",),
            ),
            _attack("apgd-ce", apgd, "white-box", f"{_APGD}, cross-entropy", "2003.01690", _runs),
            _attack("apgd-dlr", apgd, "white-box", f"{_APGD}, DLR loss", "2003.01690", _runs, objective="dlr"),
            _attack(
                "apgd-t",
                apgd_targeted,
                "white-box",
                f"{_APGD}, targeted DLR loss",
                "2003.01690",
                lambda p: 1 + p["target_classes"] * _runs(p),
            ),
            _attack(
                "multi-targeted",
                multi_targeted,
                "white-box",
                "Short runs towards every class, long ones where they promise most (after Gowal et al. 2019)",
                "1910.09338",
                lambda p: (
                    (1 + p["target_classes"]) * _run(p)
                    + (p["final_excess"] > 0) * p["final_runs"] * (p["final_steps"] + 1)
                ),
            ),
            _attack(
                "fab-t",
                fab_targeted,
                "white-box",
                "Targeted FAB (Croce and Hein 2020)",
                "1907.02044",
                lambda p: 1 + 2 * p["target_classes"] * p["restarts"] * p["steps"],
            ),
            _attack(
                "square",
                square,
                "black-box",
                "Square attack (Andriushchenko et al. 2020)",
                "1912.00049",
                _queries,
                needs_scores=True,
            ),
            _attack(
                "rays",
                rays,
                "black-box",
                "RayS (Chen and Gu 2020), hard labels",
                "2006.12792",
                _queries,
                norms=("linf",),
            ),
            _attack(
                "hopskipjump",
                hopskipjump,
                "black-box",
                "HopSkipJump (Chen et al. 2020), hard labels",
                "1904.02144",
                _queries,
            ),
            _transfer("fgsm", fgsm, "FGSM (Goodfellow et al. 2015)", "1412.6572", _once),
            _transfer("pgd", pgd, "PGD (Madry et al. 2018)", "1706.06083", _runs, stop_at_success=False),
            _transfer("mi", mi_fgsm, "MI-FGSM (Dong et al. 2018)", "1710.06081", _run, stop_at_success=False),
            _transfer("ti", ti_fgsm, "TI-MI-FGSM (Dong et al. 2019)", "1904.02884", _run),
            _transfer("di", di_fgsm, "M-DI2-FGSM (Xie et al. 2019)", "1803.06978", _run),
            _transfer(
                "vmi",
                vmi_fgsm,
                "VMI-FGSM (Wang and He 2021)",
                "2103.15571",
                lambda p: (p["neighbours"] + 1) * _run(p),
            ),
        )
    }
)
