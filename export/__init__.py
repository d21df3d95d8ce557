"""Checkpoint to deployable bundle. `f2at.bundle.format` and `f2at.bundle.runtime` import without PyTorch."""
