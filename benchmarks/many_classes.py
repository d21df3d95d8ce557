"""Do nine targets suffice where there are a hundred or a thousand classes?

`adaptive` aims at the nine classes that come nearest, as the official AutoAttack does. Here are both on classifiers of
two and three handwritten digits side by side, 100 and 1000 classes, beside searches with more targets: ours, and the
official targeted Auto-PGD.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.autoattack.official import load_official
from benchmarks.common import markdown_table, parser, publish
from f2at.attacks.registry import ATTACKS
from f2at.attacks.survivors import misclassified
from f2at.attacks.target import CountingTarget
from f2at.attacks.targets.torch_target import TorchTarget

_HELD_OUT = 397  # of the 1797 digits
_EPS = 32 / 255
_EVERYTHING = {"first_excess": 1e9, "last_excess": 1e9}  # is within reach
_INTRODUCTION = """\
# Targets, where there are many classes

Two and three handwritten digits (scikit-learn) side by side, 8 pixels high, 100 and 1000 classes; a small convolutional
network with ten scores a digit, which add up, trained for {steps} steps on single-step adversarial images (linf 32/255)
of other digits than those of the {samples} images here. Each search starts from all of them; `standing` are those that
are still right, and `alone` how many of these stand under this search and not under the last one. Gradients are per
image."""

Attack = Callable[[Tensor, Tensor], tuple[Tensor, int]]


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("official", type=Path, help="a checkout of the official AutoAttack")
    arguments.add_argument("--samples", type=int, default=300, help="images (default: %(default)s)")
    arguments.add_argument("--steps", type=int, default=1500, help="of training (default: %(default)s)")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    sections = [_section(digits, options.samples, options.steps, options.official) for digits in (2, 3)]
    publish(
        "many_classes",
        f"python -m benchmarks.many_classes OFFICIAL --samples {options.samples} --steps {options.steps} --write",
        "\n\n".join([_INTRODUCTION.format(samples=options.samples, steps=options.steps), *sections]),
        ("torch", "numpy", "scikit-learn"),
        write=options.write,
    )


def _section(digits: int, samples: int, steps: int, official: Path) -> str:
    classes = 10**digits
    model = _trained(digits, steps)
    images, labels = _draw(np.random.default_rng(1), digits, samples, held_out=True)
    target = TorchTarget(model, classes=classes, snap=False)
    clean = ~misclassified(target.logits(images), labels)
    most = classes - 1 if digits == 2 else 99
    searches = {
        "`adaptive`'s (multi-targeted, 9 targets)": _ours(target),
        "the same, all go on": _ours(target, **_EVERYTHING),
        f"the same, {most} targets": _ours(target, target_classes=most, **_EVERYTHING),
        "official APGD-T, 9 targets": _official(official, model, 9),
        f"official APGD-T, {most} targets": _official(official, model, most),
    }
    standing, gradients = {}, {}
    for name, search in searches.items():
        found, gradients[name] = search(images[clean], labels[clean])
        standing[name] = ~misclassified(target.logits(found), labels[clean])
        print(f"{classes} classes, {name}: {int(standing[name].sum())} stand", file=sys.stderr)
    reference = standing[list(searches)[-1]]
    rows = [
        [
            name,
            f"{int(stands.sum())}",
            f"{100 * float(stands.sum()) / samples:.2f} %",
            f"{int((stands & ~reference).sum())}",
            f"{gradients[name] / samples:.0f}",
        ]
        for name, stands in standing.items()
    ]
    head = f"## {classes} classes\n\nClean accuracy {100 * float(clean.sum()) / samples:.2f} %."
    return f"{head}\n\n{markdown_table(['search', 'standing', 'of all', 'alone', 'gradients'], rows)}"


def _draw(rng: np.random.Generator, digits: int, n: int, *, held_out: bool) -> tuple[Tensor, Tensor]:
    """n images (n, 3, 8, 8 digits) in [0, 1] on the 8-bit grid, and labels (n,)."""
    data = load_digits()
    part = slice(None, _HELD_OUT) if held_out else slice(_HELD_OUT, None)
    pixels: NDArray[np.float32] = (np.round(data.images[part] / 16 * 255) / 255).astype(np.float32)
    chosen = rng.integers(len(pixels), size=(n, digits))
    images = np.concatenate([pixels[chosen[:, place]] for place in range(digits)], axis=2)
    labels = data.target[part][chosen] @ 10 ** np.arange(digits - 1, -1, -1)
    return torch.from_numpy(images)[:, None].repeat(1, 3, 1, 1), torch.from_numpy(labels)


class _Numbers(nn.Module):
    """From ten scores for each digit (N, 10 digits) to one for each number (N, 10^digits), their sum."""

    def __init__(self, digits: int) -> None:
        super().__init__()
        self.digits = digits

    def forward(self, scores: Tensor) -> Tensor:
        first, *others = scores.reshape(-1, self.digits, 10).unbind(1)
        for other in others:
            first = (first[:, :, None] + other[:, None, :]).flatten(1)
        return first


def _trained(digits: int, steps: int) -> nn.Module:
    torch.manual_seed(digits)
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64 * 4 * 4 * digits, 256), nn.ReLU(), nn.Linear(256, 10 * digits)),
        _Numbers(digits),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        images, labels = _draw(rng, digits, 256, held_out=False)
        noisy = (images + torch.empty_like(images).uniform_(-_EPS, _EPS)).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model(noisy), labels), noisy)
        attacked = torch.clamp(images + torch.clamp(noisy - images + _EPS * gradient.sign(), -_EPS, _EPS), 0, 1)
        loss = functional.cross_entropy(model(attacked.detach()), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def _ours(target: TorchTarget, **parameters: float) -> Attack:
    attack = ATTACKS["multi-targeted"].override(**parameters)

    def run(images: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        counting = CountingTarget(target)
        found = attack.run(counting, images, labels, eps=_EPS, norm="linf", rng=np.random.default_rng(0))
        return found, counting.gradient_evaluations

    return run


def _official(checkout: Path, model: nn.Module, targets: int) -> Attack:
    load_official(checkout)
    from autoattack.autopgd_base import APGDAttack_targeted  # type: ignore[import-not-found]

    def run(images: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        counted = 0

        def predict(inputs: Tensor) -> Tensor:
            nonlocal counted
            counted += len(inputs) if inputs.requires_grad else 0
            return model(inputs)  # type: ignore[no-any-return]

        attack = APGDAttack_targeted(
            predict, norm="Linf", eps=_EPS, n_iter=100, n_target_classes=targets, device="cpu", seed=0
        )
        return attack.perturb(images, labels), counted

    return run


if __name__ == "__main__":
    main()
