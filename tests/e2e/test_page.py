"""The page, in a real browser: Debian's Chromium, driven by Playwright."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from f2at.audit.reports.statistics import wilson_interval
from f2at.bundle.format import Bundle
from f2at.serving.access.keys import add_key
from tests.e2e.browser import CONTRASTS, DESK, PHONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def image(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(bundle.reference()[0][0]).save(path)
    return path


def start_audit(page: Page, *, samples: int, suite: str = "quick") -> None:
    page.get_by_label("Attacks").select_option(suite)
    page.get_by_label("Largest change of a pixel").fill("1/255")
    page.get_by_label("Test images").fill(str(samples))
    page.get_by_role("button", name="Start audit").click()


def test_a_large_photograph_is_sent_small(page: Page, start_server: "Callable[..., Server]", tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000), dtype=np.uint8)
    photograph = tmp_path / "photograph.jpg"
    Image.fromarray(noise).save(photograph, quality=95)
    assert photograph.stat().st_size > 4 << 20
    page.goto(start_server().url)
    with page.expect_request("**/predict?*") as asked:
        page.locator("#file").set_input_files(photograph)
    expect(page.locator(".answer")).to_have_count(1)
    assert 0 < int(asked.value.all_headers()["content-length"]) < photograph.stat().st_size / 2


def test_the_whole_journey(page: Page, start_server: "Callable[..., Server]", bundle: Bundle, image: Path) -> None:
    server = start_server()
    page.goto(server.url)
    expect(page.locator("#model")).to_contain_text(bundle.digest[:19])

    # An image: the label, what the natural pattern says, and the patterns themselves.
    page.locator("#file").set_input_files(image)
    answer = server.client.post("/predict?planes=2", files={"image": image.read_bytes()}).json()
    expect(page.locator(".answer")).to_have_text(answer["label"])
    pattern = answer["patterns"]
    verdict = f"classified as {pattern['label']}, not {answer['label']}."
    if pattern["agrees"]:
        verdict = f"also classified as {pattern['label']}."
    expect(page.locator(".verdict")).to_have_text(f"The natural pattern is {verdict}")
    shown = page.locator(".patterns img").evaluate_all("nodes => nodes.map(node => [node.src, node.naturalWidth])")
    assert shown == [[answer["patterns"]["natural"], 16], [answer["patterns"]["perturbed"], 16]]
    page.get_by_text("What are natural and perturbed patterns?").click()
    page.get_by_label("Upper bit-planes").select_option("5")
    expect(page.locator("figcaption").first).to_contain_text("upper 5 of 8")

    # An audit, watched attack by attack, to its report.
    start_audit(page, samples=200)  # enough to be seen running
    audit = page.locator(".audit").first
    expect(audit.locator(".state")).to_have_text("running")
    expect(audit.get_by_role("row").filter(has_text="no attack")).to_contain_text(re.compile(r"of [1-9]"))
    expect(audit.locator(".state")).to_have_text("done")
    path = server.client.get("/audits").json()["audits"][0]["links"]["report"]
    report = server.client.get(path).json()
    clean, robust = report["clean"], report["robust"]
    expect(audit.locator(".summary")).to_have_text(
        f"{clean['k']} of 200 images are right without attack, and {robust['k']} remain right under every attack."
    )
    low, high = (f"{100 * end:.1f} %" for end in wilson_interval(robust["k"], robust["n"]))
    point = page.locator("#trend a")
    expect(point).to_have_count(1)
    assert f"({low} to {high})" in (point.get_attribute("aria-label") or "")
    audit.get_by_role("link", name="Open report").click()
    expect(page.locator("body")).to_contain_text(bundle.digest.removeprefix("sha256:")[:12])
    beside = page.get_by_role("link", name="report", exact=True).evaluate("(node) => node.href")
    assert server.client.get(beside).json() == report
    page.go_back()

    # Another one, cancelled.
    start_audit(page, samples=200)
    expect(page.locator(".audit")).to_have_count(2)
    page.get_by_role("button", name="Cancel audit").click()
    expect(page.locator(".audit").first.locator(".state")).to_have_text("cancelled")
    assert server.client.get("/audits").json()["audits"][0]["state"] == "cancelled"

    # With more audits than the server lists at a time.
    def shorter(route: Route) -> None:
        route.continue_(url=f"{server.url}/audits?limit=1")

    page.route("**/audits", shorter)
    page.reload()
    expect(page.locator(".audit")).to_have_count(1)
    expect(point).to_have_count(0)
    page.get_by_role("button", name="Show older audits").click()
    expect(page.locator(".audit .state")).to_have_text(["cancelled", "done"])
    expect(point).to_have_count(1)
    expect(page.get_by_role("button", name="Show older audits")).to_be_hidden()
    server.stop()


def test_what_answers_alone_withstand_is_not_said_of_every_attack(
    page: Page, start_server: "Callable[..., Server]"
) -> None:
    server = start_server()
    asked = server.submit(suite="custom", attacks=[{"name": "square", "queries": 1}], eps="1/255", samples=3)
    robust = server.finish(asked["id"])["robust"]["k"]
    page.goto(server.url)
    expect(page.locator(".summary")).to_contain_text(f"and {robust} remain right under black-box attacks.")
    assert "under black-box attacks" in (page.locator("#trend a").get_attribute("aria-label") or "")
    expect(page.locator(".audit")).to_contain_text(re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\dZ"))

    def unbroken(route: Route) -> None:
        answer = route.fetch().json()
        stages = answer["audits"][0]["progress"]["stages"]
        stages[-1]["robust"] = stages[0]["robust"]
        route.fulfill(json=answer)

    page.route("**/audits", unbroken)
    page.reload()
    expect(page.locator(".summary")).to_contain_text("The attacks broke nothing: they may be too weak to tell.")
    server.stop()


def test_asks_for_a_key_and_uses_it(
    page: Page, start_server: "Callable[..., Server]", image: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    key = add_key(keys, "page", ["predict", "audit", "examples"])
    server = start_server(F2AT_KEYS=str(keys))
    page.goto(server.url)
    expect(page.locator("#model .error")).to_contain_text("API key")
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Use key").click()
    expect(page.locator("#model .error")).to_contain_text("key is unknown")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use key").click()
    expect(page.locator("#audits")).to_have_text("None yet.")
    page.locator("#file").set_input_files(image)
    expect(page.locator(".verdict")).to_be_visible()
    start_audit(page, samples=2)
    expect(page.locator(".audit .state")).to_have_text("done")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open report").first.click()
    report = popup.value
    expect(report.locator("h1")).to_be_visible()
    assert (
        report.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") != "none"
    )  # its own style is in force
    assert report.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth)")
    report.get_by_role("link", name="report", exact=True).click()
    report.wait_for_function("document.contentType === 'application/json'")
    assert json.loads(report.locator("pre").inner_text())["request"]["samples"] == 2
    page.goto(f"{server.url}/docs")
    expect(page.locator('[data-path="/predict"]').first).to_be_visible()
    server.stop()


def test_works_with_the_keyboard_alone(page: Page, server: "Server") -> None:
    page.goto(server.url)
    expect(page.locator("#suite option").first).to_be_attached()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert page.evaluate(
            "(document.activeElement.closest('.drop') ?? document.activeElement).matches(':focus-within')"
            " && getComputedStyle(document.activeElement.closest('.drop') ?? document.activeElement).outlineStyle"
        ) not in ("none", False), reached
        if reached[-1] == "Start audit":
            break
    assert reached[0] == "file"
    assert reached[-4:] == ["suite", "eps", "samples", "Start audit"]


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_and_can_be_read(page: Page, server: "Server", image: Path, size: tuple[int, int], scheme: str) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(server.url)
    page.locator("#file").set_input_files(image)
    expect(page.locator(".verdict")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    touch = page.locator("button:visible, select:visible").evaluate_all("nodes => nodes.map(n => n.clientHeight)")
    assert min(touch) >= 40
    colours = page.evaluate(CONTRASTS)
    assert colours
    assert {text: ratio for text, ratio in colours if ratio < 4.5} == {}  # WCAG AA


def test_what_the_server_refuses_is_said(page: Page, server: "Server", tmp_path: Path) -> None:
    page.goto(server.url)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    page.locator("#file").set_input_files(broken)
    expect(page.locator("#prediction .error")).to_contain_text("PNG, JPEG, WEBP, BMP")
    page.get_by_label("Largest change of a pixel").fill("9/2")
    page.get_by_role("button", name="Start audit").click()
    expect(page.locator("#audit-error .error")).to_contain_text("eps must be at most 1")


def test_finds_the_server_again(page: Page, server: "Server") -> None:
    page.route("**/audits", lambda route: route.abort())
    page.goto(server.url)
    expect(page.locator("#audits .error")).to_have_text("The server does not answer.")
    page.unroute("**/audits")
    expect(page.locator("#audits .error")).to_have_count(0)


def test_the_api_page_is_served_from_here(page: Page, server: "Server") -> None:
    page.goto(f"{server.url}/docs")
    for path in ("/predict", "/audits/{id}/report"):
        expect(page.locator(f'[data-path="{path}"]').first).to_be_visible()
