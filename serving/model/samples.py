"""A few of a bundle's reference images, for who has no picture at hand."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from f2at.images.png import data_url
from f2at.serving.answers import Sample

_COUNT = 6


def sample_images(images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str]) -> list[Sample]:
    """The first image of each class, then the second of each, and so on, up to six.

    Args:
        images: uint8 (N, H, W, 3).
        labels: int64 (N,).
        classes: their names.
    """
    seen, turns = Counter[int](), list[int]()
    for label in labels.tolist():
        turns.append(seen[label])  # which image of its class it is
        seen[label] += 1
    places = np.argsort(turns, kind="stable")[:_COUNT].tolist()
    return [
        Sample(place=place, label=classes[labels[place]], index=int(labels[place]), image=data_url(images[place]))
        for place in places
    ]
