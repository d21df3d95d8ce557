import torch
from torch import Tensor

from benchmarks.training_step import ours, reference
from f2at.models import create_model
from f2at.training.configuration.options import AttackConfig
from f2at.training.methods import SAT


def test_both_loops_take_the_same_step() -> None:
    """Otherwise their times could not be compared. Two steps: the second runs on folded weights that have changed."""
    torch.manual_seed(0)
    batch = 0.1 + 0.8 * torch.rand(8, 3, 16, 16), torch.arange(8)  # away from the bounds, where starts are clipped
    found: list[Tensor] = []
    for make in (reference, lambda *arguments: ours(SAT(), *arguments)):
        torch.manual_seed(1)
        step = make(batch, 4, AttackConfig(steps=3))
        step()
        found.append(torch.cat([weight.flatten() for weight in step().parameters()]).detach())
    torch.manual_seed(1)
    model = create_model("resnet18", classes=10, width=4)
    moved = (found[0] - torch.cat([weight.flatten() for weight in model.parameters()])).detach().norm()
    assert float((found[1] - found[0]).norm()) < 0.02 * float(moved)
