"""The predictor alone, with the zoo's bundle: waiting requests are batched, and each gets the same answer as alone."""

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from f2at.bundle.format import Bundle, load_bundle
from f2at.images.png import png
from f2at.serving.answers import Prediction
from f2at.serving.decoding.refusals import decode_images
from f2at.serving.model.predictor import Predictor
from f2at.serving.problems import Problem
from f2at.serving.settings import Settings

Outcome = list[Prediction] | BaseException
Request = tuple[list[bytes], int | None]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(Path(__file__).parents[3] / "zoo" / "cifar10-small")


@pytest.fixture(scope="module")
def files(bundle: Bundle) -> list[bytes]:
    return [png(image) for image in bundle.reference()[0][:40]]


def batches_of(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the runs of the model, from now on."""
    sizes: list[int] = []
    run = predictor._logits

    def counted(images: np.ndarray) -> Any:
        sizes.append(len(images))
        return run(images)

    monkeypatch.setattr(predictor, "_logits", counted)
    return sizes


def pictures(predictor: Predictor, files: list[bytes]) -> Callable[[], np.ndarray]:
    return partial(decode_images, files, predictor.bundle.preparation, max_pixels=1_000_000, max_total=1_000_000)


def ask(predictor: Predictor, requests: list[Request]) -> list[Outcome]:
    """The outcomes of requests that all wait before any thread begins."""

    async def all_at_once() -> list[Outcome]:
        waiting = [
            asyncio.create_task(
                predictor.predict(pictures(predictor, files), planes, single=len(files) == 1 and planes is None)
            )
            for files, planes in requests
        ]
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(all_at_once())


def same(left: Prediction, right: Prediction) -> bool:
    close = np.allclose(list(left.probabilities.values()), list(right.probabilities.values()), atol=1e-5)
    return close and left.label == right.label and left.patterns == right.patterns


def test_what_waits_is_run_together_and_answered_apart(
    bundle: Bundle, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(bundle, Settings())
    alone = [ask(predictor, [([file], None)])[0] for file in files]
    sizes = batches_of(predictor, monkeypatch)
    together = ask(predictor, [([file], None) for file in files])
    assert sum(sizes) == len(files)
    assert len(sizes) < len(files) / 2
    assert max(sizes) <= Predictor._TOGETHER
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, list)
        assert isinstance(other, list)
        assert same(one[0], other[0])


def test_a_request_alone_is_answered_without_a_thread_if_that_takes_a_moment(
    bundle: Bundle, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(bundle, Settings())
    ticks, step = itertools.count(), 0.0  # the clock of each request, read twice
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) * step)
    monkeypatch.setattr("f2at.serving.model.predictor.time", clock)
    threads: list[str] = []

    def noted() -> np.ndarray:
        threads.append(threading.current_thread().name)
        return pictures(predictor, files[:1])()

    async def one_after_another(count: int) -> list[Prediction]:
        answers = []
        for _ in range(count):
            answers += await predictor.predict(noted, single=True)
            await asyncio.sleep(0.05)  # the thread may still be looking at its clock
        return answers

    answers = asyncio.run(one_after_another(3))
    assert [name.startswith("predict") for name in threads] == [True, False, False]
    step, threads[:] = 0.004, []
    answers += asyncio.run(one_after_another(3))  # the first does not know yet
    assert [name.startswith("predict") for name in threads] == [False, True, True]
    assert all(same(answers[0], other) for other in answers[1:])
    assert predictor._pending == 0


def test_only_a_single_image_keeps_the_event_loop(bundle: Bundle, files: list[bytes]) -> None:
    predictor = Predictor(bundle, Settings())
    threads: list[str] = []

    def noted(count: int) -> Any:
        threads.append(threading.current_thread().name)
        return pictures(predictor, files[:count])()

    async def after_a_quick_one() -> None:
        for count, planes in ((32, None), (1, 2), (1, None)):
            predictor._alone = 0.0
            single = count == 1 and planes is None
            await predictor.predict(partial(noted, count), planes, single=single)

    asyncio.run(after_a_quick_one())
    assert [name.startswith("predict") for name in threads] == [True, True, False]


def test_requests_that_come_together_are_run_together_after_one_that_came_alone(
    bundle: Bundle, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(bundle, Settings())
    monkeypatch.setattr(predictor, "_alone", 0.0)  # as after a quick one
    sizes = batches_of(predictor, monkeypatch)
    assert not [answer for answer in ask(predictor, [([file], None) for file in files]) if isinstance(answer, Problem)]
    assert sum(sizes) == len(files)
    assert len(sizes) < len(files) / 2
    assert predictor._pending == 0


def test_a_client_that_leaves_at_once_is_not_counted(bundle: Bundle, files: list[bytes]) -> None:
    predictor = Predictor(bundle, Settings())

    async def leave() -> None:
        for alone in (math.inf, 0.0):
            predictor._alone = alone
            asked = asyncio.create_task(predictor.predict(pictures(predictor, files[:1]), single=True))
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            while predictor._pending:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(leave(), 30))


def test_a_bad_image_fails_its_own_request_only(
    bundle: Bundle, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(bundle, Settings())
    sizes = batches_of(predictor, monkeypatch)
    requests: list[Request] = [([file], None) for file in files[:4]]
    requests[1] = ([b"no image"], None)
    requests[2] = ([files[0], files[1][:100]], 2)
    good, bad, damaged, last = ask(predictor, requests)
    assert isinstance(bad, Problem)
    assert bad.status == 415
    assert isinstance(damaged, Problem)
    assert damaged.status == 422
    assert isinstance(good, list)
    assert isinstance(last, list)
    assert sum(sizes) == 2
    assert predictor._pending == 0


def test_patterns_batches_and_single_images_share_a_run(bundle: Bundle, files: list[bytes]) -> None:
    predictor = Predictor(bundle, Settings())
    requests: list[Request] = [([files[0]], None), (files[1:4], None), (files[4:6], 3)]
    alone = [ask(predictor, [request])[0] for request in requests]
    together = ask(predictor, requests)
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, list)
        assert isinstance(other, list)
        assert len(one) == len(other)
        assert all(same(left, right) for left, right in zip(one, other, strict=True))
    with_patterns = together[2]
    assert isinstance(with_patterns, list)
    assert [answer.patterns.planes for answer in with_patterns if answer.patterns] == [3, 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_images_without_a_finite_answer_are_named_and_fail_their_own_request_only(
    bundle: Bundle, files: list[bytes], monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    predictor = Predictor(bundle, Settings())
    height, width = bundle.input_size
    black = png(np.zeros((height, width, 3), np.uint8))
    dark = png(np.full((height, width, 3), 60, np.uint8))  # of its upper bit-plane nothing is left
    run, total = predictor._logits, 9

    def divided_by_brightness(images: np.ndarray) -> Any:
        deadline = time.monotonic() + 60  # until all are in a run or ready for the next, so that there are two at most
        while sum(sizes) + sum(len(ready) for _, ready in predictor._ready) < total:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        logits = run(images)
        logits[images.reshape(len(images), -1).max(axis=1) == 0, 1] = bad
        return logits

    monkeypatch.setattr(predictor, "_logits", divided_by_brightness)
    sizes = batches_of(predictor, monkeypatch)
    good, one, several, pattern, last = ask(
        predictor,
        [([files[0]], None), ([black], None), ([files[1], black, files[2], black], None), ([dark], 1), ([dark], None)],
    )
    assert sum(sizes) == total
    assert len(sizes) < 5
    assert isinstance(good, list)
    assert isinstance(last, list)
    expected = [["image 1"], ["image 2", "image 4"], ["the natural pattern of image 1"]]
    for problem, named in zip((one, several, pattern), expected, strict=True):
        assert isinstance(problem, Problem)
        assert (problem.status, problem.body["type"]) == (422, "urn:problem-type:f2at:no-answer")
        assert problem.body["received"] == named
        assert all(name in problem.body["detail"] for name in named)
    assert predictor._pending == 0


def test_a_failure_of_the_runtime_reaches_everyone_who_waits(
    bundle: Bundle, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(bundle, Settings())

    def fail(_: np.ndarray) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(predictor, "_logits", fail)
    outcomes = ask(predictor, [([file], None) for file in files[:5]])
    assert [type(outcome) for outcome in outcomes] == [MemoryError] * 5
    assert predictor._pending == 0


def test_a_client_that_leaves_gives_its_place_back_when_the_work_is_done(bundle: Bundle, files: list[bytes]) -> None:
    predictor = Predictor(bundle, Settings(max_pending=1))

    async def leave_and_ask() -> list[Prediction]:
        leaving = asyncio.create_task(predictor.predict(pictures(predictor, files[:1]), single=True))
        await asyncio.sleep(0)  # it is in the queue
        leaving.cancel()
        while predictor._pending:
            await asyncio.sleep(0.01)
        return await predictor.predict(pictures(predictor, files[1:2]))

    assert len(asyncio.run(leave_and_ask())) == 1


def test_more_than_may_wait_are_refused(bundle: Bundle, files: list[bytes]) -> None:
    outcomes = ask(Predictor(bundle, Settings(max_pending=3)), [([file], None) for file in files[:8]])
    refused = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    assert len(refused) == 5
    assert {(problem.status, problem.headers["Retry-After"]) for problem in refused} == {(503, "1")}
