"""Links of the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    path for pattern in ("*.md", "docs/**/*.md", "*/README.md", "zoo/*/README.md") for path in REPOSITORY.glob(pattern)
]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path) if path else page
        if path.startswith("http"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("page", sorted(REPOSITORY.glob("docs/packages/*.md")), ids=lambda page: page.stem)
def test_a_page_of_a_package_names_files_that_are_there(page: Path) -> None:
    folder = REPOSITORY / page.stem
    assert page.read_text(encoding="utf-8").startswith(f"# {page.stem}/\n")
    named = re.findall(r"`([a-z_./]+(?:\.\w+|/))`", page.read_text(encoding="utf-8"))
    missing = [name for name in named if not (REPOSITORY / name).exists() and not list(folder.rglob(name.strip("/")))]
    assert [name for name in missing if name not in (".npz", "classifier.onnx", "gradient.onnx")] == []


def test_every_package_has_a_page() -> None:
    packages = {path.name for path in (REPOSITORY / "f2at").iterdir() if path.is_symlink()} | {"benchmarks"}
    assert {page.stem for page in REPOSITORY.glob("docs/packages/*.md")} == packages
