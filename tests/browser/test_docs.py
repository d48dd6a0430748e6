"""The page of the API's documentation, as a browser with a strict policy shows it."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect

from app.contracts.recommendations import Namespace
from tests.app.films import KEY
from tests.fuzz.openapi import DOCUMENT, everything
from tests.servers import Api, Server


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    with everything(server, Namespace("docs"), workers="1") as started:
        yield started


@pytest.fixture
def page(chromium: Any) -> Iterator[Page]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def test_the_page_shows_every_path_and_asks_nobody_else(page: Page, api: Api) -> None:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{api.url}/docs")
    paths = yaml.safe_load(DOCUMENT.read_bytes())["paths"]
    shown = page.locator(".opblock-summary-path")
    expect(shown).to_have_count(sum(map(len, paths.values())))
    there = {text.replace("\u200b", "") for text in shown.all_inner_texts()}
    assert there == set(paths)
    page.locator("#operations-lists-recommend .opblock-summary-control").click()
    expect(page.get_by_text("Shawshank Redemption").first).to_be_visible()
    assert said == []
    assert f"{api.url}/openapi.yaml" in asked
    assert [url for url in asked if not url.startswith((f"{api.url}/", "data:"))] == []


def test_a_request_can_be_tried_with_a_key(page: Page, api: Api) -> None:
    page.goto(f"{api.url}/docs#/lists/recommend")
    page.locator("button.authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(KEY)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()
    page.get_by_role("button", name="Try it out", exact=True).click()
    with page.expect_response("**/recommendations/15*") as answered:
        page.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
