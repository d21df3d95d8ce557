"""Fold batch normalisation into convolutions: fewer operations, and a network of convolutions alone."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from f2at.models.from_timm import is_timm


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """The function `model` computes in eval mode, without BatchNorm layers; `model` itself is left alone.

    A model of timm is returned as it is.

    A normalisation that follows a convolution, and only it, is folded into that one's weights; any other becomes a
    depthwise 1x1 convolution, which ONNX Runtime keeps in its blocked layout. Works on whatever `torch.fx` can trace.
    """
    if is_timm(model):
        return model
    traced = fx.symbolic_trace(copy.deepcopy(model).eval())
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op != "call_module":
            continue
        module = modules[node.target]
        if isinstance(module, nn.ReLU):
            module.inplace = False  # in-place operations have no place in a traced graph
        if isinstance(module, nn.Conv2d) and module.bias is None:
            # The exporter would compute a bias of zeros in the graph, and ONNX Runtime blocks constant ones only.
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
            traced.set_submodule(node.target, _GlobalAveragePool())
        if not isinstance(module, nn.BatchNorm2d):
            continue
        producer = node.args[0]
        convolution = modules.get(producer.target) if producer.op == "call_module" else None
        if isinstance(convolution, nn.Conv2d) and len(producer.users) == 1:
            traced.set_submodule(producer.target, _absorb(convolution, module))
            node.replace_all_uses_with(producer)
            traced.graph.erase_node(node)
        else:
            traced.set_submodule(node.target, _absorb(_identity(module.num_features), module))
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.requires_grad_(False)


def _absorb(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The convolution that computes norm(convolution(x)) in eval mode, worked out in double precision."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double()
    if convolution.bias is not None:
        shift = shift + convolution.bias.double()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = shift * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    folded = copy.deepcopy(convolution)
    folded.weight = nn.Parameter((convolution.weight.double() * scale[:, None, None, None]).float())
    folded.bias = nn.Parameter(shift.float())
    return folded


class _GlobalAveragePool(nn.Module):
    """Average over the whole image as an AveragePool, whose gradient is a convolution (adaptive pooling decomposes)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, (int(x.shape[2]), int(x.shape[3])))


def _identity(channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
    nn.init.ones_(convolution.weight)
    return convolution
