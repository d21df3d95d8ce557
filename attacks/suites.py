"""Suites: named lists of attacks, in the order they run."""

SUITES = {"quick": ()}
