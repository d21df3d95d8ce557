"""Whether another usual preprocessing makes far more of the same images: a sign that the right one was forgotten."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from f2at.audit.reports.flags import FAR
from f2at.bundle.runtime import create_session
from f2at.bundle.weights import Slim
from f2at.gradient.batch import chunks
from f2at.gradient.classifier import as_entered
from f2at.gradient.entry import Entry
from f2at.gradient.scores import Reading, choose_output
from f2at.gradient.trace import input_of, needed
from f2at.images.pixels import LEVELS, Images, Labels

IMAGES = 100  # at most; more would be slow and say no more
_TRIED = 25  # of them, to find the best of the others
_TOGETHER = 8  # images in a run
_SCALINGS = {  # mean, std, scale
    "pixels in [0, 1]": ((0.0,) * 3, (1.0,) * 3, 1.0),
    "levels from 0 to 255": ((0.0,) * 3, (1.0,) * 3, float(LEVELS)),
    "pixels in [-1, 1]": ((0.5,) * 3, (0.5,) * 3, 1.0),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0),
}


def compare_preprocessings(
    source: onnx.ModelProto | Slim,
    output: str | None,
    entry: Entry,
    reading: Reading,
    images: Images,
    labels: Labels,
    *,
    threads: int = 0,
) -> dict[str, Any]:
    """How many of the images are classified correctly with the preprocessing that was given, and with the best other.

    Others are the usual scalings of pixels, with either order of colours: each is tried on some of the images, and the
    best of them on all. Where the given one is right so often that none can be far better, none is tried.

    Args:
        source: the file's graph.
        output: the output with its scores, where there are several.
        entry: what was given.
        reading: how its scores are read.
        images: uint8 (N, H, W, 3) of the model's size.
        labels: (N,).
        threads: see `create_session`.

    Returns:
        JSON-able: "samples", "given" {"name", "correct"}, and "best" of the others {"name", "options", "correct",
        "only_given", "only_best"}, or None.
    """
    source = Slim.of(source)
    answer, taken = choose_output(source.model, output), input_of(source.model)
    session = create_session(Slim(needed(source.model, [answer]), source.weights), threads=threads)
    batch = taken.type.tensor_type.shape.dim[0].dim_value

    def correct(tried: Entry, count: int) -> NDArray[np.bool_]:
        """Whether each of the first images is classified correctly."""
        inputs = as_entered(tried, images[:count])
        parts = chunks(inputs, batch if batch > 0 else min(_TOGETHER, count))
        scores = np.concatenate([session.run([answer], {taken.name: part})[0] for part in parts])[:count]
        scores = scores.reshape(count, -1)
        if reading.binary:
            return np.asarray(
                (scores[:, 0] > (0.5 if reading.last or reading.inverted else 0)) == (labels[:count] == 1)
            )
        return np.asarray(scores.argmax(axis=1) == labels[:count])

    given = correct(entry, len(images))
    found = {"samples": len(images), "given": {"name": _name(entry), "correct": int(given.sum())}, "best": None}
    others = _others(entry)
    if given.mean() > 1 - FAR or not others:
        return found
    best = max(others, key=lambda other: correct(other, min(_TRIED, len(images))).sum())
    right = correct(best, len(images))
    found["best"] = {
        "name": _name(best),
        "options": _options(best),
        "correct": int(right.sum()),
        "only_given": int((given & ~right).sum()),
        "only_best": int((right & ~given).sum()),
    }
    return found


def _others(entry: Entry) -> list[Entry]:
    """The usual preprocessings but the given one; a graph of 8-bit pixels scales them itself."""
    grey = entry.channels == "grey"
    scaled = [entry]
    if entry.dtype != "uint8":
        for mean, std, scale in _SCALINGS.values():
            own = (_grey(values) if grey else values for values in (mean, std))
            scaled.append(replace(entry, mean=next(own), std=next(own), scale=scale))
    orders = ("grey",) if grey else ("rgb", "bgr")
    every = [replace(other, channels=channels) for other in scaled for channels in orders]
    return [other for other in dict.fromkeys(every) if other != entry]


def _name(entry: Entry) -> str:
    """What is done to pixels, in words or in numbers."""
    if entry.dtype == "uint8":
        return f"8-bit pixels, {entry.channels}"
    for name, (mean, std, scale) in _SCALINGS.items():
        usual = (*mean, *std) if len(entry.mean) == 3 else (*_grey(mean), *_grey(std))
        if entry.scale == scale and np.allclose((*entry.mean, *entry.std), usual, atol=2e-3):
            return f"{name}, {entry.channels}"
    numbers = (" ".join(f"{value:g}" for value in values) for values in (entry.mean, entry.std))
    return f"scale {entry.scale:g}, mean {next(numbers)}, std {next(numbers)}, {entry.channels}"


def _options(entry: Entry) -> str:
    """What to say for it on the command line."""
    said = [f"--channels {entry.channels}"] if entry.channels == "bgr" else []
    if any(entry.mean):
        said.append(f"--mean {','.join(f'{value:g}' for value in entry.mean)}")
    if any(value != 1 for value in entry.std):
        said.append(f"--std {','.join(f'{value:g}' for value in entry.std)}")
    if entry.scale != 1:
        said.append(f"--scale {entry.scale:g}")
    return " ".join(said) or "without --mean, --std, --scale and --channels"


def _grey(values: Sequence[float]) -> tuple[float, ...]:
    """Of one channel, what is usual for three."""
    return (round(sum(values) / len(values), 3),)
