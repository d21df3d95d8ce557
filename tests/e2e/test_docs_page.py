"""The page at /docs in a real browser: what it shows can be tried at once."""

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

GROUPS = ["Predictions", "Model", "Audits", "Open Inference Protocol", "Pages and operation"]


def opened(page: Page, operation: str) -> Locator:
    """The part of the page about an operation."""
    found = page.locator(f'.opblock[id$="-{operation}"]')
    found.locator(".opblock-summary-control").click()
    return found


def executed(operation: Locator) -> Locator:
    """The answer to what the page has filled in."""
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table tbody tr").first
    expect(answer.locator(".response-col_status")).to_have_text(re.compile("^200"))
    return answer


def test_requests_are_filled_in(page: Page, server: "Server") -> None:
    page.goto(f"{server.url}/docs")
    expect(page.locator(".opblock-tag")).to_have_text(GROUPS)
    for operation in ("predict", "v2_infer", "audits", "estimate"):
        part = opened(page, operation)
        expect(part.locator(".responses-inner .example").first).not_to_contain_text('"string"')
        expect(executed(part)).to_contain_text(server.client.get("/model").json()["digest"][:19])


def test_a_picture_that_the_user_takes_away_stays_away(page: Page, server: "Server") -> None:
    page.goto(f"{server.url}/docs")
    field = opened(page, "predict").locator("input[type=file]")
    expect(field).to_have_value(re.compile("ship.png$"))
    field.set_input_files([])
    opened(page, "model")
    expect(field).to_have_value("")
