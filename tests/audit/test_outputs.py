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
    check_outputs([("output", bundle / "audit.json")], [bundle, None, "https://model.example"], overwrite=False)
    assert [path.name for path in bundle.iterdir()] == ["manifest.json"]
    with pytest.raises(ValueError, match=r"output must not name a file that is read; got .*manifest\.json"):
        check_outputs([("output", bundle / "manifest.json")], [bundle], overwrite=False)


def test_what_is_read_is_not_written_by_whatever_name(bundle: Path) -> None:
    link = bundle.parent / "link.json"
    link.symlink_to(bundle / "manifest.json")
    for path in (bundle / "manifest.json", bundle / ".." / "bundle" / "manifest.json", link):
        with pytest.raises(ValueError, match=r"junit must not name a file that is read"):
            check_outputs([("junit", path)], [bundle / "manifest.json"], overwrite=False)


def test_what_is_there_is_replaced_only_when_asked_for_and_nothing_is_written_twice(tmp_path: Path) -> None:
    path, folder = tmp_path / "x.xml", tmp_path / "folder"
    path.touch()
    folder.mkdir()
    with pytest.raises(ValueError, match=r"x\.xml exists; give --overwrite or another --junit"):
        check_outputs([("junit", path)], [], overwrite=False)
    check_outputs([("junit", path)], [], overwrite=True)
    with pytest.raises(ValueError, match=r"junit must name a file to write; .*folder is a folder"):
        check_outputs([("junit", folder)], [], overwrite=True)
    with pytest.raises(ValueError, match=r"sarif must name a file of its own; .* is another output of this command"):
        check_outputs([("junit", path), ("sarif", folder / ".." / "x.xml")], [], overwrite=True)


def test_a_place_where_nothing_can_be_written_is_refused_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"sarif must name a file that can be written; .*x\.sarif: "):
        check_outputs([("sarif", tmp_path / "file" / "x.sarif")], [], overwrite=False)
    check_outputs([("sarif", tmp_path / "new" / "x.sarif")], [], overwrite=False)
    assert list((tmp_path / "new").iterdir()) == []
