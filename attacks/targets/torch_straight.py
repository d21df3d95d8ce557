"""A PyTorch model whose roundings, signs and steps pass the gradient straight through, for models that hide theirs.

What is constant between jumps has the slope 0. Backward Pass Differentiable Approximation (Athalye, Carlini & Wagner,
"Obfuscated Gradients Give a False Sense of Security", 2018, https://arxiv.org/abs/1802.00420, Section 4.1) computes it
as it is, and differentiates it as if it were the identity. `f2at.gradient.straight` does the same to ONNX graphs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from f2at.attacks.target import Evaluation
from f2at.attacks.targets.torch_target import TorchTarget

_WINDOW = 1.0  # a sign or a step moves with what lies no farther than this from its jump
_ROUNDED = {"round", "floor", "ceil", "trunc", "fix"}
_SIGNS = {"sign", "sgn"}
_STEPS = {"gt": 1, "ge": 1, "lt": -1, "le": -1, "greater": 1, "greater_equal": 1, "less": -1, "less_equal": -1}
_CASTS = {"to", "type", "type_as", "float", "double", "half", "bfloat16", "int", "long", "short", "byte", "char"}


class StraightTarget(TorchTarget):
    """A module as it answers, with the gradients of one that jumps nowhere.

    These operations, as functions or methods of tensors, pass the gradient on: round, floor, ceil, trunc and casts to
    integers as the identity; sign, and comparisons whose answer becomes a number, as the identity near the jump. A mask
    that only chooses between values stays one. What TorchScript runs is not seen.

    Args:
        model: see `TorchTarget`.
        classes: see `TorchTarget`.
        layers: the module that `passed` names its layers after, which may be a part of the model; None is all of it.

    Attributes:
        passed: what has passed a gradient so far, in the order of the module, as "layer: operation".
    """

    def __init__(self, model: nn.Module, *, classes: int, layers: nn.Module | None = None) -> None:
        super().__init__(model, classes=classes)
        self._mode = _PassThrough()
        self._names = {part: name for name, part in (layers or model).named_modules()}

    @property
    def passed(self) -> Sequence[str]:
        """See the class."""
        return list(self._mode.passed)

    def gradient(self, inputs: Tensor, labels: Tensor, targets: Tensor, weights: Tensor) -> Evaluation:
        """Logits (N, C), objectives (N, J), and what stands in for the gradient of their weighted sum."""
        with self._mode, self._located():
            return super().gradient(inputs, labels, targets, weights)

    @contextmanager
    def _located(self) -> Iterator[None]:
        """Tell the mode which layer is running."""
        inside = self._mode.inside

        def enter(part: nn.Module, _: Any) -> None:
            inside.append(self._names[part])

        def leave(*_: Any) -> None:
            inside.pop()

        handles = [
            handle
            for part in self._names
            for handle in (part.register_forward_pre_hook(enter), part.register_forward_hook(leave, always_call=True))
        ]
        try:
            yield
        finally:
            inside.clear()
            for handle in handles:
                handle.remove()


class _PassThrough(TorchFunctionMode):
    """Rewrites what jumps while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: dict[str, None] = {}
        self.inside: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        source = args[0] if args else given.get("input")
        if not isinstance(source, Tensor) or not torch.is_grad_enabled():
            return func(*args, **given)
        name = getattr(func, "__name__", "")
        plain = name.removesuffix("_")
        if plain in _CASTS:
            return self._cast(func(*args, **given), source)
        if plain in (*_ROUNDED, *_SIGNS) and source.requires_grad:
            near = source.clone()  # the operation may be in place
            with torch.no_grad():
                value = func(*args, **given).clone()
            found = self._passing(plain, value, near if plain in _ROUNDED else near.clamp(-_WINDOW, _WINDOW))
            return found if plain == name else source.copy_(found)
        result = func(*args, **given)
        if name in _STEPS:
            difference = _STEPS[name] * (source - (args[1] if len(args) > 1 else given["other"]))
            if difference.requires_grad:
                result.number = name, difference.clamp(-_WINDOW, _WINDOW)
        return result

    def _cast(self, result: Tensor, source: Tensor) -> Tensor:
        """To integers, which stay floats here, or of the answer of a comparison, which becomes a number."""
        name, near = getattr(source, "number", ("cast to integers", source))
        if result.dtype == torch.bool or not near.requires_grad:
            return result
        if source.dtype == torch.bool:
            kind = result.dtype if result.is_floating_point() else near.dtype
            return self._passing(name, result.to(kind), near.to(kind))
        return result if result.is_floating_point() else self._passing(name, result.to(near.dtype), near)

    def _passing(self, name: str, value: Tensor, source: Tensor) -> Tensor:
        """A value with the gradient of another."""
        layer = next((layer for layer in reversed(self.inside) if layer), "")
        self.passed[f"{layer}: {name}" if layer else name] = None
        return value.detach() + (source - source.detach())
