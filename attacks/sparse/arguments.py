"""The arguments that attacks on few pixels, or on a patch, refuse."""

from typing import Any

from f2at.attacks.sparse.sets import check_side
from f2at.attacks.threat import check_counts, check_shapes


def check_pixels(inputs: Any, labels: Any, *, pixels: int) -> None:
    """Raise ValueError for arguments that no l0 attack accepts; looks at shapes and types, never at values."""
    check_shapes(inputs, labels)
    check_counts(pixels=pixels)


def check_patch(inputs: Any, labels: Any, *, side: int) -> None:
    """Raise ValueError for arguments that no patch attack accepts; looks at shapes and types, never at values."""
    check_shapes(inputs, labels)
    check_side(side, *inputs.shape[2:])
