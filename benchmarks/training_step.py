"""Cost of an F2AT step against a SAT step, in the same run: the inner attack, forward, backward and update.

In units of a forward pass: PGD-10 costs 10 x (1 + 1), training on x' 3, and F2AT's two pattern batches 6 more, so
29 / 23 = 1.26 is what to expect; an attack that also computed weight gradients would hide some of it (39 / 33 = 1.18).
"""

from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import torch

from benchmarks.common import interleaved, parser, publish, ratio
from models import create_model
from training.config import AttackConfig
from training.inner_attack import find_adversarial
from training.methods import F2AT, SAT, Method


def step(method: Method, options: dict[str, int]) -> Callable[[], None]:
    """One training step as the loop takes it, on a fixed batch."""
    model = create_model("resnet18", classes=10, width=options["width"]).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)
    images = torch.rand(options["batch"], 3, options["size"], options["size"])
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (options["batch"],))
    attack = AttackConfig(steps=options["steps"], eps=Fraction(8, 255))
    rng = np.random.default_rng(0)

    def run() -> None:
        adversarial = find_adversarial(model, images, labels, attack, rng, nullcontext())
        optimizer.zero_grad()
        method.loss(model, images, adversarial, labels)["loss"].backward()
        optimizer.step()

    return run


def main() -> None:
    arguments = parser(__doc__)
    for name, default in (("width", 16), ("batch", 128), ("size", 32), ("steps", 10), ("rounds", 10)):
        arguments.add_argument(f"--{name}", type=int, default=default, help="(default: %(default)s)")
    options = vars(arguments.parse_args())
    torch.manual_seed(0)
    methods = {"SAT": SAT(), "F2AT": F2AT(), "F2AT, alpha = 0": F2AT(alpha=0.0)}
    seconds = interleaved({name: step(method, options) for name, method in methods.items()}, options["rounds"])
    rows = [f"| {name} | {min(times):.2f} | {ratio(times, seconds['SAT'])} |" for name, times in seconds.items()]
    body = "\n".join(
        [
            f"ResNet-18 of width {options['width']}, {options['size']}x{options['size']}, batch {options['batch']}, "
            f"PGD-{options['steps']}, float32, channels-last; {options['rounds']} rounds, interleaved. Goal: 1.25.",
            "",
            "| step | least seconds | ratio to SAT, median (quartiles) |",
            "| --- | --- | --- |",
            *rows,
        ]
    )
    command = "python -m benchmarks.training_step"
    publish("training_step", command, body, ["torch"], write=options["write"])


if __name__ == "__main__":
    main()
