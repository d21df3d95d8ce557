"""The most that the attacks of an audit may cost, known before it runs."""

from collections.abc import Callable, Mapping
from typing import Any

from f2at.attacks.black_box.hopskipjump import hopskipjump
from f2at.attacks.black_box.rays import rays
from f2at.attacks.black_box.square import square
from f2at.attacks.registry import Attack
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
from f2at.audit.request import AuditRequest
from f2at.audit.suites import checked

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
