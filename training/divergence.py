"""A loss that is no longer a number ends a run."""

import math
from collections.abc import Mapping


class DivergenceError(RuntimeError):
    """The loss became infinite or not a number."""


def require_finite(means: Mapping[str, float], epoch: int) -> None:
    """Refuse to go on where a term of the loss, averaged over the epoch (counted from 0) so far, is not finite."""
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        raise DivergenceError(
            f"training diverged in epoch {epoch + 1}: {', '.join(broken)} is no longer finite; lower optimizer.lr"
            + (" or, for method.scope = others, method.gamma" if "natural_margin" in means else "")
        )
