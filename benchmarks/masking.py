"""Models trained to look linear near their images (ELLE): does an audit see that their gradients mislead?

A regulariser makes the loss linear between random points of the ball (Rocamora et al., "Efficient local linearity
regularization to overcome catastrophic overfitting", ICLR 2024, https://arxiv.org/abs/2401.11618), and training attacks
by a single step. On RobustBench, AutoAttack leaves 39.77 % of such a model standing where a better attack leaves
32.46 %. Here small networks are trained so on scikit-learn's digits, and audited by `adaptive` and `standard`; with
--official, by the official AutoAttack as well.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.autoattack.official import COMMIT, REPOSITORY, load_official
from benchmarks.common import markdown_table, parser, publish
from f2at.audit import AuditRequest
from f2at.audit.module import audit_module

_TEST = 200  # images
_STEPS, _BATCH = 20, 65  # of an epoch
_COLUMNS = ("width, weight, seed", "clean", "standing: official", "`standard`", "`adaptive`", "flags of `adaptive`")


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--eps", type=int, default=48, help="levels (default: %(default)s)")
    arguments.add_argument("--epochs", type=int, default=40, help="(default: %(default)s)")
    arguments.add_argument(
        "--models",
        nargs="+",
        default=["24,0,1", "24,300,1", "24,1000,1", "12,300,0", "12,300,1"],
        metavar="WIDTH,WEIGHT,SEED",
        help="of the network, of the regulariser, of the training (default: %(default)s)",
    )
    arguments.add_argument("--official", type=Path, metavar="CHECKOUT", help="of AutoAttack")
    options = arguments.parse_args()
    official = None if options.official is None else load_official(options.official)
    torch.set_num_threads(1)
    images, labels = digits()
    rows = []
    for text in options.models:
        width, weight, seed = text.split(",")
        model = trained(images, labels, options.eps / 255, int(width), float(weight), int(seed), options.epochs)
        rows.append([text, *_row(model, images[-_TEST:], labels[-_TEST:], options.eps, official)])
        print(rows[-1], flush=True)
    body = (
        "# Models trained to look linear\n\n"
        f"Digits (scikit-learn), linf {options.eps}/255, {_TEST} images, {options.epochs} epochs. Counts of images.\n\n"
        f"{markdown_table(_COLUMNS, rows)}"
    )
    if official is not None:
        body += f"\n\nOfficial: {REPOSITORY} at {COMMIT}."
    command = f"python -m benchmarks.masking --eps {options.eps} --epochs {options.epochs}"
    command += f" --models {' '.join(options.models)}{'' if official is None else ' --official CHECKOUT'} --write"
    publish("masking", command, body, ("numpy", "torch"), write=options.write)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """8-bit images (N, 8, 8, 3) and labels, in random order."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    grey = np.rint(data.images[order] / 16 * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3), data.target[order]


def trained(
    images: np.ndarray, labels: np.ndarray, eps: float, width: int, weight: float, seed: int, epochs: int
) -> nn.Module:
    """A network trained on all but the last images, by single steps and the regulariser."""
    torch.manual_seed(seed)
    x = torch.from_numpy(images[: _STEPS * _BATCH]).permute(0, 3, 1, 2).float().div(255).contiguous()
    y = torch.from_numpy(labels[: _STEPS * _BATCH])
    model = nn.Sequential(
        *(nn.Conv2d(3, width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * width, 10)),
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=epochs * _STEPS)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(_BATCH):
            clean, of = x[rows].requires_grad_(), y[rows]
            (slope,) = torch.autograd.grad(cross_entropy(model(clean), of), clean)
            clean = clean.detach()
            loss = cross_entropy(model((clean + eps * slope.sign()).clamp(0, 1)), of)
            if weight:
                loss = loss + weight * curvature(model, clean, of, eps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval().requires_grad_(False)


def curvature(model: nn.Module, clean: Tensor, labels: Tensor, eps: float) -> Tensor:
    """How far the loss is from linear between two random points around each image: a mean of squares."""
    first, second = (clean + eps * (2 * torch.rand_like(clean) - 1) for _ in range(2))
    share = torch.rand(len(clean), 1, 1, 1)
    points = torch.cat([first, second, (1 - share) * first + share * second])
    losses = cross_entropy(model(points), labels.repeat(3), reduction="none")
    one, other, between = losses.chunk(3)
    share = share.flatten()
    return ((between - (1 - share) * one - share * other) ** 2).mean()


def _row(model: nn.Module, images: np.ndarray, labels: np.ndarray, eps: int, official: Any) -> list[str]:
    """What stands."""
    theirs = ""
    if official is not None:
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous()
        y = torch.from_numpy(labels)
        suite = official(model, norm="Linf", eps=eps / 255, version="standard", device="cpu", verbose=False, seed=0)
        found = suite.run_standard_evaluation(x, y, bs=len(x))
        theirs = str(int((model(found).argmax(dim=1) == y).sum()))
    classes = [str(digit) for digit in range(10)]
    reports = [
        audit_module(
            model,
            images,
            labels,
            AuditRequest(suite=suite, eps=f"{eps}/255", curve=False, examples=0),
            classes=classes,
        )
        for suite in ("standard", "adaptive")
    ]
    raised = ", ".join(flag["name"] for flag in reports[1]["flags"] if flag["raised"])
    ours = [str(report["robust"]["k"]) for report in reports]
    return [str(reports[0]["clean"]["k"]), theirs, *ours, raised]


if __name__ == "__main__":
    main()
