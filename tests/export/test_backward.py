"""Each rule against PyTorch's own backward operator."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from f2at.export.backward import (
    average_pool_backward,
    convolution_backward,
    max_pool_backward,
    relu_backward,
    step,
)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)), dtype=torch.float64)


@settings(deadline=None, max_examples=150)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
)
def test_convolution_of_any_geometry(
    size: tuple[int, int], kernel: tuple[int, int], padding: tuple[int, int], stride: int, groups: int
) -> None:
    assume(all(n + 2 * p >= k for n, p, k in zip(size, padding, kernel, strict=True)))
    assume(stride == 1 or groups == 1)
    x = draw(2, 4, *size).float().requires_grad_()
    weight = draw(6, 4 // groups, *kernel).float()
    y = F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
    upstream = draw(*y.shape).float()
    (expected,) = torch.autograd.grad(y, x, upstream)

    found, _, _ = convolution_backward(
        upstream, x, weight, None, (stride, stride), padding, (1, 1), False, (0, 0), groups, None
    )

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stride", "dilation", "groups"), [((1, 2), 1, 1), ((1, 1), 2, 1), ((2, 2), 1, 2)])
def test_convolutions_without_a_rule_are_refused(stride: tuple[int, int], dilation: int, groups: int) -> None:
    x, weight = torch.zeros(1, 4, 8, 8), torch.zeros(4, 4 // groups, 3, 3)
    with pytest.raises(NotImplementedError, match="without dilation"):
        convolution_backward(x, x, weight, None, stride, (1, 1), (dilation, dilation), False, (0, 0), groups, None)


def test_step_is_exact_from_the_smallest_activations_to_the_largest() -> None:
    x = torch.tensor([0.0, 1e-28, 1e-7, 1.0, 1e8, 3e38]).view(1, 6, 1, 1)
    assert step(x).flatten().tolist() == [0, 1, 1, 1, 1, 1]


def test_relu_gradient_is_zero_where_the_output_is_zero() -> None:
    upstream, output = torch.full((1, 1, 1, 3), 5.0), torch.tensor([0.0, 1e-20, 2.0]).view(1, 1, 1, 3)
    assert relu_backward(upstream, output, 0).flatten().tolist() == [0, 5, 5]
    assert relu_backward(upstream[0, 0], output[0, 0], 0).flatten().tolist() == [0, 5, 5]


def test_average_pool_spreads_evenly() -> None:
    x = draw(2, 3, 4, 5).float().requires_grad_()
    y = F.avg_pool2d(x, (4, 5))
    upstream = draw(*y.shape).float()
    (expected,) = torch.autograd.grad(y, x, upstream)
    torch.testing.assert_close(average_pool_backward(upstream, x, (4, 5)), expected)
    with pytest.raises(NotImplementedError, match="whole images"):
        average_pool_backward(upstream, x, (2, 2))


@pytest.mark.parametrize("ties", [False, True])
def test_max_pool_sends_each_gradient_where_autograd_does(ties: bool) -> None:
    x = torch.ones(2, 3, 5, 7) if ties else draw(2, 3, 5, 7).float()
    x.requires_grad_()
    y, indices = F.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    upstream = draw(*y.shape).float()
    (expected,) = torch.autograd.grad(y, x, upstream)
    torch.testing.assert_close(max_pool_backward(upstream, x, indices), expected)
