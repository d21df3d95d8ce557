"""`f2at critic RUN --output critic.safetensors`: learn F2AT's critics on a finished run's model.

They are what `method.estimator = "donsker-varadhan"` judges dependence by, in another run; see
methods/donsker_varadhan.py.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from f2at.command_line import Parser, next_step
from f2at.models import Classifier, load_checkpoint
from f2at.training.configuration.files import load_config
from f2at.training.configuration.options import Config, HardwareConfig
from f2at.training.data import ImageSet, augment, draw_crops, load_dataset, split_validation
from f2at.training.hardware import open_fabric
from f2at.training.inner_attack import draw_noise, find_adversarial
from f2at.training.methods.donsker_varadhan import Critics, save_critics
from f2at.training.methods.f2at import slice_patterns
from f2at.training.runs.folder import RunFolder


def train_critics(
    run: Path, *, planes: int = 2, epochs: int = 5, lr: float = 1e-3, progress: bool = True
) -> tuple[Critics, dict[str, float]]:
    """Critics that tell which pattern of an adversarial image belongs to which logits of a frozen model.

    Adam on the sum of both Donsker-Varadhan bounds, on the run's training images under the run's own inner attack. The
    critics of the epoch with the highest bounds on its validation images are kept, because a bound on few images can be
    raised without limit by memorising them.

    Args:
        run: a finished run; its best checkpoint is the model.
        planes: K, bit-planes of the natural pattern.
        epochs: passes over the training images.
        lr: learning rate.
        progress: show a bar for each epoch.

    Returns:
        The critics, and {"natural": bound, "perturbed": bound} in nats on the validation images.

    Raises:
        ValueError: an option out of range, or no such run or data.
    """
    if not 1 <= planes <= 8 or epochs < 1 or lr <= 0:
        raise ValueError(
            f"planes must be from 1 to 8, epochs at least 1 and lr above 0; got {planes}, {epochs} and {lr}"
        )
    folder = RunFolder(run)
    config = load_config(folder.config, {})
    model, info = load_checkpoint(folder.best)
    train_set, validation = split_validation(load_dataset(config.data, folder.images).train, config.data.validation)
    device = open_fabric(HardwareConfig(accelerator=config.hardware.accelerator)).device
    model.to(device).requires_grad_(requires_grad=False)
    torch.manual_seed(config.seed)
    critics = Critics(len(info.classes), planes).to(device)
    optimizer = torch.optim.Adam(critics.parameters(), lr=lr)
    held_out = list(_patterns(model, validation, config, planes, np.random.default_rng(0), augmented=False))
    best, bounds = copy.deepcopy(critics), {"natural": -np.inf, "perturbed": -np.inf}
    for epoch in range(epochs):
        critics.train()
        rng = np.random.default_rng((config.seed, epoch))
        batches = _patterns(model, train_set, config, planes, rng, augmented=True)
        count = -(-len(train_set.labels) // config.optimizer.batch_size)
        for batch in tqdm(batches, f"epoch {epoch + 1:>3}/{epochs}", count, unit="batch", disable=not progress):
            natural, perturbed = _bounds(critics, *batch)
            loss = -natural - perturbed
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        critics.eval()
        with torch.no_grad():
            found = torch.tensor([_bounds(critics, *batch) for batch in held_out]).mean(0)
        if found.sum() > sum(bounds.values()):
            best, bounds = copy.deepcopy(critics), dict(zip(bounds, found.tolist(), strict=True))
    return best.cpu(), bounds


def _patterns(
    model: Classifier, data: ImageSet, config: Config, planes: int, rng: np.random.Generator, *, augmented: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """X_nat, X_pert and the logits of x', batch by batch in random order; a batch of one has nothing to compare."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    padding, flip = config.data.crop_padding, config.data.flip
    for batch in torch.from_numpy(rng.permutation(len(data.labels))).split(config.optimizer.batch_size):
        if len(batch) < 2:
            continue
        images, labels = data.images[batch], data.labels[batch].to(device)
        if augmented:
            images = augment(images, draw_crops(rng, len(batch), padding=padding, flip=flip), padding=padding)
        images = images.to(device).float() / 255
        noise = draw_noise(config.attack, images.shape, generator)
        adversarial = find_adversarial(model, images, labels, config.attack, noise, nullcontext())
        with torch.no_grad():
            logits = model(adversarial)
        yield *slice_patterns(adversarial, planes), logits


def _bounds(critics: Critics, natural: Tensor, perturbed: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The Donsker-Varadhan bounds on I(X_nat; h(x')) and I(X_pert; h(x')) of one batch."""
    return (
        critics.natural(natural, logits).diagonal().mean(),
        critics.perturbed(perturbed, logits).diagonal().mean(),
    )


def run(arguments: Sequence[str]) -> int:
    """Learn critics and write them."""
    parser = Parser(
        prog="f2at critic",
        description="Learn, on the frozen model of a finished run, the critics that F2AT's Donsker-Varadhan estimator "
        "needs. Then: f2at train ... --method.estimator donsker-varadhan --method.critic FILE",
    )
    parser.add_argument("run", type=Path, help="a finished run folder, as of `--method.name sat`")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--planes", type=int, default=2, help="K, as method.planes of the run to come (default: 2)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training images (default: 5)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of Adam (default: 0.001)")
    options = parser.parse_args(arguments)
    if options.output.exists():
        raise ValueError(f"output {options.output} exists; choose another file")
    critics, bounds = train_critics(options.run, planes=options.planes, epochs=options.epochs, lr=options.lr)
    save_critics(options.output, critics, bounds=bounds)
    print(
        f"I(X_nat; h(x')) >= {bounds['natural']:.2f} nats, I(X_pert; h(x')) >= {bounds['perturbed']:.2f} nats, on "
        "validation images"
    )
    run, again = RunFolder(options.run), f"runs/{options.run.resolve().name}-f2at"
    method = {"name": "f2at", "planes": options.planes, "estimator": "donsker-varadhan", "critic": options.output}
    flags = [word for key, value in method.items() for word in (f"--method.{key}", value)]
    print(next_step("train", "--config", run.config, *flags, "--output", again))
    return 0
