"""The gradient graph by the differentiated ONNX graph next to the one by PyTorch's traced autodiff, in the same run.

"new vs old": how many times as fast the first is. "vs torch": against PyTorch eager in float32, channels-last, gradient
by the images only. "vs half forward": against half the rate of classifier.onnx. Medians of the ratios within each
round, with quartiles; one thread.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import interleaved, markdown_table, parser, publish, ratio
from f2at.attacks.objectives import OBJECTIVES, objectives
from f2at.bundle.runtime import create_session
from f2at.export import graphs, traced
from f2at.models import create_model

PACKAGES = ("torch", "onnxruntime-gpu", "onnxruntime", "onnx")
MODELS = (("resnet18", 16, 32), ("resnet18", 64, 8), ("vgg16_bn", 16, 32))
SIDE = 32


def row(architecture: str, width: int, batch: int, rounds: int) -> dict[str, str]:
    torch.manual_seed(0)
    model = create_model(architecture, classes=10, width=width).eval()
    classifier, new = graphs.export_graphs(model, (SIDE, SIDE))
    _, old = traced.export_graphs(model, (SIDE, SIDE))
    forward, fast, slow = (
        create_session(graph, threads=1, providers=["CPUExecutionProvider"]) for graph in (classifier, new, old)
    )
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch, SIDE, SIDE, 3), dtype=np.uint8)
    labels, targets = rng.integers(0, 10, (2, batch))
    feed: dict[str, Any] = {
        "images": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) / np.float32(255),
        "labels": labels,
        "targets": targets,
        "weights": np.eye(len(OBJECTIVES), dtype=np.float32)[np.zeros(batch, int)],
    }
    model = model.to(memory_format=torch.channels_last).requires_grad_(False)
    tensors = {name: torch.from_numpy(array) for name, array in feed.items()}

    def autograd() -> Tensor:
        x = tensors["images"].to(memory_format=torch.channels_last).requires_grad_()
        values = objectives(model(x).float(), tensors["labels"], tensors["targets"])
        return torch.autograd.grad((values * tensors["weights"]).sum(), x)[0]

    candidates: dict[str, Callable[[], object]] = {
        "new": lambda: fast.run(["gradient"], feed),
        "old": lambda: slow.run(["gradient"], feed),
        "torch": autograd,
        "forward": lambda: forward.run(["logits"], {"images": pixels}),
    }
    seconds = interleaved(candidates, rounds, warm_up=2)
    return {
        "model": f"{architecture}-{width}, {SIDE}x{SIDE}, batch {batch}",
        "new vs old": ratio(seconds["old"], seconds["new"]),
        "new vs torch": ratio(seconds["torch"], seconds["new"]),
        "new vs half forward": ratio([2 * value for value in seconds["forward"]], seconds["new"]),
        "old vs half forward": ratio([2 * value for value in seconds["forward"]], seconds["old"]),
        "rounds": str(rounds),
        "size, new and old, MB": f"{len(new) / 1e6:.2f}, {len(old) / 1e6:.2f}",
    }


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--rounds", type=int, default=40)
    options: argparse.Namespace = command.parse_args()
    torch.set_num_threads(1)
    rows = [row(*model, options.rounds) for model in MODELS]
    table = markdown_table(rows[0], [each.values() for each in rows])
    publish(
        "gradient_speed", f"python -m benchmarks.gradient_speed --rounds {options.rounds} --write", table, PACKAGES,
        write=options.write,
    )  # fmt: skip


if __name__ == "__main__":
    main()
