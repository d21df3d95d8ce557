import base64
import copy
import io
import json
import re
import shlex
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from f2at.audit import run_audit
from f2at.audit.page.html import beside_file, render_report
from f2at.audit.reports.report import without_examples
from f2at.audit.reports.statistics import wilson_interval
from f2at.images.bitplanes import bit_planes
from tests.audit.grey import grey_audit

NASTY = "<script>alert('x')</script>\"&$\\frac"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    audit = grey_audit([1 + i % 12 for i in range(36)], eps="8/255", min_robust_accuracy=0.9)
    made: dict[str, Any] = audit.report(run_audit(audit), id="one", finished="2026-11-22T12:00:00+00:00")
    return made


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> str:
    return render_report(report)


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

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader._open == []
    return reader


def test_page_says_what_the_report_says(report: dict[str, Any], page: str) -> None:
    text = read(page).words
    verdict = "Fail Even the upper end of the 95 % interval is below the threshold of 90.0 %, stated before the run."
    assert verdict in text
    assert "Robust accuracy, worst case 33.3 %" in text
    assert "Of 36 test images the model gets 36 right" in text
    assert "by up to 8 of 255 levels, it still gets 12 right" in text
    assert "12 of 36 images \u00b7 95 % interval 20.2 % to 49.7 %" in text
    assert "24 of 36 correctly classified images have a known error within eps." in text
    for attack in report["attacks"]:
        assert attack["title"] in text
        assert f"{attack['gradient_evaluations']:,}" in text
        assert attack["paper"].rsplit("/", 1)[-1] in text
    for corruption in report["corruptions"]:
        assert corruption["title"] in text
    for limitation in report["limitations"]:
        assert limitation in text
    assert report["data"]["sha256"] in text


def test_page_fetches_nothing(page: str) -> None:
    assert not re.search(
        r"(?i)https?:|//[a-z]|@import|url\(\s*['\"]?(?!#)", re.sub(r"data:image/png;base64,\S+", "", page)
    )
    reader = read(page)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(reader.tags)
    for name, value in reader.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#"))


def test_every_reference_has_its_one_target(page: str) -> None:
    reader = read(page)
    targets = reader.values("id")
    assert len(targets) == len(set(targets))
    references = {value[1:] for name in ("href", "xlink:href") for value in reader.values(name)}
    references |= set(re.findall(r"url\(#([^)]+)\)", page)) | set(reader.values("aria-labelledby"))
    assert references
    assert references <= set(targets)


def test_pictures_and_plots_have_words_for_those_who_cannot_see_them(page: str) -> None:
    reader = read(page)
    assert all(reader.values("alt"))
    assert len(reader.values("alt")) == reader.tags.count("img")
    plots = [value for value in reader.values("aria-label") if value.startswith("Plot: ")]
    assert len(plots) == len(set(plots)) == reader.tags.count("svg") == 4
    assert reader.tags.count("h1") == 1


def test_whatever_comes_from_outside_is_escaped(report: dict[str, Any], page: str) -> None:
    nasty = copy.deepcopy(report)
    nasty["classes"][0]["name"] = nasty["model"]["classes"][0] = NASTY
    nasty["model"] |= {"digest": NASTY, "manifest": {"dataset": NASTY, NASTY: {"deep": [NASTY]}}}
    nasty["surrogate"] = {"digest": NASTY, "manifest": {"list": [{NASTY: 1}]}}
    nasty["run"] |= {"id": NASTY, "requester": NASTY, "finished": NASTY}
    nasty["threat_model"]["effective_eps"] = nasty["confidences"]["attack"]["name"] = NASTY
    nasty["iterations"]["attack"]["name"] = nasty["attacks"][0]["name"] = NASTY
    nasty["corruptions"][0]["title"] = nasty["flags"][0]["evidence"] = nasty["examples"][0]["broken_by"] = NASTY
    reader = read(render_report(nasty))
    assert "script" not in reader.tags
    assert reader.text.count("alert('x')") >= 20
    assert reader.tags.count("img") == read(page).tags.count("img")


def test_pictures_are_the_images_and_their_bit_planes(report: dict[str, Any], page: str) -> None:
    sources = [base64.b64decode(src.removeprefix("data:image/png;base64,")) for src in read(page).values("src")]
    assert len(sources) == (5 + 2 * 8) * len(report["examples"]) > 0

    def decode(data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    example = report["examples"][0]
    clean, adversarial = (decode(base64.b64decode(example[key])) for key in ("clean", "adversarial"))
    shown = [decode(data) for data in sources[: 5 + 2 * 8]]
    factor = shown[0].shape[0] // clean.shape[0]
    np.testing.assert_array_equal(shown[0][::factor, ::factor], clean)
    np.testing.assert_array_equal(shown[2][::factor, ::factor], adversarial)
    np.testing.assert_array_equal(shown[3][::factor, ::factor], adversarial & 0b11000000)
    np.testing.assert_array_equal(shown[4][::factor, ::factor], 4 * (adversarial & 0b00111111))
    for image, first in ((clean, 5), (adversarial, 13)):
        for bit, plane in enumerate(bit_planes(image)):
            np.testing.assert_array_equal(shown[first + 7 - bit], 255 * plane)


def test_pictures_can_be_left_out(report: dict[str, Any]) -> None:
    reader = read(render_report({**report, "examples": []}))
    assert reader.tags.count("img") == 0
    assert "made without pictures" in reader.words
    reader = read(render_report(without_examples(report)))
    assert reader.tags.count("img") == 0
    assert f"The pictures ({len(report['examples'])}) are withheld" in reader.words


def test_page_of_a_model_that_withstands_everything() -> None:
    audit = grey_audit([60] * 3, eps="2/255")
    text = read(render_report(audit.report(run_audit(audit)))).words
    assert "No threshold was stated" in text
    assert "No attack broke an image" in text


def test_page_of_a_model_that_is_always_wrong() -> None:
    audit = grey_audit([5] * 4, eps="2/255", norm="l2")
    audit._labels = 1 - audit._labels
    text = read(render_report(audit.report(run_audit(audit)))).words
    assert "No image was classified correctly" in text


def test_every_check_has_passed_or_failed_or_found_a_little_or_was_not_run(report: dict[str, Any]) -> None:
    marked = copy.deepcopy(report)
    states = [(True, True), (None, None), (False, True)]
    for flag, (raised, found) in zip(marked["flags"], states, strict=False):
        flag |= {"raised": raised, "found": found}
    for flag in marked["flags"][3:]:
        flag |= {"raised": False, "found": False}
    reader = read(render_report(marked))
    kinds = [value for value in reader.values("class") if value in ("raised", "unknown", "noted", "clear")]
    assert kinds == ["raised", "unknown", "noted"] + ["clear"] * (len(marked["flags"]) - 3)
    text = reader.words
    passed = len(marked["flags"]) - 3
    assert f"Sanity checks 1 failed, 1 noted, {passed} passed, 1 not run, of {passed + 3}" in text
    assert "not found" not in text
    assert text.count(marked["flags"][0]["meaning"]) == 2  # read with care, and in the list
    assert f"failed {marked['flags'][0]['check']}" in text
    assert f"noted {marked['flags'][2]['check']}" in text
    assert f"Had it failed: {marked['flags'][3]['meaning']}" in text


def test_the_head_says_what_was_audited_and_what_stands_out(report: dict[str, Any]) -> None:
    made = copy.deepcopy(report)
    recipe = {"method": {"name": "trades"}, "attack": {"kind": "pgd", "eps": "8/255"}}
    made["model"]["manifest"] = {"architecture": {"name": "vgg11", "width": None}, "dataset": "roses", "recipe": recipe}
    made["model"]["digest"] = "sha256:ab"
    text = read(render_report(made)).words
    head = text[: text.index("Attacks In this order")]
    for words in (
        "2026-11-22T12:00:00+00:00 vgg11 What an attacker",
        "Model sha256:ab",
        f"Data set 36 images of 36, 2 classes sha256:{made['data']['sha256']}",
        "Method trades, trained against pgd at eps 8/255, on the data set roses",
        "Attacker Whoever knows the model and follows its gradients may change every pixel by up to 8 of 255 levels "
        "(linf, eps 8/255) to get any wrong class (untargeted).",
        "Suite custom, weak. What withstands these attacks; what they miss was not measured.",
        "Worst class dark, light: 33.3 % right under attack each",
        "Signature Not known here",
    ):
        assert words in head
    assert "Worst natural corruption" not in head  # the attacks leave fewer
    made["corruptions"][3] |= {"k": 4, "value": 4 / 36}
    found = "Low contrast, severity 3 of 5, leaves 11.1 % right, fewer than the attacks do (33.3 %)."
    assert f"Worst natural corruption {found}" in read(render_report(made)).words


def test_a_suite_that_broke_nothing_says_so(report: dict[str, Any]) -> None:
    broke_nothing = "nothing: no attack of this suite changed a right answer"
    assert broke_nothing not in read(render_report(report)).words
    assert broke_nothing in read(render_report({**report, "robust": report["clean"]})).words


def test_an_accuracy_under_other_attacks_is_not_called_robust(report: dict[str, Any]) -> None:
    knowing = {**report["threat_model"], "knowledge": ["black-box"]}
    text = read(render_report({**report, "threat_model": knowing})).words
    assert "Accuracy under black-box attacks, worst case 33.3 %" in text
    assert "Attacker Whoever sees only what the model answers may change" in text
    assert "Robust accuracy" not in text


def test_two_percentages_say_which_is_before_and_which_after(report: dict[str, Any], page: str) -> None:
    example = report["examples"][0]
    before, after = (f"{100 * example[key]:.1f} %" for key in ("confidence", "adversarial_confidence"))
    names = [report["model"]["classes"][example[key]] for key in ("label", "adversarial_prediction")]
    expected = f"{names[0]} ({before} before the attack) taken for {names[1]} ({after} after it)"
    assert expected in read(page).words


def test_the_level_of_the_intervals_is_that_of_the_request() -> None:
    audit = grey_audit([1 + i % 12 for i in range(36)], eps="8/255", confidence=0.9)
    text = read(render_report(audit.report(run_audit(audit)))).words
    low, high = (f"{100 * end:.1f} %" for end in wilson_interval(12, 36, 0.9))
    assert f"12 of 36 images \u00b7 90 % interval {low} to {high}" in text
    assert "95 % interval" not in text


def test_a_page_beside_its_report_links_to_it(report: dict[str, Any]) -> None:
    reader = read(render_report(report, beside_file("a b.json", "The bundle is not signed.")))
    assert "a%20b.json" in reader.values("href")
    assert "the signature lies beside it in a b.json.sig: f2at verify a b.json --public-key KEY" in reader.words
    assert "Signature of the model The bundle is not signed." in reader.words


def test_what_was_not_measured_is_said(report: dict[str, Any]) -> None:
    reader = read(render_report({**report, "iterations": None, "confidences": None, "corruptions": []}))
    assert reader.tags.count("svg") == 2
    assert "Not measured in this audit: accuracy against iterations, confidence under attack." in reader.words
    assert "Natural corruptions" not in reader.words


def test_table_tells_checks_surrogates_and_lone_attacks_apart(report: dict[str, Any], page: str) -> None:
    marked = copy.deepcopy(report)
    marked["attacks"][0] |= {"every": 5, "on": "surrogate", "alone": {**report["robust"], "value": 0.4321}}
    marked["iterations"]["broken_beyond_suite"] = 7
    text = read(render_report(marked)).words
    assert "on the surrogate one image in 5, as a check" in text
    assert "Alone" in text
    assert "43.2 %" in text
    assert re.search(r"errors that the run over many iterations found besides\s*7\b", text)
    assert "Alone" not in read(page).words


def test_a_report_from_json_gives_the_same_page(report: dict[str, Any], page: str) -> None:
    assert render_report(json.loads(json.dumps(report))) == page


def test_the_command_that_repeats_it_is_there_to_be_copied(report: dict[str, Any]) -> None:
    files = [
        {"what": "model", "name": NASTY, "digest": "sha256:00"},
        {"what": "data", "name": "images.npz", "digest": "sha256:11"},
    ]
    repeat: dict[str, Any] = {"files": files, "withheld": ["the key"]}
    repeat["command"] = shlex.join(["f2at", "audit", NASTY, "--data", "images.npz"])
    page = render_report({**report, "repeat": repeat})
    assert '<pre class="command"' in page
    text = read(page).words
    assert repeat["command"] in text
    assert "sha256:11" in text
    assert "Needed besides, and not in this report: the key." in text
    assert "objects in a program, which no command can name" in read(render_report(report)).words


def test_what_the_owner_states_is_there_and_what_is_not_stated_is_said_to_be_absent(report: dict[str, Any]) -> None:
    context = {**report["context"], "responsible_person": NASTY, "eps_rationale": "as in\nthe contract"}
    page = render_report({**report, "context": context})
    reader = read(page)
    assert "script" not in reader.tags
    assert f"Responsible person{NASTY}" in reader.words
    assert "Why this norm and epsas in the contract" in reader.words
    assert "Operating domainnot stated" in reader.words
    assert "Certified lower boundnone: attacks prove no robustness" in reader.words


def test_the_harness_and_what_catalogues_call_the_attacks_are_there(report: dict[str, Any], page: str) -> None:
    text = read(page).words
    assert report["harness"]["digest"] in text
    assert report["harness"]["environments"][0]["processor"]["model"] in text
    assert "AML.T0043.000 Craft Adversarial Data: White-Box Optimization (MITRE ATLAS)" in text


def test_no_unknown_schema_version_is_rendered(report: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="schema version 1, this program reads 2, 3 and 4"):
        render_report({**report, "schema_version": 1})
