"""Every published number, each with the command that reproduces it. Results are under benchmarks/results/."""
