import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f2at.images.labelled import check_labelled
from f2at.images.sets.npz import read_labelled

IMAGES = np.zeros((3, 4, 5, 3), np.uint8)
LABELS = np.array([0, 1, 2])
FIT: dict[str, Any] = {"images": IMAGES, "labels": LABELS, "name": "reference", "size": (4, 5), "classes": 3}


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_labels_are_any_integers(dtype: Any) -> None:
    check_labelled(IMAGES, LABELS.astype(dtype), size=(4, 5), classes=3)
    check_labelled(IMAGES, LABELS.astype(dtype))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": IMAGES.astype(np.float32)}, "images must be uint8 (N, 4, 5, 3); got float32 (3, 4, 5, 3)"),
        ({"images": IMAGES[0]}, "images must be uint8 (N, 4, 5, 3); got uint8 (4, 5, 3)"),
        ({"images": IMAGES[..., :1]}, "images must be uint8 (N, 4, 5, 3); got uint8 (3, 4, 5, 1)"),
        ({"images": IMAGES[..., :1], "size": None}, "images must be uint8 (N, H, W, 3); got uint8 (3, 4, 5, 1)"),
        ({"size": (5, 4)}, "images must be uint8 (N, 5, 4, 3); got uint8 (3, 4, 5, 3)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images must be at least one; got none"),
        ({"labels": LABELS[:2]}, "labels must be integers (3,); got int64 (2,)"),
        ({"labels": LABELS[:, None]}, "labels must be integers (3,); got int64 (3, 1)"),
        ({"labels": LABELS.astype(np.float64)}, "labels must be integers (3,); got float64 (3,)"),
        ({"labels": LABELS - 1}, "labels must lie in [0, 3); got -1 to 1"),
        ({"classes": 2}, "labels must lie in [0, 2); got 0 to 2"),
    ],
)
def test_a_refusal_says_what_is_accepted_and_what_came(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole message is compared)
        check_labelled(**{**FIT, **change})
    assert str(refusal.value) == f"reference {reason}"


def test_nothing_need_be_named() -> None:
    with pytest.raises(ValueError, match=r"^images must be at least one"):
        check_labelled(IMAGES[:0], LABELS[:0])


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=IMAGES, labels=LABELS)
    for source in (tmp_path / "set.npz", io.BytesIO((tmp_path / "set.npz").read_bytes())):
        images, labels = read_labelled(source, name="data", size=(4, 5), classes=3)
        np.testing.assert_array_equal(images, IMAGES)
        np.testing.assert_array_equal(labels, LABELS)


def saved(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def one_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    return buffer.getvalue()


def damaged() -> bytes:
    content = bytearray(saved(images=IMAGES, labels=LABELS))
    content[len(content) // 4] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        one_array(),
        saved(images=IMAGES),
        saved(images=IMAGES, labels=np.array([None] * 3)),
        damaged(),
        saved(images=IMAGES, labels=LABELS)[:-40],
    ],
    ids=["empty", "text", "one array", "no labels", "pickled labels", "damaged", "cut off"],
)
def test_a_file_that_is_no_labelled_set_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"^data must be an .npz file with images, uint8 .*; got .*set.npz: .+$"):
        read_labelled(tmp_path / "set.npz", name="data")
    with pytest.raises(ValueError, match=r"integers \(N,\); got .+$"):
        read_labelled(io.BytesIO(content), name="data")


def test_arrays_that_do_not_fit_are_refused_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(saved(images=IMAGES, labels=LABELS))
    with pytest.raises(ValueError, match=r"^data labels must lie in \[0, 2\); got 0 to 2 in .*set.npz$"):
        read_labelled(tmp_path / "set.npz", name="data", classes=2)


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_labelled(tmp_path / "absent.npz", name="data")
