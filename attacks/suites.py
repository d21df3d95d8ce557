"""Suites: named lists of attacks, in the order they run."""

from typing import Any

SUITES: dict[str, Any] = {"quick": ()}
