"""The most that the attacks of an audit may cost, known before it runs."""

from collections.abc import Callable, Mapping
from typing import Any

from attacks.apgd import apgd, apgd_targeted
from attacks.audit.request import AuditRequest
from attacks.audit.suites import checked
from attacks.carlini_wagner import carlini_wagner
from attacks.di_fgsm import di_fgsm
from attacks.fab import fab_targeted
from attacks.fgsm import fgsm
from attacks.hopskipjump import hopskipjump
from attacks.mi_fgsm import mi_fgsm
from attacks.multi_targeted import multi_targeted
from attacks.pgd import pgd
from attacks.rays import rays
from attacks.registry import Attack
from attacks.square import square
from attacks.ti_fgsm import ti_fgsm
from attacks.vmi_fgsm import vmi_fgsm

Parameters = Mapping[str, Any]


def most_evaluations(request: AuditRequest, samples: int) -> int:
    """The most evaluations of a model, forward and gradient, that the attacks of `request` take on so many samples.

    As if no attack ever succeeded, and the model had as many classes as an attack may be aimed at. What the audit
    measures besides, on a hundred samples at most, is not in it.
    """
    suite = request.plan
    attacked = {every: sum(checked(p, every) for p in range(samples)) for every in {1, *suite.every.values()}}
    return sum(most_per_sample(attack) * attacked[suite.every.get(attack.name, 1)] for attack in suite.attacks)


def most_per_sample(attack: Attack) -> int:
    """The most evaluations that an attack takes on one sample."""
    return _MOST[attack.function](attack.parameters)


def _steps(p: Parameters) -> int:
    return int(p["steps"]) + 1


# Of each attack function, from its parameters.
_MOST: Mapping[Callable[..., Any], Callable[[Parameters], int]] = {
    fgsm: lambda _: 1,
    pgd: lambda p: p["restarts"] * _steps(p),
    mi_fgsm: _steps,
    ti_fgsm: _steps,
    di_fgsm: _steps,
    vmi_fgsm: lambda p: (p["neighbours"] + 1) * _steps(p),
    apgd: lambda p: p["restarts"] * _steps(p),
    apgd_targeted: lambda p: 1 + p["target_classes"] * p["restarts"] * _steps(p),
    multi_targeted: lambda p: (1 + p["target_classes"]) * _steps(p) + p["final_runs"] * (p["final_steps"] + 1),
    fab_targeted: lambda p: 1 + 2 * p["target_classes"] * p["restarts"] * p["steps"],
    carlini_wagner: lambda p: p["searches"] * p["steps"],
    square: lambda p: p["queries"],
    rays: lambda p: p["queries"],
    hopskipjump: lambda p: p["queries"],
}
