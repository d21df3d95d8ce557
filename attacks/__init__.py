"""Attacks on image classifiers, written once for numpy and torch arrays: algorithms, targets and threat models."""

from f2at.attacks.attack import Attack
from f2at.attacks.registry import ATTACKS
from f2at.attacks.target import CountingTarget, Evaluation, Target

__all__ = ["ATTACKS", "Attack", "CountingTarget", "Evaluation", "Target"]
