"""LitServe as in its tutorials: `python -m benchmarks.throughput.rivals.litserve_api PORT`."""

import sys
from typing import Any

import litserve
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import Request

from benchmarks.throughput.rivals.classifier import Classifier


class Api(litserve.LitAPI):  # type: ignore[misc]  # untyped where it is not installed
    """One worker; HTTP is in a process of its own, as always with LitServe."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
        """Load the model."""
        self.classifier = Classifier()

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        """Read the uploaded image; LitServe gives the form."""
        file = request["image"].file
        return np.asarray(Image.open(file).convert("RGB"))

    def predict(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        """Classify it."""
        return self.classifier(image)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Answer."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/predict"), accelerator="cpu", workers_per_device=1)
    server.run(
        port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="error"
    )
