"""Attacks on image classifiers, written once for numpy and torch arrays, and the audit harness around them."""

from attacks.registry import ATTACKS, Attack
from attacks.target import CountingTarget, Evaluation, Target

__all__ = ["ATTACKS", "Attack", "CountingTarget", "Evaluation", "Target"]
