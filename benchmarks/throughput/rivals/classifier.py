"""The classifier of the bundle in F2AT_BUNDLE, as every rival uses it."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.bundle.format import CLASSIFIER, load_bundle
from f2at.bundle.runtime import create_session


class Classifier:
    """Image to answer, one at a time."""

    def __init__(self) -> None:
        bundle = load_bundle(os.environ["F2AT_BUNDLE"])
        self.classes = bundle.classes
        self.session = create_session(bundle.files[CLASSIFIER], threads=int(os.environ.get("F2AT_THREADS", "0")))

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        """Classify one image, uint8 (H, W, 3)."""
        logits = self.session.run(["logits"], {"images": image[None]})[0][0]
        exponentials = np.exp(logits - logits.max())
        probabilities = (exponentials / exponentials.sum()).tolist()
        return {
            "label": self.classes[int(logits.argmax())],
            "probabilities": dict(zip(self.classes, probabilities, strict=True)),
        }
