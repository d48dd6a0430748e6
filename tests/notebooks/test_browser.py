"""JupyterLab in a real Chromium, as a newcomer meets it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batch.command.stack.workbench import FIRST
from tests.browser.conftest import chromium
from tests.notebooks.test_workbench import Bench, started
from tests.servers import PATIENCE_SECONDS

__all__ = ["chromium"]

PICTURES = Path(__file__).parents[2] / "browser-report"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with started(tmp_path_factory.mktemp("bench")) as opened:
        yield opened


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A window of somebody who was never here; what it asks of others than the bench is noted."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1600})
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    opened = context.new_page()
    opened.asked = set()
    opened.on("request", lambda request: opened.asked.add(request.url.split("/")[2]))
    yield opened
    context.close()


def test_the_first_notebook_runs_and_shows_its_charts(bench: Bench, page: Any) -> None:
    page.goto(f"{bench.url}/lab/tree/{FIRST}?token={bench.token}")
    page.get_by_role("heading", name="Where to go on").wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    figures = page.locator(".jp-OutputArea-executeResult").last
    figures.get_by_text("'model ndcg'").wait_for()
    assert float(re.findall(r"'model ndcg': ([\d.]+)", figures.inner_text())[0]) > 0.3
    charts = page.locator(".jp-OutputArea-output img")
    assert charts.count() == 2
    assert charts.first.evaluate("image => image.naturalWidth") > 300
    charts.first.scroll_into_view_if_needed()
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / "workbench.png")
    assert not page.get_by_role("dialog").count() and not page.locator(".Toastify__toast").count()
    assert page.asked == {bench.url.removeprefix("http://")}, "it asks somebody on the internet"


def test_a_wrong_token_is_shown_where_to_give_the_right_one(bench: Bench, page: Any) -> None:
    page.goto(f"{bench.url}/lab?token=wrong")
    assert "/login" in page.url
    page.locator("#password_input").fill(bench.token)
    page.locator("#login_submit").click()
    page.locator(".jp-DirListing-itemText", has_text=FIRST).wait_for()
