"""An exported bundle as a target: gradients of gradient.onnx, logits of the deployed classifier.onnx."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.registry import ATTACKS
from f2at.attacks.target import Evaluation
from f2at.attacks.threat import to_grid
from f2at.images.pixels import to_images


class OnnxTarget:
    """Two ONNX Runtime sessions of one model, on numpy arrays; inputs are snapped to the uint8 grid (see Target).

    classifier: "images" uint8 (N, H, W, 3) -> "logits" float32 (N, C)
    gradient: "images" float32 (N, 3, H, W), "labels" int64 (N,), "targets" int64 (N,), "weights" float32 (N, J)
        -> "logits" (N, C), "objectives" (N, J), "gradient" (N, 3, H, W)

    Without a gradient graph only attacks that need none can be run. Graphs whose batches have one size get their images
    in such batches, the last one filled up.

    at_once: the most images per run of the classifier and of the gradient graph that memory should be given for.

    quantized: the classifier's weights are the gradient graph's, rounded. Attacks then follow the gradient from before
        rounding, and stop where the classifier itself is wrong: its logits, at the cost of a forward pass, are given.
    """

    def __init__(
        self,
        classifier: Any,
        gradient: Any = None,
        *,
        at_once: Sequence[int] = (),
        quantized: bool = False,
    ) -> None:
        classes = classifier.get_outputs()[0].shape[1]
        if not isinstance(classes, int):
            raise ValueError(f"classifier must have a fixed number of classes; its output has {classes!r}")
        self.classes = classes
        self.classifier = classifier
        self.gradient_session = gradient
        self.gradients = gradient is not None
        self.quantized = quantized
        if at_once:
            self.forwards_at_once, self.gradients_at_once = at_once[0], at_once[-1]
        batch = classifier.get_inputs()[0].shape[0]
        self._batch = batch if isinstance(batch, int) else None

    def logits(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Logits (N, C) of the deployed classifier."""
        (logits,) = self._run(self.classifier, ["logits"], {"images": to_images(inputs)})
        return np.asarray(logits, np.float32)

    def gradient(
        self, inputs: NDArray[Any], labels: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any]
    ) -> Evaluation:
        """Objectives and gradient of the gradient graph; its logits, or those of a quantized classifier.

        Raises:
            ValueError: there is no gradient graph.
        """
        if not self.gradients:
            able = ", ".join(name for name, attack in ATTACKS.items() if attack.knowledge == "black-box")
            raise ValueError(f"this model has no gradients: use attacks that need none ({able}) or a surrogate model")
        feeds = {
            "images": to_grid(inputs).astype(np.float32, copy=False),
            "labels": labels.astype(np.int64, copy=False),
            "targets": targets.astype(np.int64, copy=False),
            "weights": weights.astype(np.float32, copy=False),
        }
        outputs = ["logits", "objectives", "gradient"]
        logits, objectives, gradient = self._run(self.gradient_session, outputs, feeds)
        return Evaluation(self.logits(inputs) if self.quantized else logits, objectives, gradient)

    def _run(self, session: Any, outputs: list[str], feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        n = len(feeds["images"])
        if self._batch in (None, n):
            return list(session.run(outputs, feeds))
        rows = np.minimum(np.arange(-(-n // self._batch) * self._batch), n - 1).reshape(-1, self._batch)
        parts = [session.run(outputs, {name: value[part] for name, value in feeds.items()}) for part in rows]
        return [np.concatenate(found)[:n] for found in zip(*parts, strict=True)]
