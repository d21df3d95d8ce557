"""Cost of a training step: inner attack, forward, backward and update, of one batch that is already on the device.

Compares it with the usual loop of adversarial training (as in the public code of TRADES and MART), and an F2AT step
with a SAT step. In units of a forward pass, PGD-10 costs 10 x (1 + 1), training on x' 3, and F2AT's two pattern
batches 6 more: 29 / 23 = 1.26, and more where the attack is made cheaper than that.

The share of peak counts those units, in multiplications and additions of convolutions and linear layers, against a
large matrix product in the same round.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from fractions import Fraction
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import interleaved, markdown_table, parser, publish, ratio
from f2at.models import Classifier, create_model
from f2at.training.configuration.options import AttackConfig
from f2at.training.inner_attack import draw_noise, find_adversarial
from f2at.training.methods import F2AT, SAT, Method
from f2at.training.weights.folded import FoldedModel

Batch = tuple[Tensor, Tensor]
MATRIX = 1536  # side of the matrices whose product stands for the machine's peak


def reference(batch: Batch, width: int, attack: AttackConfig) -> Callable[[], Classifier]:
    """SAT written plainly: NCHW, float32, a loop around torch.autograd.grad with the model in eval mode."""
    images, labels = batch
    model = create_model("resnet18", classes=10, width=width).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)
    eps, step_size = float(attack.eps), float(attack.step_size)
    generator = torch.Generator()

    def run() -> Classifier:
        model.eval()
        adversarial = images.detach() + 0.001 * torch.randn(images.shape, generator=generator)
        for _ in range(attack.steps):
            adversarial.requires_grad_()
            with torch.enable_grad():
                loss = functional.cross_entropy(model(adversarial), labels)
            gradient = torch.autograd.grad(loss, [adversarial])[0]
            adversarial = adversarial.detach() + step_size * torch.sign(gradient.detach())
            adversarial = torch.min(torch.max(adversarial, images - eps), images + eps)
            adversarial = torch.clamp(adversarial, 0.0, 1.0)
        model.train()
        optimizer.zero_grad()
        functional.cross_entropy(model(adversarial), labels).backward()
        optimizer.step()
        return model

    return run


def ours(
    method: Method, batch: Batch, width: int, attack: AttackConfig, dtype: torch.dtype = torch.float32
) -> Callable[[], Classifier]:
    """A step as the training loop takes it."""
    images, labels = batch[0].contiguous(memory_format=torch.channels_last), batch[1]
    model = create_model("resnet18", classes=10, width=width).to(memory_format=torch.channels_last).train()
    folded = FoldedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)
    generator = torch.Generator()

    def autocast() -> torch.autocast | nullcontext[None]:
        return nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype)

    def run() -> Classifier:
        noise = draw_noise(attack, images.shape, generator)
        adversarial = find_adversarial(folded.fold(), images, labels, attack, noise, autocast())
        optimizer.zero_grad()
        with autocast():
            loss = method.loss(model, images, adversarial, labels)["loss"]
        loss.backward()
        optimizer.step()
        return model

    return run


def matrix_product(dtype: torch.dtype) -> Callable[[], object]:
    """The machine's best rate, as a bound for that of a convolution."""
    left, right = (torch.rand(MATRIX, MATRIX, dtype=dtype) for _ in range(2))
    return lambda: left @ right


def operations(images: Tensor, width: int) -> int:
    """Multiplications and additions of one forward pass."""
    model = create_model("resnet18", classes=10, width=width).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return int(counter.get_total_flops())


def table(seconds: Mapping[str, list[float]], flops: Mapping[str, int]) -> str:
    """A row for each step; the share of peak is within each round, and the median is given."""
    columns = (
        "step",
        "least seconds",
        "reference / it, median (quartiles)",
        "it / SAT of its precision",
        "share of peak",
    )
    rows = []
    for name, count in flops.items():
        precision = "bfloat16" if "bfloat16" in name else "float32"
        product = 2 * MATRIX**3
        shares = [
            count / own / (product / peak)
            for own, peak in zip(seconds[name], seconds[f"matrix product, {precision}"], strict=True)
        ]
        rows.append(
            (
                name,
                f"{min(seconds[name]):.2f}",
                ratio(seconds["reference"], seconds[name]),
                ratio(seconds[name], seconds[f"SAT, {precision}"]),
                f"{median(shares):.0%}",
            )
        )
    return markdown_table(columns, rows)


def main() -> None:
    arguments = parser(__doc__)
    for name, default in (("width", 16), ("batch", 128), ("size", 32), ("steps", 10), ("rounds", 10)):
        arguments.add_argument(f"--{name}", type=int, default=default, help="(default: %(default)s)")
    options = vars(arguments.parse_args())
    torch.manual_seed(0)
    width, attack = options["width"], AttackConfig(steps=options["steps"], eps=Fraction(8, 255))
    batch = (
        torch.rand(options["batch"], 3, options["size"], options["size"]),
        torch.randint(0, 10, (options["batch"],)),
    )
    half = torch.bfloat16
    steps = {
        "reference": reference(batch, width, attack),
        "SAT, float32": ours(SAT(), batch, width, attack),
        "F2AT, float32": ours(F2AT(), batch, width, attack),
        "F2AT with alpha = 0, float32": ours(F2AT(alpha=0.0), batch, width, attack),
        "SAT, bfloat16": ours(SAT(), batch, width, attack, half),
        "F2AT, bfloat16": ours(F2AT(), batch, width, attack, half),
    }
    passes = {"reference": 3, "SAT": 3, "F2AT": 9, "F2AT with alpha = 0": 6}
    forward = operations(batch[0], width)
    flops = {name: (2 * attack.steps + passes[name.split(",")[0]]) * forward for name in steps}
    peaks = {f"matrix product, {name}": matrix_product(getattr(torch, name)) for name in ("float32", "bfloat16")}
    seconds = interleaved({**steps, **peaks}, options["rounds"])
    reached = ", ".join(
        f"{2 * MATRIX**3 / min(seconds[name]) / 1e9:.0f} GFLOP/s in {name.split()[-1]}" for name in peaks
    )
    threads = torch.get_num_threads()
    body = "\n".join(
        [
            f"ResNet-18 of width {width}, {options['size']}x{options['size']}, batch {options['batch']}, "
            f"PGD-{options['steps']}; {threads} thread{'s' * (threads > 1)}; {options['rounds']} rounds, interleaved. "
            f"Peak: {reached}. Goals: SAT 1.5 times as fast as the reference; F2AT at most 1.25 times SAT.",
            "",
            table(seconds, flops),
        ]
    )
    command = "python -m benchmarks.training_step"
    publish("training_step", command, body, ["torch"], write=options["write"])


if __name__ == "__main__":
    main()
