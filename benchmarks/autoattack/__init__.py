"""The audit's suites against the official AutoAttack, sample by sample."""
