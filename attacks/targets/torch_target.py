"""A PyTorch model as a target, for training, validation and audits on a GPU.

This and `torch_straight` alone import torch in attacks.
"""

import torch

from f2at.attacks.objectives import objectives
from f2at.attacks.target import Evaluation
from f2at.attacks.threat import to_grid


class TorchTarget:
    """A module that maps images (N, 3, H, W) in [0, 1] to logits (N, C), attacked on the device it lives on.

    The module is called as it is: its train or eval mode, its parameters' requires_grad and the caller's
    autocast are left alone. Only the gradient of the inputs is computed; parameters receive none.
    classes: C, needed for a module without a linear layer `head`. snap: see Target.
    """

    def __init__(self, model: torch.nn.Module, *, classes: int | None = None, snap: bool = True) -> None:
        found = getattr(getattr(model, "head", None), "out_features", None) if classes is None else classes
        if not isinstance(found, int):
            raise ValueError(f"classes must be given for a model without a linear `head`; got {found!r}")
        self.model = model
        self.classes = found
        self.snap = snap

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (N, C), float32, without a graph."""
        with torch.no_grad():
            logits: torch.Tensor = self.model(to_grid(inputs) if self.snap else inputs)
            return logits.float()

    def gradient(
        self, inputs: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> Evaluation:
        """Logits (N, C), objectives (N, J), and d(sum_j weights_j objective_j) / d inputs, none with a graph."""
        with torch.inference_mode(False), torch.enable_grad():
            # A copy, so that neither the caller's graph nor an inference tensor is touched.
            images = (to_grid(inputs) if self.snap else inputs).detach().clone().requires_grad_()
            logits = self.model(images).float()
            values = objectives(logits, labels, targets)
            (gradient,) = torch.autograd.grad((weights * values).sum(), images)
        return Evaluation(logits.detach(), values.detach(), gradient)
