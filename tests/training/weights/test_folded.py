import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from f2at.models import ARCHITECTURES, Classifier, create_model
from f2at.training.weights.folded import FoldedModel


def used(name: str) -> Classifier:
    """A small model whose running statistics are no longer the initial ones."""
    torch.manual_seed(0)
    depth = 10 if name == "wide_resnet" else None
    model = create_model(name, classes=3, width=2, depth=depth).to(memory_format=torch.channels_last)
    update(model)
    return model


def update(model: nn.Module) -> None:
    """A step of training."""
    model.train()
    functional.cross_entropy(model(torch.rand(8, 3, 16, 16)), torch.arange(8) % 3).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad)


def gradient(model: nn.Module, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf).log_softmax(1)[:, 0].sum(), leaf)[0]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_the_model_in_eval_mode_after_every_update(name: str) -> None:
    model = used(name)
    folded = FoldedModel(model)
    images = torch.rand(4, 3, 16, 16)
    for _ in range(2):
        model.eval()
        found = folded.fold()
        torch.testing.assert_close(found(images), model(images), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient(found, images), gradient(model, images), rtol=1e-3, atol=1e-6)
        before = model(images)
        update(model)
        assert not torch.allclose(model.eval()(images), before, atol=1e-3), (
            "an update that changes nothing tests nothing"
        )


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("resnet50", 0), ("vgg16_bn", 0), ("wide_resnet", 3)])
def test_only_norms_without_a_convolution_before_them_are_left(name: str, left: int) -> None:
    """A pre-activation network has norms of sums: at the beginning of each block but the first, and at the end."""
    module = FoldedModel(used(name)).fold()
    assert isinstance(module, fx.GraphModule)
    called = {node.target for node in module.graph.nodes if node.op == "call_module"}
    assert sum(isinstance(module.get_submodule(target), nn.BatchNorm2d) for target in called) == left


def test_the_model_is_left_alone() -> None:
    model = used("resnet18")
    names, modules = zip(*model.named_modules(), strict=True)
    folded = FoldedModel(model)
    assert tuple(dict(model.named_modules())) == names
    assert tuple(model.modules()) == modules
    folded.module.eval()
    folded.module.train()
    assert all(module.training for module in model.modules())


def test_no_weight_asks_for_a_gradient_in_a_folded_convolution() -> None:
    folded = FoldedModel(used("resnet18"))
    assert not any(convolution.weight.requires_grad or convolution.bias.requires_grad for convolution in folded.folded)
