"""Where reports are kept besides: a folder or a store, each file whole."""

import json
from pathlib import Path

import fsspec
import pytest

from f2at.serving.jobs.archive import write

REPORT = {"a": "é", "b": [1, None]}


def test_a_folder_is_made_and_a_report_replaced(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "reports"
    for report in ({}, REPORT):
        write(str(place), "one", report)
    assert [path.name for path in place.iterdir()] == ["one.json"]
    assert json.loads((place / "one.json").read_text()) == REPORT


def test_a_store(tmp_path: Path) -> None:
    write("memory://archive/reports", "key:one", REPORT)
    system = fsspec.filesystem("memory")
    assert json.loads(system.cat_file("/archive/reports/key:one.json")) == REPORT
    system.rm("/archive", recursive=True)


def test_what_a_folder_cannot_take_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write(str(tmp_path / "file"), "one", REPORT)
