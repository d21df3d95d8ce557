"""A BentoML service with routes of each kind, for a model whose answers are known; see `tests.audit.endpoint.host`."""

# mypy: disable-error-code="untyped-decorator"

from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import DType
from PIL import Image

from tests.audit.endpoint.host import light


@bentoml.service
class Routes:
    """Is a picture light or dark?"""

    @bentoml.api
    def picture(self, photo: Image.Image) -> dict[str, Any]:
        """Answers by name."""
        return dict(zip(("dark", "light"), light([np.asarray(photo)])[0], strict=True))

    @bentoml.api(batchable=True)
    def levels(self, pixels: Annotated[np.ndarray, DType("uint8")]) -> np.ndarray:
        """Answers rows."""
        return np.array(light(pixels))

    @bentoml.api(route="/any")
    def of_any_type(self, x: np.ndarray) -> dict[str, Any]:
        """Answers rows under a key."""
        return {"predictions": light(x)}

    @bentoml.api
    def two(self, a: Image.Image, b: Image.Image) -> dict[str, Any]:
        """Is no classifier of pictures."""
        raise NotImplementedError
