"""The plan of an audit as a worker opens it: once for all shards, of images that stay what they were."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from f2at.bundle.format import load_bundle
from f2at.images.png import png
from f2at.serving.jobs.worker import _open_audit
from f2at.serving.settings import Settings

ZOO = Path(__file__).parents[3] / "zoo" / "cifar10-small"
BUNDLE = load_bundle(ZOO)
URL = "memory://plans/set"
REQUEST = {"suite": "quick", "samples": 5, "curve": False}


@pytest.fixture
def store() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    images, labels = BUNDLE.reference()
    for number in range(12):
        system.pipe(f"/plans/set/{BUNDLE.classes[labels[number]]}/{number}.png", png(images[number]))
    yield system
    system.rm("/plans", recursive=True)


def opening(places: str = "memory://plans") -> Any:
    return _open_audit(BUNDLE, None, Settings(data=places, audit_threads=1))


def test_the_shards_of_an_audit_share_its_plan(store: Any) -> None:
    open_audit = opening()
    for location in (None, URL):
        plan = open_audit("one", REQUEST, BUNDLE.digest, location, None)
        assert open_audit("one", REQUEST, BUNDLE.digest, location, plan.digest) is plan
        assert open_audit("two", REQUEST, BUNDLE.digest, location, plan.digest) is not plan
    for number in range(5):
        open_audit(f"{number}", REQUEST, BUNDLE.digest, None, None)
    assert open_audit("one", REQUEST, BUNDLE.digest, URL, plan.digest) is not plan


def test_images_that_changed_are_not_attacked(store: Any) -> None:
    first = opening()("one", REQUEST, BUNDLE.digest, URL, None).digest
    assert opening()("one", REQUEST, BUNDLE.digest, URL, first).digest == first  # of another worker
    store.pipe(f"/plans/set/{BUNDLE.classes[0]}/new.png", png(BUNDLE.reference()[0][20]))
    with pytest.raises(ValueError, match="data changed while the audit ran"):
        opening()("one", REQUEST, BUNDLE.digest, URL, first)


@pytest.mark.parametrize("places", ["memory://other", "memory://plan", "/plans"])
def test_a_worker_reads_only_from_its_own_places(store: Any, places: str) -> None:
    with pytest.raises(ValueError, match="data memory://plans/set is not in F2AT_DATA of this worker"):
        opening(places)("one", REQUEST, BUNDLE.digest, URL, None)
    with pytest.raises(ValueError, match="is not in F2AT_DATA"):
        _open_audit(BUNDLE, None, Settings(audit_threads=1))("one", REQUEST, BUNDLE.digest, URL, None)
