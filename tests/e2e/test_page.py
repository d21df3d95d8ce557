"""The page, in a real browser: Debian's Chromium, driven by Playwright."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from f2at.audit.reports.statistics import wilson_interval
from f2at.bundle.format import Bundle
from f2at.serving.access.keys import add_key
from tests.e2e.browser import AXE, CONTRASTS, DESK, PHONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def image(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(bundle.reference()[0][0]).save(path)
    return path


LONG = "rotate-translate:degrees=30,shift=10%"


def share(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.03, "high": value + 0.031, "k": round(1000 * value), "n": 1000}


def row(number: int, name: str | None, suite: str, norm: str, eps: str, robust: float, **more: Any) -> dict[str, Any]:
    return {
        "audit": f"audit-{number}",
        "model": "sha256:" + ("0a" if name else "0b") * 32,
        "name": name,
        "suite": suite,
        "norm": norm,
        "eps": eps,
        "samples": 1000,
        "clean": share(0.7),
        "robust": share(robust),
        "accuracy": "robust accuracy",
        "threats": {},
        "worst_case": None,
        "finished": 1.8e9 + number,
        **more,
    }


ROWS = [
    row(1, "narrow", "adaptive", "linf", "8/255", 0.38),
    row(2, "wide", "adaptive", "linf", "8/255", 0.39, threats={LONG: share(0.5)}, worst_case=share(0.3)),
    row(3, None, "quick", "l2", "0.5", 0.6, clean=share(0.7) | {"confidence": 0.99}),
    row(4, "foreign", "custom", "l1", "12", 0.65, accuracy="accuracy under black-box attacks"),
]
LAST: dict[str, Any] = {"audit": "the-last", "suite": "adaptive", "norm": "linf", "eps": "8/255", "samples": 1000}
LAST |= {"clean": share(0.757), "robust": share(0.39), "accuracy": "robust accuracy"}


def describe(page: Page, **more: Any) -> None:
    """Let the model's description have these fields, too."""
    page.route("**/model", lambda route: route.fulfill(json=route.fetch().json() | more))


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
    expect(page.get_by_label("API key")).to_be_focused()
    expect(page.get_by_role("heading")).to_have_text(["Robust classifier", "Sign in"])  # and nothing that is empty
    expect(page.locator(".error")).to_have_count(0)
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#sign-in .error")).to_contain_text("key is unknown")
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use key").click()
    expect(page.locator("#audits")).to_have_text("None yet.")
    expect(page.locator("#sign-in")).to_be_hidden()
    expect(page.get_by_role("heading", name="What does the model say?")).to_be_focused()
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
    page.goto(server.url)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()
    expect(page.locator(".audit")).to_have_count(0)
    assert page.evaluate("sessionStorage.length") == 0
    server.stop()


def test_works_with_the_keyboard_alone(page: Page, server: "Server") -> None:
    page.goto(server.url)
    expect(page.locator("#suite option").first).to_be_attached()
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert page.evaluate(
            "(document.activeElement.closest('.drop') ?? document.activeElement).matches(':focus-within')"
            " && getComputedStyle(document.activeElement.closest('.drop') ?? document.activeElement).outlineStyle"
        ) not in ("none", False), reached
        if reached[-1] == "Start audit":
            break
    assert reached[0] == "file"
    assert reached[-6:] == ["suite", "norm", "eps", "samples", "More", "Start audit"]


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_and_can_be_read(page: Page, server: "Server", image: Path, size: tuple[int, int], scheme: str) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    describe(page, threats={LONG: "A turned and shifted picture"}, last_audit=LAST)
    page.route("**/leaderboard?*", lambda route: route.fulfill(json={"rows": ROWS}))
    page.goto(server.url)
    page.locator("#file").set_input_files(image)
    page.get_by_text("More", exact=True).click()
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.locator("#leaderboard table")).to_be_visible()
    fits_and_can_be_read(page, size[0])
    assert page.locator("#leaderboard-table").evaluate("node => node.scrollWidth > node.clientWidth")  # in its own box
    page.unroute("**/model")
    page.route("**/model", lambda route: route.fulfill(status=401, json={"detail": "The key is unknown."}))
    page.reload()
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#sign-in .error")).to_be_visible()
    fits_and_can_be_read(page, size[0])


def fits_and_can_be_read(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == width
    touch = page.locator("button:visible, select:visible").evaluate_all("nodes => nodes.map(n => n.clientHeight)")
    assert min(touch) >= 40
    nameless = "nodes => nodes.filter(n => !n.labels.length && !n.textContent.trim() && !n.ariaLabel).map(n => n.id)"
    assert page.locator("button:visible, select:visible, input:visible").evaluate_all(nameless) == []
    colours = page.evaluate(CONTRASTS)
    assert colours
    assert {text: ratio for text, ratio in colours if ratio < 4.5} == {}  # WCAG AA


def test_an_audit_is_asked_for_in_full(page: Page, narrow_server: "Server") -> None:
    attack = {"eps": "3/4", "norm": "l2"}
    describe(page, recipe={"attack": attack}, threats={"jpeg": "JPEG compression", "patch:area=2%": "A sticker"})
    page.goto(narrow_server.url)
    expect(page.get_by_label("Norm")).to_have_value("l2")
    eps = page.get_by_label("Length of the change")
    expect(eps).to_have_value("3/4")
    page.get_by_label("Norm").select_option("L1")
    expect(page.get_by_label("Sum of all changes")).to_have_value("12")
    page.get_by_label("Norm").select_option("L2")
    expect(eps).to_have_value("3/4")
    page.get_by_label("Test images").fill("3")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("A sticker").check()
    page.get_by_label("Required robust accuracy, %").fill("12.5")
    page.get_by_label("Seed").fill("7")
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/audits")) as asked:
        page.get_by_role("button", name="Start audit").click()
    assert asked.value.post_data_json == {
        "suite": "quick",
        "norm": "l2",
        "eps": "3/4",
        "samples": 3,
        "threats": ["patch:area=2%"],
        "min_robust_accuracy": 0.125,
        "seed": 7,
    }
    title = "quick, L2 3/4, 3 images, 1 other threat, at least 12.5 % required"
    expect(page.locator(".audit strong")).to_have_text(title)
    # What is folded away and wrong is unfolded.
    page.get_by_label("Seed").fill("-1")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Start audit").click()
    expect(page.get_by_label("Seed")).to_be_visible()
    expect(page.locator(".audit")).to_have_count(1)
    page.get_by_role("button", name="Cancel audit").click()


def test_what_is_not_asked_for_is_left_out(page: Page, server: "Server") -> None:
    page.route("**/audits", lambda route: route.fulfill(status=422, json={"detail": "Not now."}))
    page.goto(server.url)
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/audits")) as asked:
        start_audit(page, samples=1)
    assert asked.value.post_data_json == {"suite": "quick", "norm": "linf", "eps": "1/255", "samples": 1}
    expect(page.locator("#audit-error .error")).to_have_text("Not now.")
    describe(page, threats={})
    page.reload()
    page.get_by_text("More", exact=True).click()
    expect(page.get_by_label("Seed")).to_be_visible()
    expect(page.locator("#threats-part")).to_be_hidden()


def test_says_what_model_this_is(page: Page, server: "Server") -> None:
    page.goto(server.url)
    recipe = {"method": {"name": "f2at-fast"}}
    describe(page, dataset="cifar10", architecture={"name": "resnet18"}, recipe=recipe, last_audit=LAST)
    page.goto(server.url)
    expect(page.locator("#model p").first).to_have_text("Dataset cifar10, architecture resnet18, method f2at-fast")
    expect(page.locator("#last-audit")).to_have_text(
        "75.7 % right, 39.0 % under adaptive (Linf 8/255), 1000 images, 95 % interval 36.0 to 42.1. Report"
    )
    expect(page.get_by_role("link", name="Report of the last audit")).to_have_attribute(
        "href", "audits/the-last/report.html"
    )
    describe(page, dataset=None, architecture=None, recipe=None, last_audit=None)
    page.reload()
    expect(page.locator("#model p")).to_have_text([re.compile("^10 classes")])


@pytest.mark.parametrize(
    ("shares", "margin", "unsure"),
    [
        ((0.9, 0.1), 2.2, False),
        ((0.55, 0.45), 0.2, True),
        ((0.19, *[0.09] * 9), 0.75, True),
        ((0.55, *[0.05] * 9), 2.4, False),
    ],
)
def test_says_that_an_answer_is_a_guess(
    page: Page, server: "Server", image: Path, shares: tuple[float, ...], margin: float, unsure: bool
) -> None:
    found = server.client.post("/predict?planes=2", files={"image": image.read_bytes()}).json()
    found |= {"margin": margin, "probabilities": {f"class {k}": share for k, share in enumerate(shares)}}
    page.route("**/predict?*", lambda route: route.fulfill(json=found))
    page.goto(server.url)
    page.locator("#file").set_input_files(image)
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.locator(".unsure")).to_have_count(int(unsure))


def test_an_audit_is_removed_at_the_second_press(page: Page, narrow_server: "Server") -> None:
    asked = narrow_server.submit(samples=3)
    narrow_server.client.delete(f"/audits/{asked['id']}").raise_for_status()
    calls = f"**/audits/{asked['id']}?purge=true"
    page.route(calls, lambda route: route.fulfill(status=409, json={"detail": "Not this one."}))
    page.goto(narrow_server.url)
    card = page.locator(f"#audit-{asked['id']}")
    expect(card).to_have_text(re.compile("^quick, Linf 8/255, 3 imagescancelledRemove$"))
    remove, really = (card.get_by_role("button", name=name) for name in ("Remove audit", "Really remove?"))
    remove.click()
    expect(really).to_be_focused()
    page.get_by_label("Test images").focus()  # thought better of it
    expect(really).to_have_count(0)
    remove.click()
    really.click()
    expect(card.locator(".error")).to_have_text("Not this one.")
    page.unroute(calls)
    page.route(calls, lambda route: route.fulfill(status=204))
    remove.click()
    really.press("Enter")
    expect(card).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('section').ariaLabelledByElements[0].id") == "audits-title"


def test_the_table_of_models_is_sorted_filtered_and_linked(page: Page, server: "Server") -> None:
    page.route("**/leaderboard?*", lambda route: route.fulfill(json={"rows": ROWS}))
    page.goto(server.url)
    table, names = page.locator("#leaderboard table"), page.locator("#leaderboard tbody th")
    expect(names).to_have_text(
        ["foreign 0a0a0a0a", "0b0b0b0b", "wide 0a0a0a0a", "narrow 0a0a0a0a"]
    )  # by what withstands attack
    expect(table.get_by_role("columnheader", name="Attacked", exact=True)).to_have_attribute("aria-sort", "descending")
    expect(table.get_by_role("row").nth(1)).to_contain_text("under black-box attacks")
    expect(table.get_by_role("row").nth(2)).to_contain_text("67.0 to 73.1, at 99 %")
    table.get_by_role("button", name="Model").press("Enter")
    expect(names).to_have_text(["0b0b0b0b", "foreign 0a0a0a0a", "narrow 0a0a0a0a", "wide 0a0a0a0a"])
    expect(table.get_by_role("button", name="Model")).to_be_focused()
    table.get_by_role("button", name=LONG.split(":")[0]).click()
    expect(names.first).to_have_text("wide 0a0a0a0a")  # the only one with a figure there
    page.get_by_label("Suite").select_option("adaptive")
    page.get_by_label("Ball").select_option("Linf 8/255")
    expect(names).to_have_text(["wide 0a0a0a0a", "narrow 0a0a0a0a"])
    expect(page.locator("#leaderboard-count")).to_have_text("2 of 4 audits")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(names).to_have_text(["wide 0a0a0a0a", "narrow 0a0a0a0a"])
    expect(page.get_by_label("Ball")).to_have_value("Linf 8/255")
    expect(page.locator("#leaderboard")).to_be_in_viewport()
    link = table.get_by_role("link", name="Report of wide, adaptive, Linf 8/255")
    expect(link).to_have_attribute("href", "audits/audit-2/report.html")
    page.unroute("**/leaderboard?*")
    page.route("**/leaderboard?*", lambda route: route.fulfill(status=404, json={"detail": "Not found."}))
    page.reload()
    expect(page.locator("#audits")).not_to_be_empty()
    expect(page.locator("#leaderboard")).to_be_hidden()


def test_a_sample_image_is_tried_where_samples_may_be_seen(
    page: Page, start_server: "Callable[..., Server]", bundle: Bundle, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    seeing, blind = (add_key(keys, name, ["predict", name]) for name in ("examples", "audit"))
    server = start_server(F2AT_KEYS=str(keys))
    server.client.headers["Authorization"] = f"Bearer {seeing}"
    sample = server.client.get("/model/samples").raise_for_status().json()["samples"][1]
    image = bundle.reference()[0][sample["place"]]
    page.goto(server.url)
    page.get_by_label("API key").fill(blind)
    page.get_by_role("button", name="Use key").click()
    expect(page.locator("#audits")).to_have_text("None yet.")
    expect(page.locator("#samples-part")).to_be_hidden()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").fill(seeing)
    page.get_by_role("button", name="Use key").click()
    expect(page.get_by_role("group", name="Or try one of these:").get_by_role("button")).to_have_count(6)
    page.get_by_role("button", name=f"Sample of class {sample['label']}").first.press("Enter")
    expect(page.locator(".answer")).to_have_text(server.predict(image)["label"])
    expect(page.get_by_alt_text(f"Chosen image {sample['label']}.png")).to_be_visible()
    server.stop()


def test_the_form_says_how_long_an_audit_will_take(page: Page, start_server: "Callable[..., Server]") -> None:
    server = start_server()
    page.goto(server.url)
    estimate, eps = page.locator("#estimate"), page.get_by_label("Largest change of a pixel")
    page.get_by_label("Test images").fill("3")
    asked = {"suite": "quick", "norm": "linf", "eps": eps.input_value(), "samples": 3}
    found = server.client.post("/estimate", json=asked).raise_for_status().json()
    assert found["most_seconds"] is None
    expect(estimate).to_contain_text(f"At most {found['most_evaluations']:,} evaluations")
    assert server.client.get("/audits").json()["audits"] == []
    # What the server refuses is said at once, at the field; what the browser refuses is not even asked.
    eps.fill("9/2")
    expect(page.locator("#audit-error .error")).to_contain_text("eps must be at most 1")
    expect(estimate).to_be_empty()
    expect(eps).to_have_attribute("aria-invalid", "true")
    expect(eps).to_have_attribute("aria-errormessage", "audit-error")
    eps.fill("1/")
    expect(page.locator("#audit-error")).to_be_empty()
    expect(eps).not_to_have_attribute("aria-invalid", "true")
    # Once an audit has run, its pace is known.
    start_audit(page, samples=3)
    expect(page.locator(".audit .state")).to_have_text("done")
    expect(estimate).to_have_text(re.compile(r"^It takes at most about \d+ s, less where images fall early\.$"))
    assert server.client.post("/estimate", json=asked).json()["most_seconds"] > 0
    server.stop()


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


def test_an_audit_comes_into_the_header_and_the_table_and_is_removed(
    page: Page, start_server: "Callable[..., Server]"
) -> None:
    server = start_server()
    page.goto(server.url)
    expect(page.locator("#audits")).to_have_text("None yet.")
    expect(page.locator("#leaderboard")).to_be_hidden()
    asked = server.submit(suite="custom", attacks=[{"name": "square", "queries": 1}], eps="1/255", samples=3)
    robust = server.finish(asked["id"])["robust"]
    page.reload()
    low, high = (f"{100 * robust[end]:.1f}" for end in ("low", "high"))
    under = f"{100 * robust['value']:.1f} % under custom (Linf 1/255, black-box attacks only)"
    expect(page.locator("#last-audit")).to_contain_text(f"{under}, 3 images, 95 % interval {low} to {high}.")
    expect(page.locator("#leaderboard tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Remove audit").click()
    page.get_by_role("button", name="Really remove?").click()
    expect(page.locator("#audits")).to_have_text("None yet.")
    expect(page.locator("#leaderboard")).to_be_hidden()
    expect(page.locator("#last-audit")).to_have_count(0)
    assert server.client.get(f"/audits/{asked['id']}").status_code == 404
    server.stop()


@pytest.mark.parametrize("keys", [False, True], ids=["open", "with keys"])
def test_two_audits_are_compared_from_the_table(
    page: Page, start_server: "Callable[..., Server]", tmp_path: Path, keys: bool
) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "reader", ["predict", "audit"]) if keys else ""
    server = start_server(**({"F2AT_KEYS": str(path)} if keys else {}))
    if keys:
        server.client.headers["Authorization"] = f"Bearer {key}"
    for eps, seed in (("1/255", 0), ("2/255", 0), ("1/255", 1)):
        attacks = [{"name": "square", "queries": 1}]
        server.finish(server.submit(suite="custom", attacks=attacks, eps=eps, seed=seed, samples=3)["id"])
    page.goto(server.url)
    if keys:
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use key").click()
    expect(page.locator("#leaderboard tbody tr")).to_have_count(3)
    # The newest, against the one before it in the same ball; the other ball is not offered.
    expect(page.get_by_label("Candidate").locator("option")).to_have_count(1)
    link, shown = page.get_by_role("link", name="Compare", exact=True), page
    if keys:
        with page.expect_popup() as opened:
            link.click()
        shown = opened.value
    else:
        link.click()
    expect(shown.get_by_role("heading", level=1)).to_contain_text("against")
    expect(shown.locator(".against").first).to_contain_text("Accuracy on clean images")
    assert shown.locator(".interval").first.evaluate("node => getComputedStyle(node).position") == "relative"
    if not keys:
        page.go_back()
        page.get_by_label("Baseline").select_option(index=1)
        expect(page.locator("#compare-none")).to_be_visible()
    server.stop()


def test_axe_finds_nothing(page: Page, start_server: "Callable[..., Server]", image: Path) -> None:
    """Deque's rules for WCAG 2.1 A and AA and good practice, on every view, in both schemes and at both widths."""
    server = start_server()
    for seed in (0, 1):
        threats = ["jpeg:quality=50"]
        server.finish(server.submit(suite="quick", eps="1/255", seed=seed, samples=3, threats=threats)["id"])
    ids = [audit["id"] for audit in server.client.get("/audits").json()["audits"]]
    views = ["", "docs", f"audits/{ids[0]}/report.html", f"compare.html?baseline={ids[0]}&candidate={ids[1]}"]
    for scheme, size in (("light", DESK), ("dark", PHONE)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for view in views:
            page.goto(f"{server.url}/{view}")
            if not view:
                page.locator("#file").set_input_files(image)
                expect(page.locator(".answer")).to_have_count(1)
                expect(page.locator("#leaderboard tbody tr")).to_have_count(2)
                for summary in page.locator("summary").all():
                    summary.click()
            # Not added as a script, which the pages' policy forbids; what Swagger UI draws is its own.
            run = "axe.run({exclude: ['#swagger-ui']})"
            found = page.evaluate(f"async () => {{ {AXE}; return (await {run}).violations; }}")
            told = [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found]
            assert not told, f"/{view}, {scheme}: {told}"
    server.stop()
