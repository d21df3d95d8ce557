"""The page of a report in a real browser: on screens of both kinds, in the dark, and on paper."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from f2at.audit.reports.files import write_report
from tests.e2e.browser import CONTRASTS, DESK, PHONE
from tests.e2e.conftest import REPOSITORY

pytestmark = pytest.mark.slow

A4, A5 = 688, 454  # pixels between the margins of a sheet


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    report = json.loads((REPOSITORY / "zoo" / "cifar10-small" / "audit.json").read_text())
    return write_report(report, tmp_path_factory.mktemp("report") / "report.json").as_uri()


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_and_can_be_read(page: Page, address: str, size: tuple[int, int], scheme: str) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    colours = page.evaluate(CONTRASTS)
    assert len(colours) > 500
    assert {text: ratio for text, ratio in colours if ratio < 4.5} == {}  # WCAG AA


def test_the_head_is_what_a_reader_sees_first(page: Page, address: str) -> None:
    page.goto(address)
    bottom = page.locator(".pair").bounding_box()
    assert bottom is not None
    assert bottom["y"] + bottom["height"] < DESK[1]  # verdict and both figures, without scrolling


def test_its_json_is_beside_it(page: Page, address: str) -> None:
    page.goto(address)
    link = page.get_by_role("link", name="report.json")
    beside = Path(page.evaluate("(node) => node.href", link.element_handle()).removeprefix("file://"))
    assert json.loads(beside.read_text())["schema_version"]


def test_on_paper_nothing_is_folded_away_or_cut_off(page: Page, address: str) -> None:
    page.set_viewport_size({"width": A4, "height": 1000})
    page.goto(address)
    folded = "[...document.querySelectorAll('details :not(summary)')].filter((node) => !node.checkVisibility()).length"
    assert page.evaluate(folded) > 0
    page.emulate_media(media="print")
    assert page.evaluate(folded) == 0
    hidden = "[...document.querySelectorAll('main th, main td')].filter((node) => !node.checkVisibility()).length"
    assert page.evaluate(hidden) == 0
    assert page.evaluate(CLIPPED) == []
    page.set_viewport_size({"width": A5, "height": 700})
    assert page.evaluate(hidden) == 0
    assert page.evaluate(CLIPPED) == []
    assert not page.locator("nav").is_visible()  # nobody can follow it there
    sheets = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert sheets > 5


# What stands out to the right of the sheet, or is cut off by what it is in.
CLIPPED = """() => [...document.querySelectorAll('main *')].filter((node) => {
  const box = node.getBoundingClientRect();
  if (node.closest('svg, .spoken') || !box.width) return false;
  const style = getComputedStyle(node);
  const cut = style.overflowX !== 'visible' && node.scrollWidth > node.clientWidth + 1;
  return cut || box.right > document.documentElement.clientWidth + 1;
}).map((node) => node.outerHTML.slice(0, 80))"""
