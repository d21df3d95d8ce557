"""Every published number, each with the command that gives it again. Results are under benchmarks/results/."""
