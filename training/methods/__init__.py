"""Training methods by name. A new one is one file and one line here."""

from collections.abc import Mapping

from f2at.training.methods.base import Method
from f2at.training.methods.f2at import F2AT
from f2at.training.methods.f2at_fast import FastF2AT
from f2at.training.methods.mart import MART
from f2at.training.methods.plain import PlainTraining
from f2at.training.methods.sat import SAT
from f2at.training.methods.seat import SEAT
from f2at.training.methods.trades import TRADES

METHODS: Mapping[str, type[Method]] = {
    method.name: method for method in (PlainTraining, SAT, TRADES, MART, SEAT, F2AT, FastF2AT)
}

__all__ = ["F2AT", "MART", "METHODS", "SAT", "SEAT", "TRADES", "FastF2AT", "Method", "PlainTraining"]
