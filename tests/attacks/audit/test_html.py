import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from attacks.audit import run_audit
from attacks.audit.html import percent, render
from tests.attacks.audit.grey import grey_audit

NASTY = "<script>alert('x')</script>\"&"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    audit = grey_audit([1 + i % 12 for i in range(36)], eps="8/255", min_robust_accuracy=0.9)
    made: dict[str, Any] = audit.report(run_audit(audit), id="one", finished="2026-11-22T12:00:00+00:00")
    return made


class Reader(HTMLParser):
    """Collects text, tags and attributes, and checks that tags close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader._open == []
    return reader


def test_page_says_what_the_report_says(report: dict[str, Any]) -> None:
    text = " ".join(read(render(report)).text.split())
    assert "Fail Even the upper end of the interval is below the threshold of 90.0 %." in text
    assert "Of 36 test images the model gets 36 right" in text
    assert "by up to 8 of 255 levels, it still gets 12 right" in text
    assert "12 of 36 images \u00b7 95 % interval 20.2 % to 49.7 %" in text
    for attack in report["attacks"]:
        assert attack["title"] in text
    for limitation in report["limitations"]:
        assert limitation in text
    assert report["data"]["sha256"] in text


def test_page_fetches_nothing(report: dict[str, Any]) -> None:
    page = render(report)
    assert not re.search(
        r"(?i)https?:|//[a-z]|@import|url\(\s*['\"]?(?!#)", re.sub(r"data:image/png;base64,\S+", "", page)
    )
    reader = read(page)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(reader.tags)
    for name, value in reader.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#"))


def test_whatever_comes_from_outside_is_escaped(report: dict[str, Any]) -> None:
    nasty = copy.deepcopy(report)
    nasty["classes"][0]["name"] = nasty["model"]["classes"][0] = NASTY
    nasty["model"] |= {"digest": NASTY, "manifest": {"dataset": NASTY, NASTY: {"deep": [NASTY]}}}
    nasty["run"] |= {"id": NASTY, "requester": NASTY, "finished": NASTY}
    reader = read(render(nasty))
    assert "script" not in reader.tags
    assert reader.text.count("alert('x')") >= 8
    assert reader.tags.count("img") == read(render(report)).tags.count("img")


def test_pictures_can_be_left_out_and_samples_can_all_stand(report: dict[str, Any]) -> None:
    assert read(render({**report, "examples": []})).tags.count("img") == 0
    assert read(render(report)).tags.count("img") == 5 * len(report["examples"]) > 0
    audit = grey_audit([60] * 3, eps="2/255")
    text = read(render(audit.report(run_audit(audit)))).text
    assert "No threshold was stated" in text


def test_page_of_a_model_that_is_always_wrong() -> None:
    audit = grey_audit([5] * 4, eps="2/255", norm="l2")
    audit._labels = 1 - audit._labels
    text = read(render(audit.report(run_audit(audit)))).text
    assert "No image was classified correctly" in text


def test_a_report_from_json_gives_the_same_page(report: dict[str, Any]) -> None:
    assert render(json.loads(json.dumps(report))) == render(report)


def test_percent() -> None:
    assert (percent(0.125), percent(1.0), percent(None)) == ("12.5\u00a0%", "100.0\u00a0%", "no samples")
