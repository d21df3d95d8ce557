"""The copies that servers make of bundles, and how often they are verified."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from f2at.bundle.format import CLASSIFIER, Bundle, load_bundle
from f2at.serving.model import store
from f2at.serving.model.deployment import choose_model
from f2at.serving.model.store import delete_stored, store_bundle, stored_digests, stored_path
from f2at.serving.model.swap import Switch
from f2at.serving.settings import Settings

ZOO = Path(__file__).parents[3] / "zoo" / "cifar10-small"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        bundle=ZOO, state=tmp_path / "state", database_url=f"sqlite:///{tmp_path}/state/audits.sqlite", threads=1
    )


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose bundles are verified from now on, in order."""
    folders: list[Path] = []

    def load(folder: Path) -> Bundle:
        folders.append(folder)
        return load_bundle(folder)

    monkeypatch.setattr(store, "load_bundle", load)
    return folders


def test_a_bundle_is_verified_once_per_process_and_once_for_the_copy(settings: Settings, loads: list[Path]) -> None:
    digest = choose_model(ZOO, settings).digest  # the main process, at the first start
    copy = stored_path(digest, settings)
    assert loads[0] == ZOO
    assert loads[1].parent == copy.parent  # the copy, before it takes its place
    assert len(loads) == 2
    loads.clear()
    choose_model(ZOO, settings)  # at the next start
    assert loads == [ZOO, copy]
    loads.clear()
    switch = Switch(settings)  # a server process
    assert loads == [copy]
    loads.clear()
    switch.start()
    assert switch.reload().serving == digest
    assert loads == []  # a process of its own did
    switch.stop()


def test_a_damaged_copy_is_replaced(settings: Settings, loads: list[Path]) -> None:
    bundle = load_bundle(ZOO)
    store_bundle(bundle, settings)
    assert stored_digests(settings) == [bundle.digest]
    copy = stored_path(bundle.digest, settings)
    (copy / CLASSIFIER).write_bytes(b"damaged")
    store_bundle(bundle, settings)
    assert load_bundle(copy).digest == bundle.digest
    loads.clear()
    store_bundle(replace(bundle, path=copy), settings)  # nothing to copy
    assert loads == []
    delete_stored(bundle.digest, settings)
    assert stored_digests(settings) == []


def test_what_cannot_be_copied_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(ZOO, folder)
    bundle = load_bundle(folder)
    bundle = replace(bundle, files={**bundle.files, CLASSIFIER: b"changed in memory"})
    with pytest.raises(ValueError, match=CLASSIFIER):
        store_bundle(bundle, settings)
    assert list((settings.state / "bundles").iterdir()) == []
