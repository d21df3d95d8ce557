"""Labelled images behind one interface, whatever they are kept in: what is drawn, and nothing else, is decoded."""

import hashlib
import io
import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from f2at.images import decode
from f2at.images.decode import decode_image
from f2at.images.preparation import Preparation
from f2at.images.sets.base import LabelledSet, in_memory
from f2at.images.sets.npz import Npz
from f2at.images.sets.opening import open_labelled
from f2at.images.sets.pictures import Pictures

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 4, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 3
NAMES = ("cat", "dog", "owl")
AS_THEY_ARE = Preparation((4, 6))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def folder(path: Path) -> Path:
    for number, (pixels, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        place = path / "folder" / NAMES[label]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:02}.png").write_bytes(png(pixels))
    return path / "folder"


def table(**changed: Any) -> pyarrow.Table:
    """As Hugging Face writes it."""
    order = np.argsort(LABELS, kind="stable")
    files = [{"bytes": png(pixels), "path": None} for pixels in IMAGES[order]]
    columns = {"image": files, "label": pyarrow.array(LABELS[order]), **changed}
    features = {"image": {"_type": "Image"}, "label": {"names": list(NAMES), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.table(columns).replace_schema_metadata(metadata)


def parquet(path: Path) -> Path:
    pyarrow.parquet.write_table(table(), path / "set.parquet", row_group_size=7)
    return path / "set.parquet"


def stored(path: Path) -> Path:
    np.savez(path / "stored.npz", images=IMAGES, labels=LABELS)
    return path / "stored.npz"


def deflated(path: Path) -> Path:
    np.savez_compressed(path / "deflated.npz", images=IMAGES, labels=LABELS.astype(np.uint8))
    return path / "deflated.npz"


def across(path: Path) -> Path:
    np.savez(path / "across.npz", images=np.asfortranarray(IMAGES), labels=LABELS)
    return path / "across.npz"


@pytest.mark.parametrize("make", [folder, parquet, stored, deflated, across])
def test_what_is_drawn_is_read_in_the_order_asked_for(make: Callable[[Path], Path], tmp_path: Path) -> None:
    found = open_labelled(make(tmp_path)).prepared(AS_THEY_ARE).of_classes(NAMES, named=True)
    grouped = isinstance(found, Pictures)
    order = np.argsort(LABELS, kind="stable") if grouped else np.arange(20)
    np.testing.assert_array_equal(found.labels, LABELS[order])
    assert (len(found), found.size, found.names) == (20, (4, 6), NAMES)
    for rows in ([3], [19, 0, 7, 7, 6], range(20), []):
        np.testing.assert_array_equal(found.read(rows), IMAGES[order][list(rows)])
    if not grouped:
        assert found.digest() == in_memory(IMAGES, LABELS).digest()


def test_the_digest_is_of_what_is_in_the_set(tmp_path: Path) -> None:
    whole = in_memory(IMAGES, LABELS).digest()
    parts = repr(IMAGES.shape).encode() + IMAGES.tobytes() + LABELS.astype("<i8").tobytes()
    assert whole == hashlib.sha256(parts).hexdigest()
    assert in_memory(IMAGES, LABELS[::-1]).digest() != whole
    files = [open_labelled(make(tmp_path)).prepared(AS_THEY_ARE) for make in (folder, parquet)]
    assert files[0].digest() == files[1].digest()
    assert files[0].prepared(Preparation((4, 6), "pad")).digest() != files[0].digest()
    assert files[0].of_classes(("dog", "cat", "owl"), named=True).digest() != files[0].digest()


def test_pictures_are_prepared_as_the_model_takes_them(tmp_path: Path) -> None:
    found = open_labelled(folder(tmp_path))
    assert found.size is None
    with pytest.raises(ValueError, match="size must be given for pictures of any size"):
        found.read([0])
    small = found.prepared(Preparation((2, 2), "crop", "nearest"))
    assert small.read([0, 1]).shape == (2, 2, 2, 3)
    with pytest.raises(ValueError, match="data must be images of 8 x 8 for this model; got 4 x 6"):
        in_memory(IMAGES, LABELS).prepared(Preparation((8, 8)))


def test_only_the_pictures_that_are_drawn_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder with three thousand files, two of which are none."""
    data = png(IMAGES[0])
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for number in range(1000):
            (tmp_path / name / f"{number}.png").write_bytes(data)
    (tmp_path / "b" / "7.png").write_bytes(b"no picture")
    decoded: list[bytes] = []

    def count(data: bytes, *arguments: Any, **options: Any) -> Any:
        decoded.append(data)
        return decode_image(data, *arguments, **options)

    monkeypatch.setattr(decode, "decode_image", count)
    found = open_labelled(tmp_path).prepared(AS_THEY_ARE)
    assert isinstance(found, Pictures)
    assert (len(found), found.names, np.bincount(found.labels).tolist()) == (3000, ("a", "b", "c"), [1000] * 3)
    found.digest()
    assert not decoded
    assert found.read([0, 2999, 1500]).shape == (3, 4, 6, 3)
    assert decoded == [data] * 3
    bad = next(row for row in range(1000, 2000) if next(found.files([row])).name.endswith("b/7.png"))
    with pytest.raises(ValueError, match=r"b/7\.png cannot be read as an image: The image is not a file that is read"):
        found.read([bad])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_large_file_passes_by_in_bounded_memory(tmp_path: Path, compression: int) -> None:
    """Of 300 MB of images no more than those that are drawn are held."""
    count, side = 6000, 128
    path = tmp_path / "large.npz"
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            for row in range(count):
                file.write(bytes([row % 251]) * (side * side * 3))
        with archive.open("labels.npy", "w") as file:
            np.lib.format.write_array(file, np.arange(count) % 10)
    tracemalloc.start()
    try:
        found = open_labelled(path)
        assert isinstance(found, Npz)
        rows = [5999, 12, 3000]
        assert found.read(rows)[:, 5, 5, 0].tolist() == [row % 251 for row in rows]
        found.digest()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # zipfile seeks in steps of 16 MiB


def test_classes_are_matched_by_name_and_never_by_chance() -> None:
    def set_of(names: tuple[str, ...] | None, labels: Any = LABELS) -> LabelledSet:
        found = in_memory(IMAGES, np.asarray(labels))
        object.__setattr__(found, "names", names)
        return found

    other = set_of(NAMES).of_classes(("owl", "emu", "dog", "cat"), named=True)
    assert other.labels[:3].tolist() == [3, 2, 0]
    assert other.names == ("owl", "emu", "dog", "cat")
    numbers = ("10", "2", "1")
    assert set_of(numbers).of_classes([str(n) for n in range(11)], named=False).labels[:3].tolist() == [10, 2, 1]
    unnamed = set_of(NAMES).of_classes(("0", "1", "2"), named=False)
    assert (unnamed.names, unnamed.labels[:3].tolist()) == (NAMES, [0, 1, 2])
    assert set_of(None).of_classes(NAMES, named=True).names == NAMES
    for names, classes, named, message in (
        (NAMES, ("cat", "dogs", "owl"), True, r"classes that the model has not: dog; the model's .* cat, dogs, owl"),
        (NAMES, ("0", "1"), False, r"has not: cat, dog, owl; the model has 2 outputs without names; name them"),
        (("a",), ("a", "b", "a"), True, "a come twice"),
        (None, ("a", "b"), True, r"labels must lie in \[0, 2\); got 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            set_of(names, np.zeros(20, int) if names == ("a",) else LABELS).of_classes(classes, named=named)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\); got -1 to 2"):
        set_of(NAMES, [-1, *LABELS[1:]]).of_classes(NAMES, named=True)


def refusal(path: Path) -> str:
    """What is said of a file, by whichever step notices."""
    with pytest.raises((ValueError, OSError)) as caught:
        open_labelled(path).prepared(AS_THEY_ARE).digest()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_a_parquet_file_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    nothing = [{"bytes": None, "path": "1.png"}] * 20
    for changed, reason in (
        ({"label": [str(label) for label in LABELS]}, r"its columns are image (struct<bytes: binary, path: null>)"),
        ({"label": pyarrow.array([None, *LABELS[1:].tolist()])}, "1 of its labels are missing"),
        ({"image": list(range(20))}, "its columns are image (int64), label (int64)"),
        ({"label": pyarrow.array(LABELS + 1)}, "labels must lie in [0, 3) by the names"),
        ({"image": pyarrow.array(nothing, pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}))},
         "row 0 has no picture in it"),
    ):  # fmt: skip
        pyarrow.parquet.write_table(table(**changed), path)
        assert reason in refusal(path)
    pyarrow.parquet.write_table(table().slice(0, 0), path)
    assert "it has no rows" in refusal(path)
    pyarrow.parquet.write_table(table().drop_columns("image").add_column(0, "image", [[png(i) for i in IMAGES]]), path)
    assert open_labelled(path).prepared(AS_THEY_ARE).read([2]).shape == (1, 4, 6, 3)  # bytes alone do
    pyarrow.parquet.write_table(table().rename_columns({"image": "img"}), path)
    assert open_labelled(path).prepared(AS_THEY_ARE).read([2]).shape == (1, 4, 6, 3)  # as CIFAR-10 has it
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert "must be a Parquet file with columns image" in refusal(path)


def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert refusal(parquet(tmp_path)) == "data in a Parquet file needs pyarrow: pip install 'f2at[parquet]'"


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_headers_that_promise_too_much_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = io.BytesIO()
    promised = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 1000, 1000, 3)}
    np.lib.format.write_array_header_1_0(header, promised)
    path = zipped(tmp_path / "set.npz", images=header.getvalue(), labels=npy(LABELS))
    assert "images should have 3000000000000128 bytes by their header, and have 128" in refusal(path)
    wordy = npy(IMAGES)[:8] + b"\xff\xff" + b" " * 0xFFFF
    assert "Header info length" in refusal(zipped(path, images=wordy, labels=npy(LABELS)))
    objects = io.BytesIO()
    np.lib.format.write_array_header_1_0(objects, {"descr": "|O", "fortran_order": False, "shape": (20,)})
    assert "labels are Python objects" in refusal(zipped(path, images=npy(IMAGES), labels=objects.getvalue()))
    assert "there is no array images in it, but x, labels" in refusal(zipped(path, x=npy(IMAGES), labels=npy(LABELS)))
    assert "labels must be integers (20,); got float64 (20,)" in refusal(
        zipped(path, images=npy(IMAGES), labels=npy(LABELS / 2))
    )


def test_an_encrypted_file_says_so(tmp_path: Path) -> None:
    content = bytearray(stored(tmp_path).read_bytes())
    for mark, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # bit 0 of each entry's flags
        place = content.find(mark)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(mark, place + 1)
    (tmp_path / "secret.npz").write_bytes(content)
    assert refusal(tmp_path / "secret.npz").endswith("secret.npz: it is encrypted")


@given(st.data())
def test_damage_is_one_line_or_changes_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever single byte is another, or wherever the file ends."""
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    make = data.draw(st.sampled_from([stored, deflated]))
    content = bytearray(make(path.parent).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path.write_bytes(content)
    said = ""
    try:
        found = open_labelled(path)
        pixels, digest = found.read(range(len(found))), found.digest()
    except ValueError as error:
        said = str(error)
    if said:
        assert "\n" not in said
        assert str(path) in said
    else:
        np.testing.assert_array_equal(pixels, IMAGES)
        assert digest == in_memory(IMAGES, found.labels).digest()


def test_what_is_no_set_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "set.txt").write_text("no images")
    assert refusal(tmp_path / "set.txt").startswith(
        "data must be a folder with one folder of images for each class, an"
    )
    splits = tmp_path / "splits"
    for name in ("train", "test"):
        (splits / name / "cat").mkdir(parents=True)
        (splits / name / "cat" / "1.png").write_bytes(png(IMAGES[0]))
    assert refusal(splits).endswith("holds test, train: give one of those")
    (splits / "train" / "cat" / "2.png").symlink_to("2.png")
    assert refusal(splits / "train").endswith("2.png is no file that can be read")
    with pytest.raises(FileNotFoundError):
        open_labelled(tmp_path / "absent.npz")
    os.mkfifo(tmp_path / "pipe.npz")  # nobody writes into it
    assert refusal(tmp_path / "pipe.npz").endswith("pipe.npz is no regular file")
