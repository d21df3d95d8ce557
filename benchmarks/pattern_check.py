"""The natural-pattern check: does h(X) != h(X_nat) reveal an attacked image, even if the attacker knows the check?

X_nat keeps the upper K bit-planes of an image. The check flags an image whose natural pattern gets another label. Its
score is the margin: the largest logit of h(X_nat) at any other class less that at the label of h(X), positive exactly
where the two labels differ. It is tested on two attackers:

- PGD, which does not know of the check;
- one who does, and drives both labels to the same wrong class. X_nat is piecewise constant in X, so its gradient is
  passed straight through (BPDA; Athalye et al. 2018, https://arxiv.org/abs/1802.00420), to those pixels only whose
  upper bits a change within the ball can flip.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.common import RESULTS, markdown_table, parser, publish
from f2at.attacks.objectives import objective_weights
from f2at.attacks.target import Target
from f2at.attacks.threat import effective_eps, parse_eps, project, snap, uniform_start
from f2at.attacks.white_box.pgd import pgd
from f2at.audit.opening.bundle import open_model
from f2at.bundle.format import load_bundle
from f2at.images.bitplanes import natural_pattern
from f2at.images.pixels import LEVELS, to_images, to_inputs

Scores = NDArray[np.float64]
TOLERATED = 0.05  # share of clean images that may be flagged, for the second reading of the curve
COLUMNS = (
    "model",
    "K",
    "right",
    "clean flagged",
    "attack",
    "fooled",
    "of these flagged",
    "at 5%",
    "area",
    "fooled unflagged",
)
INTRODUCTION = """# Does disagreement with the natural pattern reveal an attack?

The first {samples} reference images of each bundle; those that the model gets right are attacked (linf, {steps} steps).
`PGD` does not know of the check; `aware` drives h(X) and h(X_nat) to the same wrong class, straight through the
slicing, {targets} classes tried. Flagged: the labels of X and X_nat differ. At {tolerated:.0%}: flagged where the
threshold on the score lets so many clean images be flagged. The area under the ROC curve is of the images that fooled
the model against the clean ones: 1 tells them apart, 0.5 is a coin. The last column is what counts: of all images that
were right, the share that an attacker turns wrong with the labels in agreement.

![ROC curves](pattern_check.png)
"""


class Attacked(NamedTuple):
    """The correctly classified images under one attack: fooled (N,), and the check's score (N,)."""

    fooled: NDArray[np.bool_]
    scores: Scores


class Row(NamedTuple):
    """One model at one K."""

    model: str
    eps: str
    planes: int
    clean: Scores
    attacks: dict[str, Attacked]


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("bundle", type=Path, nargs="+", help="folders of the bundles to check")
    arguments.add_argument("--eps", nargs="+", default=["8/255"], help="linf, one for each bundle (default: 8/255)")
    arguments.add_argument("--planes", type=int, nargs="+", default=[2, 3, 4], help="K (default: 2 3 4)")
    arguments.add_argument("--samples", type=int, default=500, help="reference images (default: %(default)s)")
    arguments.add_argument("--steps", type=int, default=40, help="of each attack run (default: %(default)s)")
    arguments.add_argument("--targets", type=int, default=3, help="wrong classes tried (default: %(default)s)")
    arguments.add_argument("--threads", type=int, default=0, help="of ONNX Runtime (default: all cores)")
    options = arguments.parse_args()
    if len(options.eps) != len(options.bundle):
        arguments.error(f"--eps takes one value for each of the {len(options.bundle)} bundles; got {len(options.eps)}")
    rows = [row for path, eps in zip(options.bundle, options.eps, strict=True) for row in measure(path, eps, options)]
    command = f"python -m benchmarks.pattern_check {' '.join(map(str, options.bundle))} --eps {' '.join(options.eps)} "
    command += f"--planes {' '.join(map(str, options.planes))} --samples {options.samples} --steps {options.steps} "
    command += f"--targets {options.targets}"
    if options.write:
        plot(rows, RESULTS / "pattern_check.png")
    publish("pattern_check", command, body(rows, options), ("onnxruntime-gpu", "onnxruntime"), write=options.write)


def measure(path: Path, eps: str, options: argparse.Namespace) -> list[Row]:
    """The rows of one bundle; only correctly classified images are attacked."""
    bundle = load_bundle(path)
    model, (images, labels) = open_model(bundle, threads=options.threads), bundle.reference()
    images, labels = images[: options.samples], labels[: options.samples]
    inputs = to_inputs(images)
    right = model.target.logits(inputs).argmax(axis=1) == labels
    inputs, labels = inputs[right], labels[right]
    radius = float(effective_eps(parse_eps(eps, "linf"), "linf"))
    rng = np.random.default_rng(0)
    unaware = pgd(model.target, inputs, labels, eps=radius, rng=rng, steps=options.steps, stop_at_success=False)
    unaware = snap(unaware, inputs, eps=radius, norm="linf")
    rows = []
    for planes in options.planes:
        aware = joint_attack(
            model.target, inputs, labels, planes=planes, eps=radius, steps=options.steps, goals=options.targets, rng=rng
        )
        clean = attacked(model.target, inputs, labels, planes).scores
        found = {
            name: attacked(model.target, adversarial, labels, planes)
            for name, adversarial in (("PGD", unaware), ("aware", aware))
        }
        rows.append(Row(path.name, eps, planes, clean, found))
    return rows


def joint_attack(
    target: Target,
    inputs: NDArray[Any],
    labels: NDArray[Any],
    *,
    planes: int,
    eps: float,
    steps: int,
    goals: int,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Images on the uint8 grid, within `eps` (linf), that fool h(X) and have h(X_nat) agree as strongly as it finds.

    Every step descends the sum of two cross-entropies towards the same wrong class, that of X and that of X_nat. For
    each sample the fooling iterate of the lowest score is kept, over all steps and the `goals` most probable wrong
    classes; a sample that is never fooled comes back unchanged.
    """
    reachable = flippable(inputs, planes=planes, eps=eps)
    best, lowest = inputs.copy(), np.full(len(inputs), np.inf)
    ranked = np.argsort(-target.logits(inputs), axis=1)
    wrong = ranked[ranked != labels[:, None]].reshape(len(inputs), -1)
    descend = -objective_weights(np, "cross_entropy", len(inputs))
    for goal in wrong.T[:goals]:
        current = uniform_start(inputs, rng, eps=eps, norm="linf")
        for step in range(steps + 1):
            current = snap(current, inputs, eps=eps, norm="linf").astype(np.float32)
            whole = target.gradient(current, goal, goal, descend)
            natural = target.gradient(natural_inputs(current, planes), goal, goal, descend)
            scores = disagreement(whole.logits, natural.logits)
            better = (whole.logits.argmax(axis=1) != labels) & (scores < lowest)
            best[better], lowest[better] = current[better], scores[better]
            size = max(1 / LEVELS, eps / 2 * (1 - step / steps))
            ascent = np.sign(whole.gradient + np.where(reachable, natural.gradient, 0))
            current = project(current + size * ascent, inputs, eps=eps, norm="linf")
    return best


def flippable(inputs: NDArray[Any], *, planes: int, eps: float) -> NDArray[np.bool_]:
    """Which values (N, 3, H, W) can change their upper `planes` bits by moving at most `eps`."""
    lowest, highest = (natural_inputs(np.clip(inputs + change, 0, 1), planes) for change in (-eps, eps))
    return np.asarray(lowest != highest)


def natural_inputs(inputs: NDArray[Any], planes: int) -> NDArray[np.float32]:
    """Model inputs of the natural patterns of model inputs."""
    return np.asarray(to_inputs(natural_pattern(to_images(inputs), planes=planes)), np.float32)


def attacked(target: Target, inputs: NDArray[Any], labels: NDArray[Any], planes: int) -> Attacked:
    """What the model and the check say of images whose true labels are known."""
    logits = target.logits(inputs)
    return Attacked(
        logits.argmax(axis=1) != labels, disagreement(logits, target.logits(natural_inputs(inputs, planes)))
    )


def disagreement(logits: NDArray[Any], natural: NDArray[Any]) -> Scores:
    """The check's score (N,): how far h(X_nat) prefers another class to the label of h(X); logits are (N, C)."""
    index = np.arange(len(logits)), logits.argmax(axis=1)
    others = natural.astype(np.float64)
    others[index] = -np.inf
    return np.asarray(others.max(axis=1) - natural[index], np.float64)


def curve(clean: Scores, adversarial: Scores) -> tuple[Scores, Scores, float]:
    """The ROC curve of the score, false and true positive rates, and the area below it."""
    truth = np.repeat([0, 1], [len(clean), len(adversarial)])
    scores = np.concatenate([clean, adversarial])
    false, true, _ = roc_curve(truth, scores)
    return false, true, float(roc_auc_score(truth, scores))


def body(rows: list[Row], options: argparse.Namespace) -> str:
    """The tables and how to read them."""
    cells = [
        (
            f"{row.model}, {row.eps}",
            f"{row.planes}",
            f"{len(row.clean)}",
            f"{np.mean(row.clean > 0):.1%}",
            name,
            f"{np.mean(found.fooled):.1%} ({np.sum(found.fooled)})",
            *reading(row.clean, found),
            f"{np.mean(found.fooled & (found.scores <= 0)):.1%}",
        )
        for row in rows
        for name, found in row.attacks.items()
    ]
    return f"{INTRODUCTION.format(**vars(options), tolerated=TOLERATED)}\n{markdown_table(COLUMNS, cells)}"


def reading(clean: Scores, found: Attacked) -> tuple[str, str, str]:
    """Flagged of those fooled, the same at TOLERATED false alarms, and the area under the curve."""
    scores = found.scores[found.fooled]
    if len(scores) == 0:
        return "-", "-", "-"
    false, true, area = curve(clean, scores)
    return f"{np.mean(scores > 0):.1%}", f"{true[false <= TOLERATED].max():.1%}", f"{area:.3f}"


def plot(rows: list[Row], path: Path) -> None:
    """One panel per model: full lines PGD, dashed the attacker who knows, a colour for each K."""
    from matplotlib.figure import Figure  # slow to import, and only here

    models = list(dict.fromkeys((row.model, row.eps) for row in rows))
    figure = Figure(figsize=(4.2 * len(models), 4.2), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        for index, row in enumerate(row for row in rows if (row.model, row.eps) == model):
            for (name, found), style in zip(row.attacks.items(), ("-", "--"), strict=True):
                if found.fooled.any():
                    false, true, area = curve(row.clean, found.scores[found.fooled])
                    label = f"{name}, K = {row.planes}: {area:.2f}"
                    axes.plot(false, true, style, color=f"C{index}", label=label)
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=1, zorder=0)
        axes.set(title=", linf ".join(model), xlabel="clean images flagged", ylabel="fooling images flagged")
        axes.set(aspect="equal", xlim=(0, 1), ylim=(0, 1.01))
        if axes.get_legend_handles_labels()[0]:
            axes.legend(title="area", fontsize="small", loc="lower right")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
