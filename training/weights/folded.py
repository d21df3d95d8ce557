"""A model in eval mode, made cheaper to attack: BatchNorm folded into the convolutions, again for each batch."""

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from f2at.models.from_timm import is_timm


class FoldedConvolution(nn.Module):
    """norm(convolution(x)) in eval mode, as one convolution whose weights are worked out by `fold`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, norm
        self.register_buffer("weight", torch.empty_like(convolution.weight, requires_grad=False))
        self.register_buffer("bias", torch.empty_like(norm.bias, requires_grad=False))

    @torch.no_grad()
    def fold(self) -> None:
        """Read the present weights and running statistics."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        self.weight.copy_(self.convolution.weight * scale[:, None, None, None])
        self.bias.copy_(norm.bias - norm.running_mean * scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) as the convolution takes it."""
        settings = self.convolution
        return functional.conv2d(
            x, self.weight, self.bias, settings.stride, settings.padding, settings.dilation, settings.groups
        )


class FoldedModel:
    """The function of a model in eval mode, with every BatchNorm that directly follows a convolution folded into it.

    A PGD-10 asks for ten gradients between two updates of the weights, so folding once saves ten passes of every
    BatchNorm forward and backward. Values are the model's up to rounding. All parts that are not folded are the
    model's own, as are their train and eval modes.

    Args:
        model: on its device already; `torch.fx` must be able to trace it. A model of timm is attacked as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self.folded: list[FoldedConvolution] = []
        self.module: nn.Module = model
        if is_timm(model):
            return
        self.module = traced = fx.symbolic_trace(model)
        modules = dict(traced.named_modules())
        for node in list(traced.graph.nodes):
            norm = modules.get(node.target) if node.op == "call_module" else None
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            producer = node.args[0]
            convolution = modules.get(producer.target) if producer.op == "call_module" else None
            if isinstance(convolution, nn.Conv2d) and convolution.bias is None and len(producer.users) == 1:
                self.folded.append(FoldedConvolution(convolution, norm))
                traced.set_submodule(producer.target, self.folded[-1])
                node.replace_all_uses_with(producer)
                traced.graph.erase_node(node)
        traced.delete_all_unused_submodules()
        traced.recompile()

    def fold(self) -> nn.Module:
        """The function at the model's present weights and running statistics, until they change."""
        for convolution in self.folded:
            convolution.fold()
        return self.module
