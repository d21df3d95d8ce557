import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.images.bitplanes import bit_planes, natural_pattern, perturbed_pattern

PIXELS = hnp.arrays(np.uint8, hnp.array_shapes(max_dims=4, max_side=5))


def test_worked_example() -> None:
    q = np.array([0b10110111, 255, 63, 64], dtype=np.uint8)
    np.testing.assert_array_equal(natural_pattern(q, planes=2), [0b10000000, 192, 0, 64])
    np.testing.assert_array_equal(perturbed_pattern(q, planes=2), [0b00110111, 63, 63, 0])


@given(PIXELS, st.integers(0, 8))
def test_patterns_sum_to_the_image_without_overlap(q: np.ndarray, planes: int) -> None:
    natural, perturbed = natural_pattern(q, planes=planes), perturbed_pattern(q, planes=planes)
    assert natural.dtype == perturbed.dtype == np.uint8
    np.testing.assert_array_equal(natural.astype(int) + perturbed.astype(int), q)
    assert perturbed.max() < 2 ** (8 - planes)
    assert not np.any(natural & perturbed)


def test_all_planes_give_the_image_and_none_give_black() -> None:
    q = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(natural_pattern(q, planes=8), q)
    assert not natural_pattern(q, planes=0).any()


@given(PIXELS)
def test_planes_weighted_by_their_powers_give_the_image(q: np.ndarray) -> None:
    planes = bit_planes(q)
    assert len(planes) == 8
    assert all(set(np.unique(plane)) <= {0, 1} for plane in planes)
    np.testing.assert_array_equal(sum(plane.astype(int) << bit for bit, plane in enumerate(planes)), q)


@pytest.mark.parametrize("planes", range(9))
def test_torch_agrees_with_numpy(planes: int) -> None:
    torch = pytest.importorskip("torch")
    q = np.arange(256, dtype=np.uint8).reshape(2, 2, 64)
    for function in (natural_pattern, perturbed_pattern):
        sliced = function(torch.from_numpy(q), planes=planes)
        assert sliced.dtype == torch.uint8
        np.testing.assert_array_equal(sliced.numpy(), function(q, planes=planes))
    np.testing.assert_array_equal(bit_planes(torch.from_numpy(q))[7].numpy(), bit_planes(q)[7])


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="images must be uint8 pixels; got float32"):
        natural_pattern(np.zeros(3, np.float32), planes=2)
    with pytest.raises(ValueError, match="planes must be from 0 to 8; got 9"):
        perturbed_pattern(np.zeros(3, np.uint8), planes=9)
