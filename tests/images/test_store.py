"""Pictures in a store: listed as a folder on disk is, and read only where they are drawn."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from f2at.images.preparation import Preparation
from f2at.images.sets.opening import open_labelled
from f2at.images.sets.store import Listed, _without_secrets, open_listed

SIZE = Preparation((4, 6))
# Sorted by their parts, as folders are walked: as text, "b-c" would come before "b/", and capitals are of their own.
NAMES = ["a/1.png", "a/2.PNG", "b/[1]*.png", "b/deep/er/3.png", "b-c/4.png", "b-c/é.png"]
LEFT_OUT = ["a/.hidden.png", ".git/x.png", "__MACOSX/a/1.png", "top.png"]


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate([*NAMES, *LEFT_OUT]):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(path, "PNG")
    (tmp_path / "set" / "a" / "notes.txt").write_text("x")
    return tmp_path / "set"


class Counting:
    """The files that were read from a store, by name."""

    def __init__(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        plain = store.cat_file

        def cat_file(path: str, *arguments: Any, **named: Any) -> bytes:
            self.names.append(path.partition("/set/")[2])
            read: bytes = plain(path, *arguments, **named)
            return read

        monkeypatch.setattr(store, "cat_file", cat_file)


@pytest.fixture
def store(folder: Path) -> Iterator[Any]:
    """The same folder in memory, behind fsspec."""
    system = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe(f"/bucket/set/{path.relative_to(folder).as_posix()}", path.read_bytes())
    yield system
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_store_is_listed_as_the_folder_is(folder: Path, store: Any, slash: str) -> None:
    places: list[str | Path] = [folder, f"file://{folder}{slash}", f"memory://bucket/set{slash}"]
    whole, here, there = map(open_labelled, places)
    assert whole.contents
    assert not here.contents
    for listed in (here, there):
        assert listed.names == whole.names == ("a", "b", "b-c")
        assert listed.labels.tolist() == whole.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert np.array_equal(listed.prepared(SIZE).read(range(6)), np.stack([picture(n) for n in range(6)]))
        assert "1 of .txt" in listed.notes[0]
    assert here.prepared(SIZE).digest() == there.prepared(SIZE).digest() != whole.prepared(SIZE).digest()
    assert (here.source, there.source) == ("file://set", "memory://bucket/set")


def test_only_what_is_drawn_is_read(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Counting(store, monkeypatch)
    listed = open_listed("memory://bucket/set").prepared(SIZE)
    listed.digest()
    drawn = listed.drawn([4, 1, 2])
    assert (drawn.labels.tolist(), read.names) == ([2, 0, 1], [])
    assert np.array_equal(drawn.read([1]), picture(1)[None])
    assert read.names == [NAMES[1]]
    assert np.array_equal(drawn.read([2, 0]), np.stack([picture(2), picture(4)]))
    assert sorted(read.names) == sorted([NAMES[1], NAMES[2], NAMES[4]])


def test_the_digest_is_of_names_sizes_labels_and_preparation(store: Any) -> None:
    def digest(size: Preparation = SIZE) -> str:
        return open_listed("memory://bucket/set").prepared(size).digest()

    lines = "".join(f"{name}\0{store.size(f'/bucket/set/{name}')}\n" for name in NAMES)
    head = f"listing 4 6 {SIZE.fit} {SIZE.interpolation}\n"
    labels = np.array([0, 0, 1, 1, 2, 2], "<i8").tobytes()
    before = digest()
    assert before == hashlib.sha256(head.encode() + lines.encode() + labels).hexdigest()
    assert digest(Preparation((4, 5))) != before
    data = store.cat_file("/bucket/set/a/1.png")
    store.pipe("/bucket/set/a/1.png", data[::-1])  # nobody reads it
    assert digest() == before
    store.pipe("/bucket/set/a/1.png", data + b"x")
    assert digest() != before
    store.pipe("/bucket/set/a/1.png", data)
    store.pipe("/bucket/set/b/new.png", data)
    assert digest() != before


@pytest.mark.parametrize(
    ("location", "error", "message"),
    [
        ("memory://bucket/none", OSError, "data cannot be read from memory://bucket/none|there are none in"),
        (
            "memory://bucket/set/a",
            ValueError,
            "one folder of images for each class; there are none in memory://bucket/s",
        ),
        ("no-such://bucket", ValueError, "data must be at a URL that fsspec can open; got no-such://bucket: "),
        ("file:///no/such", OSError, "/no/such"),
    ],
)
def test_what_is_wrong_is_said(store: Any, location: str, error: type[Exception], message: str) -> None:
    with pytest.raises((error, ValueError) if "none" in location else error, match=message):
        open_labelled(location)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://key:secret@bucket/a/b@c/", "s3://bucket/a/b@c"),
        ("abfs://c?sig=secret", "abfs://c"),
        ("https://host?token=a/b", "https://host"),
        ("https://host/a#secret", "https://host/a"),
    ],
)
def test_what_is_told_of_a_url(url: str, told: str) -> None:
    assert _without_secrets(url) == told


def test_secrets_in_a_url_are_not_told(store: Any) -> None:
    store.pipe("/me:secret@bucket/set/a/1.png", store.cat_file("/bucket/set/a/1.png"))
    assert open_listed("memory://me:secret@bucket/set").source == "memory://bucket/set"
    store.rm("/me:secret@bucket", recursive=True)


def test_parts_of_a_set_are_no_classes(store: Any, tmp_path: Path) -> None:
    data = store.cat_file("/bucket/set/a/1.png")
    for name in ("train", "val"):
        store.pipe(f"/bucket/parts/{name}/a/1.png", data)
        (tmp_path / "parts" / name).mkdir(parents=True)
        (tmp_path / "parts" / name / "1.png").write_bytes(data)
    for location in ("memory://bucket/parts", f"file://{tmp_path}/parts"):
        with pytest.raises(ValueError, match="holds train, val: give one of those"):
            open_listed(location)


def test_a_listing_without_sizes_is_refused(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: {**about, "size": None} for name, about in store.find("/bucket/set", detail=True).items()}
    monkeypatch.setattr(store, "find", lambda *_, **__: found)
    with pytest.raises(ValueError, match="a store that lists the sizes of files; memory://bucket/set does not"):
        open_listed("memory://bucket/set")


def test_a_store_that_fails_later_is_named(store: Any) -> None:
    listed: Listed = open_listed("memory://bucket/set").prepared(SIZE)
    store.rm("/bucket/set/a/1.png")
    with pytest.raises(OSError, match="data cannot be read from memory://bucket/set: FileNotFoundError"):
        listed.read([0])
    store.pipe("/bucket/set/a/2.PNG", b"no picture")
    with pytest.raises(ValueError, match=r"a/2\.PNG"):
        listed.read([1])
