"""Prediction off the event loop: decode, run, shape the answer, with a bound on what may wait."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.audit.suites import SUITES
from attacks.bitplanes import natural_pattern
from export.bundle import CLASSIFIER, Bundle
from export.runtime import active_provider, create_session
from serving import patterns
from serving.answers import Prediction
from serving.images import decode_image
from serving.metrics import PENDING
from serving.problems import Problem
from serving.settings import Settings


class Predictor:
    """The classifier of a bundle, ready to answer: constructing it loads the graph and runs it once."""

    # Two, so that one request is decoded while another is in ONNX Runtime.
    _WORKERS = 2

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self.bundle = bundle
        self.settings = settings
        self.reference_images = len(bundle.reference()[1])
        self._session = create_session(bundle.files[CLASSIFIER], threads=settings.threads)
        self._executor = ThreadPoolExecutor(self._WORKERS, thread_name_prefix="predict")
        self._pending = 0
        self._logits(np.zeros((1, *bundle.input_size, 3), np.uint8))

    @property
    def provider(self) -> str:
        """The ONNX Runtime execution provider really in use."""
        return active_provider(self._session)

    def describe(self) -> dict[str, Any]:
        """The model as `GET /model` shows it: the manifest without its list of files, and how it runs here."""
        manifest = {key: value for key, value in self.bundle.manifest.items() if key != "files"}
        samples = min(self.settings.max_samples, self.reference_images)
        limits = {"max_batch": self.settings.max_batch, "max_samples": samples}
        surrogate = self.settings.surrogate is not None
        return {
            **manifest,
            "provider": self.provider,
            "reference_images": self.reference_images,
            "limits": limits,
            "suites": {name: suite.title for name, suite in SUITES.items() if surrogate or not suite.needs_surrogate},
        }

    async def predict(self, files: list[bytes], planes: int | None = None) -> list[Prediction]:
        """Answer for image files, all in one run of the model; with `planes`, for their natural patterns, too.

        Raises:
            Problem: an image that cannot be read (413, 415, 422), or 503 when too many requests already wait.
        """
        if self._pending >= self.settings.max_pending:
            raise Problem(
                503,
                "overloaded",
                "Too many predictions are waiting; try again in a second.",
                headers={"Retry-After": "1"},
            )
        self._pending += 1
        PENDING.inc()
        future = self._executor.submit(self._run, files, planes)
        loop = asyncio.get_running_loop()
        # Counted down when the work ends, not when its client leaves: a client that goes away frees no thread.
        future.add_done_callback(lambda done: _call(loop, self._finished, done))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Stop the threads; predictions under way finish."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _finished(self, _: Future[list[Prediction]]) -> None:
        self._pending -= 1
        PENDING.dec()

    def _run(self, files: list[bytes], planes: int | None) -> list[Prediction]:
        size, limit = self.bundle.input_size, self.settings.max_pixels
        images = np.stack([decode_image(file, size=size, max_pixels=limit) for file in files])
        if planes is None:
            return self._answer(images)
        answers = self._answer(np.concatenate([images, natural_pattern(images, planes=planes)]))
        whole, natural = answers[: len(images)], answers[len(images) :]
        for image, answer, below in zip(images, whole, natural, strict=True):
            answer.patterns = patterns.compare(image, answer, below, planes)
        return whole

    def _answer(self, images: NDArray[np.uint8]) -> list[Prediction]:
        return [self._shape(row) for row in self._logits(images).astype(np.float64)]

    def _logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(["logits"], {"images": images})[0]
        return logits

    def _shape(self, logits: NDArray[np.float64]) -> Prediction:
        exponentials = np.exp(logits - logits.max())
        probabilities = exponentials / exponentials.sum()
        index = int(logits.argmax())
        second, first = np.sort(logits)[-2:]
        return Prediction(
            label=self.bundle.classes[index],
            index=index,
            probabilities=dict(zip(self.bundle.classes, probabilities.tolist(), strict=True)),
            margin=float(first - second),
            model=self.bundle.digest,
        )


def _call(loop: asyncio.AbstractEventLoop, function: Any, argument: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, argument)
