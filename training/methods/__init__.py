"""Training methods by name. A new one is one file and one line here."""

from collections.abc import Mapping

from training.methods.base import Method
from training.methods.f2at import F2AT
from training.methods.mart import MART
from training.methods.plain import PlainTraining
from training.methods.sat import SAT
from training.methods.seat import SEAT
from training.methods.trades import TRADES

METHODS: Mapping[str, type[Method]] = {method.name: method for method in (PlainTraining, SAT, TRADES, MART, SEAT, F2AT)}

__all__ = ["F2AT", "MART", "METHODS", "SAT", "SEAT", "TRADES", "Method", "PlainTraining"]
