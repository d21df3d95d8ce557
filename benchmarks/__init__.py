"""Every published number, each with the command that reproduces it. Results are under benchmarks/results/."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command `f2at` does, before anything loads PyTorch
