import os
from pathlib import Path

import pytest

from f2at.images.folders import class_folders


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_pictures_are_found_at_any_depth_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/deep/1.jpg", "a/3.webp", "a/10.bmp"):
        touch(tmp_path / name)
    found = class_folders(tmp_path)
    assert found.classes == ("a", "b")
    assert [(str(file.relative_to(tmp_path)), index) for file, index in found.files] == [
        ("a/10.bmp", 0),
        ("a/3.webp", 0),
        ("b/2.PNG", 1),
        ("b/deep/1.jpg", 1),
    ]
    assert found.notes == ()


def test_hidden_files_and_folders_are_no_ones(tmp_path: Path) -> None:
    for name in (".ipynb_checkpoints/0.png", "a/.ipynb_checkpoints/0.png", "a/._0.jpg", "a/.DS_Store", "a/0.png"):
        touch(tmp_path / name)
    touch(tmp_path / "__MACOSX/a/0.png")
    touch(tmp_path / ".DS_Store")
    found = class_folders(tmp_path)
    assert (found.classes, len(found.files), found.notes) == (("a",), 1, ())


def test_names_that_are_no_text_are_refused_at_once(tmp_path: Path) -> None:
    touch(tmp_path / "b/0.png")
    touch(tmp_path / os.fsdecode(b"\xff\xfe/0.png"))
    with pytest.raises(ValueError, match=r"names of classes must be Unicode text; got '\\udcff\\udcfe'"):
        class_folders(tmp_path)


def test_what_is_left_out_is_said_in_one_line(tmp_path: Path) -> None:
    for name in ("a/0.png", "a/1.heic", "a/2.HEIC", "a/notes.txt", "a/more/3.gif", "a/README", "b/0.png"):
        touch(tmp_path / name)
    found = class_folders(tmp_path)
    assert len(found.files) == 2
    (note,) = found.notes
    assert note == (
        f"{tmp_path}/a has files that are no images of a kind read here: "
        "left out 1 of .gif, 2 of .heic, 1 of .txt, 1 of no suffix"
    )


def test_links_that_loop_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "a/0.png")
    touch(tmp_path / "elsewhere/1.png")
    (tmp_path / "a/loop").symlink_to(tmp_path / "a")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "elsewhere")
    found = class_folders(tmp_path)
    assert [(file.name, index) for file, index in found.files] == [("0.png", 0), ("1.png", 1), ("1.png", 2)]
    assert sorted(note.partition(" is a link to a folder that is read already")[0] for note in found.notes) == [
        str(tmp_path / "a/loop"),
        str(tmp_path / "a/up"),
    ]


def test_links_to_folders_above_or_to_nowhere_are_no_classes(tmp_path: Path) -> None:
    touch(tmp_path / "root/a/0.png")
    for name, target in (("here", "."), ("above", ".."), ("itself", "itself"), ("gone", "absent")):
        (tmp_path / "root" / name).symlink_to(target)
    found = class_folders(tmp_path / "root")
    assert (found.classes, len(found.files)) == (("a",), 1)
    assert [note.partition(" is a link ")[::2] for note in found.notes] == [
        (f"{tmp_path}/root/above", "to a folder that is read already: left out"),
        (f"{tmp_path}/root/gone", "that leads nowhere: left out"),
        (f"{tmp_path}/root/here", "to a folder that is read already: left out"),
        (f"{tmp_path}/root/itself", "that leads nowhere: left out"),
    ]


def test_a_class_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one folder of images for each class"):
        class_folders(tmp_path)
    touch(tmp_path / "a/0.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"b must hold images \(.*\); it is empty"):
        class_folders(tmp_path)
    touch(tmp_path / "b/0.heic")
    with pytest.raises(ValueError, match=r"b must hold images .*left out 1 of \.heic"):
        class_folders(tmp_path)
