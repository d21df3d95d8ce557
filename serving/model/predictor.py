"""Prediction: run the model and build the answer, off the event loop with one exception; with a limit on who waits.

Images that are ready while the model is busy form the next batch. No request is held back to fill a batch, and a busy
server works through its queue as fast as the model runs batches. A single image beside which nothing waits is answered
on the event loop itself where the one before it took a moment only: waking a thread, and being woken, takes as long.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.threat import NORMS
from f2at.audit.suites import SUITES
from f2at.audit.threats.registry import THREATS, parse_threat
from f2at.bundle.format import CLASSIFIER, Bundle, BundleError
from f2at.bundle.places import without_places
from f2at.bundle.runtime import active_provider, create_session
from f2at.images.bitplanes import natural_pattern
from f2at.serving.answers import Prediction
from f2at.serving.model import patterns
from f2at.serving.model.samples import sample_images
from f2at.serving.problems import Problem
from f2at.serving.process.metrics import PENDING
from f2at.serving.settings import Settings


@dataclass(frozen=True, eq=False)
class _Job:
    """A request: what gives its images, K if it asks for patterns, and the future for its answer."""

    pictures: Callable[[], NDArray[np.uint8]]
    planes: int | None
    answer: asyncio.Future[list[Prediction]]


_Outcome = list[Prediction] | Exception


class Predictor:
    """The classifier of a bundle, ready to answer: constructing it loads the graph and runs it once."""

    # Two, so that the next images are decoded while ONNX Runtime runs the previous ones.
    _WORKERS = 2
    # Seconds that a single image took, up to which the next may keep the event loop from everything else.
    _SHORT = 0.003
    # Images in one run, from several requests; twice as many are hardly faster and delay the first longer.
    _TOGETHER = 16

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self.bundle = bundle
        self.settings = settings
        images, labels = bundle.reference()
        self.reference_images = len(labels)
        self.samples = sample_images(images, labels, bundle.classes)  # now, since each reading unpacks them all
        self._session = create_session(bundle.files[CLASSIFIER], threads=settings.threads)
        self._executor = ThreadPoolExecutor(self._WORKERS, thread_name_prefix="predict")
        self._ready = deque[tuple[_Job, NDArray[np.uint8]]]()  # decoded, waiting for the next run
        self._running = Lock()  # held while the model runs
        self._pending = 0
        self._alone = math.inf  # seconds that the single image before took, if nothing waited beside it
        self._logits(np.zeros((2, *bundle.input_size, 3), np.uint8))  # two, which a graph for one cannot answer

    @property
    def provider(self) -> str:
        """The ONNX Runtime execution provider actually in use."""
        return active_provider(self._session)

    def describe(self) -> dict[str, Any]:
        """The model as `GET /model` shows it: the manifest without its list of files, and how it runs here."""
        manifest = {key: value for key, value in without_places(self.bundle.manifest).items() if key != "files"}
        samples = min(self.settings.max_samples, self.reference_images)
        limits = {"max_batch": self.settings.max_batch, "max_samples": samples}
        surrogate = self.settings.surrogate is not None
        return {
            **manifest,
            "provider": self.provider,
            "reference_images": self.reference_images,
            "limits": limits,
            "threats": {parse_threat(name).text: threat.title for name, threat in THREATS.items() if name not in NORMS},
            "suites": {name: suite.title for name, suite in SUITES.items() if surrogate or not suite.needs_surrogate},
        }

    async def predict(
        self, pictures: Callable[[], NDArray[np.uint8]], planes: int | None = None, *, single: bool = False
    ) -> list[Prediction]:
        """Answer for images, all in one run of the model; with `planes`, also for their natural patterns.

        Args:
            pictures: gives the images, uint8 (N, H, W, 3); called where the model runs, where small files are decoded.
            planes: K.
            single: whether it is one small file, or none, and no planes: such a request may be answered at once.

        Raises:
            Problem: 503 when too many requests already wait, and those of `pictures`.
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
        job = _Job(pictures, planes, asyncio.get_running_loop().create_future())
        if not single:
            self._executor.submit(self._work, job)
        elif self._alone >= self._SHORT:
            self._executor.submit(self._work_single, job)
        else:
            await self._others()
            if self._pending == 1:
                self._work_single(job)
            else:
                self._executor.submit(self._work, job)
        return await job.answer

    def close(self) -> None:
        """Stop the threads once all waiting requests are answered."""
        self._executor.shutdown(wait=False)

    async def _others(self) -> None:
        """Let requests that have come by now be counted."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._count_down()
            raise

    def _work_single(self, job: _Job) -> None:
        """The same as `_work` of a single image, timed."""
        began = time.perf_counter()
        answered = self._work(job)
        self._alone = time.perf_counter() - began if answered and self._pending <= 1 else math.inf

    def _work(self, job: _Job) -> bool:
        """Get the images of a request and run the model on all that are ready, unless another thread does.

        Returns:
            Whether this request was among those answered here.
        """
        answered = False
        try:
            self._ready.append((job, self._inputs(job)))
        except Exception as error:  # fails this request only
            self._send([job], [error])
        while self._ready and self._running.acquire(blocking=False):
            try:
                taken = self._take()
                answered |= any(each is job for each, _ in taken)
                self._run(taken)
            finally:
                self._running.release()
        return answered

    def _inputs(self, job: _Job) -> NDArray[np.uint8]:
        """The model inputs of a request: its images, followed by their natural patterns if it asks for them."""
        images = job.pictures()
        return images if job.planes is None else np.concatenate([images, natural_pattern(images, planes=job.planes)])

    def _take(self) -> list[tuple[_Job, NDArray[np.uint8]]]:
        taken: list[tuple[_Job, NDArray[np.uint8]]] = []
        while self._ready and sum(len(images) for _, images in taken) < self._TOGETHER:
            taken.append(self._ready.popleft())
        return taken

    def _run(self, taken: list[tuple[_Job, NDArray[np.uint8]]]) -> None:
        """Answer requests in one run of the model."""
        if not taken:  # another thread was quicker
            return
        jobs = [job for job, _ in taken]
        try:
            rows = iter(self._logits(np.concatenate([images for _, images in taken])).astype(np.float64))
            outcomes = [self._outcome(job, images, [next(rows) for _ in images]) for job, images in taken]
        except Exception as error:  # from the runtime: every request must get an answer
            outcomes = [error] * len(jobs)
        self._send(jobs, outcomes)

    def _outcome(self, job: _Job, images: NDArray[np.uint8], rows: list[NDArray[np.float64]]) -> _Outcome:
        """The answer to one request, from the logits of its images and patterns; or why there is none."""
        without = [place for place, logits in enumerate(rows) if not np.isfinite(logits).all()]
        if without:
            return _no_answer(without, len(images), job.planes)
        answers = [self._shape(logits) for logits in rows]
        if job.planes is None:
            return answers
        count = len(images) // 2
        for image, answer, below in zip(images[:count], answers[:count], answers[count:], strict=True):
            answer.patterns = patterns.compare(image, answer, below, job.planes)
        return answers[:count]

    def _send(self, jobs: list[_Job], outcomes: list[_Outcome]) -> None:
        loop = jobs[0].answer.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver, jobs, outcomes)

    def _deliver(self, jobs: list[_Job], outcomes: list[_Outcome]) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            # Counted down when the work is done, not when the client disconnects, which frees no thread.
            self._count_down()
            if job.answer.done():  # its client has disconnected
                continue
            if isinstance(outcome, Exception):
                job.answer.set_exception(outcome)
            else:
                job.answer.set_result(outcome)

    def _count_down(self) -> None:
        self._pending -= 1
        PENDING.dec()

    def _logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(["logits"], {"images": images})[0]
        expected = (len(images), len(self.bundle.classes))
        if logits.shape != expected:  # whatever the graph declares
            raise BundleError(f"{CLASSIFIER} must give logits {expected} for {len(images)} images; got {logits.shape}")
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


def _no_answer(places: list[int], count: int, planes: int | None) -> Problem:
    """For images whose logits are not finite: overflow in float16, or a division by their spread, gives such."""
    pictures = count if planes is None else count // 2
    named = [
        f"image {place + 1}" if place < pictures else f"the natural pattern of image {place + 1 - pictures}"
        for place in places
    ]
    return Problem(
        422,
        "no-answer",
        f"The model gives no finite answer for {', '.join(named)} of {pictures}; leave it out.",
        argument="image",
        accepted="images for which every logit is finite",
        received=named,
    )
