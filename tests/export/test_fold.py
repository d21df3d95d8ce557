import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from f2at.export.fold import fold_batch_norm
from f2at.models import create_model


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"width": 8}),
        ("resnet50", {"width": 4}),
        ("wide_resnet", {"width": 1, "depth": 10}),
        ("vgg16_bn", {"width": 4}),
    ],
)
def test_folded_architectures_compute_the_same(
    name: str, options: dict[str, Any], randomise_norms: Callable[[nn.Module], nn.Module]
) -> None:
    torch.manual_seed(0)
    model = randomise_norms(create_model(name, classes=5, **options))
    before = copy.deepcopy(model.state_dict())
    images = torch.rand(3, 3, 32, 32)

    folded = fold_batch_norm(model)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(module.bias is not None for module in folded.modules() if isinstance(module, nn.Conv2d))
    torch.testing.assert_close(folded(images), model(images), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_norm_after_a_convolution_disappears_into_it(affine: bool, bias: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, affine=affine)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), norm).train()
    model(torch.randn(8, 3, 5, 5))
    model.eval()
    x = torch.randn(2, 3, 5, 5)

    folded = fold_batch_norm(model)

    assert len([module for module in folded.modules() if isinstance(module, nn.Conv2d)]) == 1
    torch.testing.assert_close(folded(x), model(x))


def test_a_norm_that_shares_its_convolution_is_kept_apart(
    randomise_norms: Callable[[nn.Module], nn.Module],
) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.convolution(x)
            total: Tensor = self.norm(y) + y
            return total

    torch.manual_seed(0)
    model = randomise_norms(Shared())
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(fold_batch_norm(model)(x), model(x))
