"""How fast gradient.onnx is, next to PyTorch's autograd and to the forward pass alone, in the same run.

"vs torch" is gradient.onnx over PyTorch eager in float32: channels-last, eval mode, gradient with respect to the
images only. "vs half forward" is gradient.onnx over half the rate of classifier.onnx, which is the limit for a
backward pass that costs as much as the forward pass. Weights are random: speed does not depend on them.
"""

import argparse
import os
import shlex
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import interleaved, markdown_table, parser, publish, ratio
from f2at.attacks.objectives import OBJECTIVES, objectives
from f2at.bundle.runtime import create_session
from f2at.export.graphs import export_graphs
from f2at.models import ARCHITECTURES, create_model

CLASSES = 10
PACKAGES = ("torch", "onnxruntime-gpu", "onnxruntime", "onnx")


def candidates(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What is timed: each call handles one batch."""
    model = create_model(options.architecture, classes=CLASSES, width=options.width, depth=options.depth).eval()
    classifier, gradient = export_graphs(model, (options.size, options.size))
    forward_session = create_session(classifier, threads=options.threads, providers=["CPUExecutionProvider"])
    gradient_session = create_session(gradient, threads=options.threads, providers=["CPUExecutionProvider"])

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.batch, options.size, options.size, 3), dtype=np.uint8)
    labels, targets = rng.integers(0, CLASSES, (2, options.batch))
    feed: dict[str, Any] = {
        "images": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) / np.float32(255),
        "labels": labels,
        "targets": targets,
        "weights": np.eye(len(OBJECTIVES), dtype=np.float32)[np.zeros(options.batch, int)],
    }
    model = model.to(memory_format=torch.channels_last).requires_grad_(False)
    tensors = {name: torch.from_numpy(array) for name, array in feed.items()}

    def autograd() -> Tensor:
        x = tensors["images"].to(memory_format=torch.channels_last).requires_grad_()
        values = objectives(model(x).float(), tensors["labels"], tensors["targets"])
        return torch.autograd.grad((values * tensors["weights"]).sum(), x)[0]

    def autograd_bf16() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return autograd()

    return {
        "torch fp32": autograd,
        "torch bf16": autograd_bf16,
        "gradient.onnx": lambda: gradient_session.run(["gradient"], feed),
        "classifier.onnx": lambda: forward_session.run(["logits"], {"images": pixels}),
    }


def table(seconds: dict[str, list[float]], options: argparse.Namespace, load: float) -> str:
    """One row of Markdown, and its head."""
    ours = seconds["gradient.onnx"]
    doubled = [2 * value for value in seconds["classifier.onnx"]]
    name = "-".join(str(part) for part in (options.architecture, options.depth, options.width) if part is not None)
    row = {
        "model": f"{name}, {options.size}x{options.size}, batch {options.batch}",
        **{f"{key}, images/s": f"{options.batch / statistics.median(each):.0f}" for key, each in seconds.items()},
        "vs torch (quartiles)": ratio(seconds["torch fp32"], ours),
        "vs half forward (quartiles)": ratio(doubled, ours),
        "rounds": str(options.rounds),
        "threads": str(options.threads),
        "load": f"{load:.1f}",
    }
    return markdown_table(row, [row.values()])


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--architecture", choices=tuple(ARCHITECTURES), default="resnet18")
    command.add_argument("--width", type=int, help="default: the paper's")
    command.add_argument("--depth", type=int, help="of a wide_resnet")
    command.add_argument("--size", type=int, default=32, help="height and width in pixels (default: %(default)s)")
    command.add_argument("--batch", type=int, default=32, help="images at once (default: %(default)s)")
    command.add_argument("--threads", type=int, default=os.cpu_count(), help="default: every core")
    command.add_argument("--rounds", type=int, default=60, help="default: %(default)s")
    options = command.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    seconds = interleaved(candidates(options), options.rounds, warm_up=5)
    again = f"python -m benchmarks.gradient {shlex.join(sys.argv[1:])}"
    name = f"gradient-{options.architecture}-{options.width or 'default'}"
    publish(name, again, table(seconds, options, load), PACKAGES, write=options.write)


if __name__ == "__main__":
    main()
