from collections.abc import Callable

import numpy as np
import pytest

from f2at.images.pixels import Images


def _painted(count: int, height: int, width: int) -> Images:
    """Waves of several colours with a sharp bright square, a dark one, and a grey one."""
    row, column = np.mgrid[:height, :width] * (24 / min(height, width))
    phases = np.arange(count)[:, None, None, None]
    waves = [np.sin(row / a + phases[..., 0]) * np.cos(column / b) for a, b in ((3, 4), (5, 2), (7, 9))]
    found = 128 + 100 * np.stack(waves, axis=3)
    h, w = height // 4, width // 4
    found[:, h : 2 * h, w : 2 * w] = (230, 200, 20)
    found[:, 2 * h : 3 * h, w : 2 * w] = (10, 0, 30)
    found[:, h : 2 * h, 2 * w : 3 * w] = 140
    return found.astype(np.uint8)


@pytest.fixture(scope="session")
def paint() -> Callable[[int, int, int], Images]:
    """Pictures by their number, height and width."""
    return _painted
