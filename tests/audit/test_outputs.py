"""Where commands write: never over what they read, and only where something can be written."""

from pathlib import Path

import pytest

from f2at.audit.commands.outputs import check_outputs


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    return folder


def test_a_report_may_lie_in_a_bundle_but_not_in_place_of_its_files(bundle: Path) -> None:
    check_outputs({bundle / "audit.json": "output"}, [bundle, None, "https://model.example"])
    assert [path.name for path in bundle.iterdir()] == ["manifest.json"]
    with pytest.raises(ValueError, match=r"output must not name a file that is read; got .*manifest\.json"):
        check_outputs({bundle / "manifest.json": "output"}, [bundle])


def test_what_is_read_is_not_written_by_whatever_name(bundle: Path) -> None:
    link = bundle.parent / "link.json"
    link.symlink_to(bundle / "manifest.json")
    for path in (bundle / "manifest.json", bundle / ".." / "bundle" / "manifest.json", link):
        with pytest.raises(ValueError, match=r"junit must not name a file that is read"):
            check_outputs({path: "junit"}, [bundle / "manifest.json"])


def test_a_place_where_nothing_can_be_written_is_refused_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"sarif must name a file that can be written; .*x\.sarif: "):
        check_outputs({tmp_path / "file" / "x.sarif": "sarif"}, [])
    check_outputs({tmp_path / "new" / "x.sarif": "sarif"}, [])
    assert list((tmp_path / "new").iterdir()) == []
