"""Checkpoint to deployable bundle. `export.bundle` and `export.runtime` import without PyTorch."""
