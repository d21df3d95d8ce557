from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from f2at.attacks import matrices


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9), data=st.data())
def test_adjoint(seed: int, height: int, width: int, data: st.DataObject) -> None:
    """<A x B^T, y> = <x, A^T y B> for every pair of matrices that an attack may build."""

    def draw(size: int) -> matrices.Matrix:
        if data.draw(st.booleans()):
            edge = data.draw(st.sampled_from(["zero", "nearest"]))
            return matrices.convolution(matrices.gaussian(data.draw(st.sampled_from([1, 3, 7])), 3.0), size, edge=edge)
        resized = data.draw(st.integers(1, size))
        return matrices.resize_and_pad(size, resized, data.draw(st.integers(0, size - resized)))

    left, right = draw(height), draw(width)
    x, y = rng(seed).standard_normal((2, 2, 3, height, width))
    there, back = matrices.apply(left, x, right), matrices.adjoint(left, y, right)
    assert np.sum(there * y) == pytest.approx(np.sum(x * back), abs=1e-9)


@pytest.mark.parametrize(("edge", "mode"), [("zero", "constant"), ("nearest", "replicate")])
@pytest.mark.parametrize("shape", [(9, 6), (4, 4), (3, 1)])
def test_convolution_is_a_convolution(edge: str, mode: Any, shape: tuple[int, int]) -> None:
    """Depthwise, with a kernel that is not symmetric and larger than some of the images."""
    kernel = rng().standard_normal(5)
    x = torch.from_numpy(rng(1).standard_normal((2, 3, *shape)))
    weight = torch.from_numpy(np.outer(kernel, kernel)).expand(3, 1, 5, 5)
    expected = F.conv2d(F.pad(x, (2, 2, 2, 2), mode=mode), weight, groups=3)
    rows, columns = (torch.from_numpy(matrices.convolution(kernel, size, edge=edge)) for size in shape)
    torch.testing.assert_close(matrices.apply(rows, x, columns), expected)


@pytest.mark.parametrize(("resized", "offset"), [(9, 0), (8, 1), (8, 0), (5, 4), (5, 2), (1, 8)])
def test_resize_and_pad_is_interpolation(resized: int, offset: int) -> None:
    x = torch.from_numpy(rng().standard_normal((2, 3, 9, 9)))
    matrix = torch.from_numpy(matrices.resize_and_pad(9, resized, offset))
    rest = 9 - resized - offset
    expected = F.pad(F.interpolate(x, (resized, resized), mode="bilinear"), (offset, rest, offset, rest))
    torch.testing.assert_close(matrices.apply(matrix, x, matrix), expected)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("length", [3, 9, 25])
def test_convolution_of_what_is_mirrored(size: int, length: int) -> None:
    """Also where the kernel sees several mirror images."""
    kernel, values = rng().standard_normal(length), rng(1).standard_normal(size)
    padded = np.pad(values, length // 2, mode="symmetric")
    expected = np.correlate(padded, kernel, mode="valid")
    np.testing.assert_allclose(matrices.convolution(kernel, size, edge="symmetric") @ values, expected, atol=1e-12)


def test_resizing_by_hand() -> None:
    # Two points at (i + 1/2) 3/2 - 1/2 = 1/4 and 7/4 of three values, after one zero.
    expected = np.array([[0, 0, 0], [0.75, 0.25, 0], [0, 0.25, 0.75]])
    np.testing.assert_allclose(matrices.resize_and_pad(3, 2, 1), expected)
    np.testing.assert_array_equal(matrices.resize_and_pad(4, 4, 0), np.eye(4))
    np.testing.assert_array_equal(matrices.resize_and_pad(1, 1, 0), [[1]])


def test_gaussian_by_hand() -> None:
    # Three values at -1, 0 and 1 standard deviations: e^(-1/2) : 1 : e^(-1/2).
    side = np.exp(-0.5) / (1 + 2 * np.exp(-0.5))
    np.testing.assert_allclose(matrices.gaussian(3, 1.0), [side, 1 - 2 * side, side])
    np.testing.assert_allclose(matrices.gaussian(5, 0.0), 0.2)
