"""Natural corruptions: the nineteen of CIFAR-10-C and ImageNet-C, at five severities each."""

from f2at.attacks.transformations.corruptions.errors import corruption_errors, mean_corruption_error
from f2at.attacks.transformations.corruptions.registry import CORRUPTIONS, SEVERITIES, Corruption, apply

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "apply", "corruption_errors", "mean_corruption_error"]
