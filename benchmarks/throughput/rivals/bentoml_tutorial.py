"""BentoML as in its tutorials: a synchronous method that takes a PIL image or an array."""

# mypy: disable-error-code="untyped-decorator"

from typing import Any

import bentoml
import numpy as np
from PIL import Image

from benchmarks.throughput.rivals.classifier import Classifier


@bentoml.service
class Tutorial:
    """Two endpoints that do the same."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api
    def predict(self, image: Image.Image) -> dict[str, Any]:
        """Classify an uploaded image."""
        return self.classifier(np.asarray(image.convert("RGB")))

    @bentoml.api
    def predict_array(self, image: np.ndarray) -> dict[str, Any]:
        """Classify an array sent as JSON."""
        return self.classifier(image.astype(np.uint8))
