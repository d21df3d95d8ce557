"""An audit of images in a store: the figures of the same images on disk, and nothing is read that is not attacked."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit import Audit, AuditRequest, run_audit
from f2at.audit.reports.compare import compare_reports
from f2at.audit.reports.report import deterministic_part
from f2at.audit.steps import SHARD_SIZE
from f2at.images.png import png
from f2at.images.preparation import Preparation
from f2at.images.sets.base import LabelledSet, in_memory
from f2at.images.sets.store import open_listed
from tests.audit.grey import SIDE, Grey, grey_images

SET, DRAWN = 60, 2 * SHARD_SIZE - 10
IMAGES, LABELS = grey_images([1 + i % 12 for i in range(SET)])
ORDER = np.argsort(LABELS, kind="stable")  # as the folders of classes are listed
URL = "memory://audited/set"


@pytest.fixture
def store() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    for place, row in enumerate(ORDER):
        system.pipe(f"/audited/set/{('dark', 'light')[LABELS[row]]}/{place:03}.png", png(IMAGES[row]))
    yield system
    system.rm("/audited", recursive=True)


def audit(data: LabelledSet, **request: Any) -> Audit:
    return Audit(
        TorchTarget(Grey(), classes=2),
        data.prepared(Preparation((SIDE, SIDE))),
        AuditRequest(**{"suite": "custom", "attacks": [{"name": "fgsm"}], "samples": DRAWN, "examples": 4, **request}),
        classes=["dark", "light"],
        to_target=torch.from_numpy,
    )


def report(data: LabelledSet, **request: Any) -> dict[str, Any]:
    plan = audit(data, **request)
    return plan.report(run_audit(plan))


def test_the_figures_are_those_of_the_same_images_elsewhere(store: Any) -> None:
    stored = deterministic_part(report(open_listed(URL)))
    plain = deterministic_part(report(in_memory(IMAGES[ORDER], LABELS[ORDER])))
    assert stored["data"].pop("drawn_sha256")
    assert stored["data"].pop("sha256") != plain["data"].pop("sha256")
    assert stored == plain


def test_each_image_that_is_drawn_is_read_once_and_no_other(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read, plain = Counter[str](), store.cat_file

    def cat_file(path: str, *arguments: Any, **named: Any) -> bytes:
        read[path] += 1
        data: bytes = plain(path, *arguments, **named)
        return data

    monkeypatch.setattr(store, "cat_file", cat_file)
    plan = audit(open_listed(URL))
    assert not read
    run_audit(plan)
    assert len(read) == DRAWN
    assert set(read.values()) == {1}


def test_what_was_attacked_is_told_by_its_digest(store: Any) -> None:
    first, again = report(open_listed(URL)), report(open_listed(URL))
    assert first["data"] == again["data"]
    assert compare_reports(first, again)["warnings"] == []
    drawn = first["data"]["indices"][0]
    name = next(name for name in store.find("/audited/set") if name.endswith(f"{drawn:03}.png"))
    old, size = store.cat_file(name), store.size(name)
    other = next(data for data in map(png, IMAGES) if len(data) == size and data != old)
    store.pipe(name, other)  # of the same size, under the same name
    changed = report(open_listed(URL))
    assert changed["data"]["sha256"] == first["data"]["sha256"]
    assert changed["data"]["drawn_sha256"] != first["data"]["drawn_sha256"]
    assert "data: other pictures under the same names" in compare_reports(first, changed)["warnings"]


def test_pictures_that_change_between_steps_end_the_audit(store: Any) -> None:
    """As on another worker, or after an interruption, which read them again."""
    first = audit(open_listed(URL))
    steps = first.shards[0]
    clean = first.run(steps[0], [])
    assert audit(open_listed(URL)).run(steps[1], [clean])["stage"] == "fgsm"
    name = next(name for name in store.find("/audited/set") if name.endswith(f"{first._indices[0]:03}.png"))
    size, old = store.size(name), store.cat_file(name)
    store.pipe(name, next(data for data in map(png, IMAGES) if len(data) == size and data != old))
    with pytest.raises(ValueError, match="other pictures have the same names"):
        audit(open_listed(URL)).run(steps[1], [clean])
