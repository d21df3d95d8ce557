"""The attacks by name, with the parameters their authors published."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from f2at.attacks.attack import Attack, Knowledge, Parameters, usual_parameters
from f2at.attacks.black_box.hopskipjump import hopskipjump
from f2at.attacks.black_box.rays import rays
from f2at.attacks.black_box.square import square
from f2at.attacks.threat import NORMS
from f2at.attacks.transfer.di_fgsm import di_fgsm
from f2at.attacks.transfer.ti_fgsm import ti_fgsm
from f2at.attacks.transfer.vmi_fgsm import vmi_fgsm
from f2at.attacks.white_box.apgd import apgd, apgd_targeted
from f2at.attacks.white_box.apgd_l1 import apgd_l1, apgd_l1_targeted
from f2at.attacks.white_box.carlini_wagner import carlini_wagner
from f2at.attacks.white_box.fab import fab_targeted
from f2at.attacks.white_box.fgsm import fgsm
from f2at.attacks.white_box.mi_fgsm import mi_fgsm
from f2at.attacks.white_box.multi_targeted import multi_targeted
from f2at.attacks.white_box.pgd import pgd


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
    return Attack(
        name=name,
        title=title,
        paper=f"https://arxiv.org/abs/{arxiv}",
        knowledge=knowledge,
        function=function,
        parameters={**usual_parameters(function), **parameters},
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


def _sparse_runs(p: Parameters) -> int:
    """Restarts of `apgd_l1`: a gradient at every step, and where it enters each of its three balls."""
    return int(p["restarts"]) * (int(p["steps"]) + (3 if p["larger_first"] else 1))


_APGD = "Auto-PGD (Croce and Hein 2020)"
_APGD_L1 = "Auto-PGD for l1 (Croce and Hein 2021)"
_NOT_L1 = ("linf", "l2")

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
            _attack("apgd-ce", apgd, "white-box", f"{_APGD}, cross-entropy", "2003.01690", _runs, norms=_NOT_L1),
            _attack(
                "apgd-dlr",
                apgd,
                "white-box",
                f"{_APGD}, DLR loss",
                "2003.01690",
                _runs,
                norms=_NOT_L1,
                objective="dlr",
            ),
            _attack(
                "apgd-t",
                apgd_targeted,
                "white-box",
                f"{_APGD}, targeted DLR loss",
                "2003.01690",
                lambda p: 1 + p["target_classes"] * _runs(p),
                norms=_NOT_L1,
            ),
            _attack(
                "apgd-ce-l1",
                apgd_l1,
                "white-box",
                f"{_APGD_L1}, cross-entropy",
                "2103.01208",
                _sparse_runs,
                norms=("l1",),
            ),
            _attack(
                "apgd-t-l1",
                apgd_l1_targeted,
                "white-box",
                f"{_APGD_L1}, targeted DLR loss",
                "2103.01208",
                lambda p: 1 + p["target_classes"] * _sparse_runs(p),
                norms=("l1",),
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
                norms=_NOT_L1,
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
