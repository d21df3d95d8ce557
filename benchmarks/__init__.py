"""Every published number, each with the command that reproduces it. Results are under benchmarks/results/."""

import os

import f2at  # noqa: F401 (before anything loads ONNX Runtime, which would tell its makers of every model)

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command `f2at` does, before anything loads PyTorch
