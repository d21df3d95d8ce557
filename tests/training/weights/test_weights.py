"""The running average and the adversarial perturbation of weights."""

import copy

import pytest
import torch
from torch import nn

from f2at.models import Classifier, create_model
from f2at.training.weights.averaging import WeightAverage
from f2at.training.weights.batch_norm import running_statistics
from f2at.training.weights.perturbation import weight_perturbation


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model("resnet18", classes=3, width=2).train()


def test_average_by_hand(model: Classifier) -> None:
    """Decays 1/10, 2/11, then the limit 0.2; BatchNorm's statistics go along."""
    average = WeightAverage(model, 0.2)
    names = ["head.bias", "body.0.1.running_mean"]
    expected = {name: model.state_dict()[name].clone() for name in names}
    for decay in (1 / 10, 2 / 11, 0.2, 0.2):
        with torch.no_grad():
            for name in names:
                model.state_dict()[name].normal_()
                expected[name] = decay * expected[name] + (1 - decay) * model.state_dict()[name]
        average.update(model)
    for name in names:
        torch.testing.assert_close(average.model.state_dict()[name], expected[name])
    assert not average.model.training


def test_average_of_what_does_not_move_is_exact(model: Classifier) -> None:
    """The normalisation's constants among them; a rounding error at each of 40,000 steps would add up."""
    average = WeightAverage(model, 0.999)
    for _ in range(20):
        average.update(model)
    model(torch.rand(2, 3, 8, 8))  # counts a batch
    average.update(model)
    for name, tensor in average.model.state_dict().items():
        if not name.endswith(("running_mean", "running_var")):
            assert torch.equal(tensor, model.state_dict()[name]), name


def test_average_goes_on_where_it_stopped(model: Classifier) -> None:
    whole, stopped = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    for _ in range(3):
        with torch.no_grad():
            model.head.weight.normal_()
        whole.update(model)
        stopped.update(model)
    resumed = WeightAverage(model, 0.9)
    resumed.load_state_dict(stopped.state_dict())
    with torch.no_grad():
        model.head.weight.normal_()
    whole.update(model)
    resumed.update(model)
    assert torch.equal(whole.model.head.weight, resumed.model.head.weight)


def test_perturbation_by_hand_and_back() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
        layer.bias.fill_(7.0)
    layer.weight.grad, layer.bias.grad = torch.tensor([[0.0, -2.0]]), torch.tensor([1.0])
    with weight_perturbation(layer, 0.1):
        torch.testing.assert_close(layer.weight.data, torch.tensor([[3.0, 3.5]]))  # 0.1 x 5 along (0, -1)
        assert layer.bias.item() == 7.0
        with torch.no_grad():
            layer.weight += 1.0  # a step, which stays
    torch.testing.assert_close(layer.weight.data, torch.tensor([[4.0, 5.0]]))


def test_perturbation_raises_the_loss_and_is_gone_after_an_error(model: Classifier) -> None:
    images, labels = torch.rand(16, 3, 8, 8), torch.arange(16) % 3
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = [nn.functional.cross_entropy(model(images), labels)]
    losses[0].backward()

    def interrupted() -> None:
        with weight_perturbation(model, 0.01):
            losses.append(nn.functional.cross_entropy(model(images), labels))
            raise RuntimeError("stop")

    with running_statistics(model, update=False), pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert losses[1] > losses[0]
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.data, before[name], rtol=1e-5, atol=1e-6)


def test_perturbation_is_the_authors_step_of_a_proxy(model: Classifier) -> None:
    """Their way: a copy of the model climbs the loss by SGD; the difference is scaled to gamma times each weight."""
    images, labels = torch.rand(16, 3, 8, 8), torch.arange(16) % 3
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    proxy = copy.deepcopy(model)
    climb = torch.optim.SGD(proxy.parameters(), lr=1.0)
    (-nn.functional.cross_entropy(proxy(images), labels)).backward()
    climb.step()
    expected = {}
    for (name, old), new in zip(model.state_dict().items(), proxy.state_dict().values(), strict=True):
        if old.ndim > 1 and "weight" in name:
            expected[name] = old + 0.005 * (old.norm() / ((new - old).norm() + 1e-20)) * (new - old)

    with running_statistics(model, update=False):
        nn.functional.cross_entropy(model(images), labels).backward()
    with weight_perturbation(model, 0.005):
        for name, tensor in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                torch.testing.assert_close(tensor, expected.get(name, before[name]), rtol=1e-4, atol=1e-6)
    assert len(expected) > 10


def test_a_weight_without_gradient_stays() -> None:
    layer = nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    with weight_perturbation(layer, 0.1):
        assert torch.equal(layer.weight, before)
