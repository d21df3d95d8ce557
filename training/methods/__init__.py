"""Training methods by name. A new one is one file and one line here."""

from collections.abc import Mapping

from training.methods.base import Method
from training.methods.f2at import F2AT
from training.methods.plain import PlainTraining
from training.methods.sat import SAT

METHODS: Mapping[str, type[Method]] = {method.name: method for method in (PlainTraining, SAT, F2AT)}

__all__ = ["F2AT", "METHODS", "SAT", "Method", "PlainTraining"]
