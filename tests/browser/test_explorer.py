"""The explorer in a real Chromium, on real films: by keyboard and mouse, light and dark, small.

Screenshots of all pages stay in ``browser-report``; ``make picture`` puts one into the README.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from app.contracts.recommendations import Namespace
from batch.datasets.movielens import SMALL
from tests.app.wire import get, send
from tests.servers import Api, Server, run_here, wait_until

SPACE = Namespace("explored")
REPORT = Path(__file__).parents[2] / "browser-report"
USER = "15"
PICTURED = "1"
FILM = ("1", "Toy Story (1995)")
JSON = {"Content-Type": "application/json"}
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1100, "height": 800}
PAGES = {
    "home": "",
    "users": "users?q=1",
    "user": f"user?id={USER}",
    "items": "items?q=toy",
    "item": f"item?id={FILM[0]}",
    "generations": "generations",
    "rules": "rules",
    "events": "events",
    "why": f"why?id={USER}&item=2959",
    "what if": f"user?id={USER}&drop=1&add=2",
    "problem": "item?id=none",
}


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    """Two generations of films, of which the second knows less; a third run failed."""
    variables = {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": SPACE.name}
    films = [str(SMALL / "ratings.csv"), "--items", str(SMALL / "movies.csv")]
    films += ["--preset", "ml-latest", "--live", "--iterations", "4", "--max-drop", "1"]
    films += ["--filter-columns", "genres"]
    for factors in ("32", "8"):
        done = run_here("refresh", *films, "--factors", factors, variables=variables)
        assert done.returncode == 0, done.stderr
    assert run_here("refresh", "nothing.csv", variables=variables).returncode == 2
    settings = {"events": "true", "explorer": "true", "workers": "2"}
    with Api(server.url, SPACE.name, **settings) as started:
        wait_until(lambda: get(started.url, "/health/ready").status == 200)
        yield started


class Watched:
    """What must never happen on a page: an error, or a request that leaves this machine."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", self._asked)

    def _told(self, told: ConsoleMessage) -> None:
        if told.type == "error":
            self.said.append(told.text)

    def _asked(self, request: Any) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            self.said.append(f"a request to {request.url}")

    def found(self) -> list[str]:
        """Without what the browser says of an answer that is an error, which the page shows."""
        return [each for each in self.said if "Failed to load resource" not in each]


@pytest.fixture
def visitor(chromium: Any, api: Api) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=DESK, base_url=f"{api.url}/explorer/")
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext) -> Iterator[Page]:
    page = visitor.new_page()
    watched = Watched(page)
    yield page
    assert watched.found() == []


def listed(api: Api, user: str = USER) -> list[str]:
    answer = get(api.url, f"/recommendations/{user}").json()
    return [str(each["item"]) for each in answer["recommendations"]]


def load_until(page: Page, path: str, text: str) -> None:
    """All workers know of a change soon, and which of them answers is chance."""

    def is_shown() -> bool:
        page.goto(path)
        return text in page.locator("main").inner_text()

    wait_until(is_shown)


def live(api: Api) -> str:
    return str(get(api.url, "/generation").json()["generation"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_barrier_and_fits_a_phone(page: Page, name: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    for width, size in (("desk", DESK), ("phone", PHONE)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.goto(PAGES[name])
        found = Axe().run(page)
        assert not found.response["violations"], found.generate_report()
        wide, shown = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= shown, f"{name} scrolls sideways: {wide} of {shown}"
        page.screenshot(path=REPORT / f"{name}-{scheme}-{width}.png", full_page=True)


def test_the_picture_of_the_readme_is_made(page: Page, api: Api) -> None:
    clicked = {"type": "click", "user": PICTURED, "item": listed(api, PICTURED)[0]}
    assert send(api.url, "POST", "/events", json.dumps(clicked), JSON).status == 202
    page.set_viewport_size({"width": 960, "height": 760})
    load_until(page, f"user?id={PICTURED}", "personal+recent")
    page.get_by_role("link", name="Why?").first.click()
    expect(page.locator(".why")).to_be_visible()
    page.screenshot(path=REPORT / "picture.png")
    assert (REPORT / "picture.png").stat().st_size < 150_000


def test_users_are_found_while_somebody_types(page: Page) -> None:
    page.goto("users")
    expect(page.locator("#found")).to_contain_text("671 of the 671")
    page.get_by_label("A user id, or a part of one").press_sequentially("66")
    expect(page.locator("#found")).to_contain_text("16 of the 671")
    assert page.url.endswith("/users"), "nothing was loaded but a part of the page"
    page.get_by_role("link", name="661", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("User 661")
    expect(page.locator(".card")).to_have_count(10)


def test_it_works_without_a_script(chromium: Any, api: Api) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=f"{api.url}/explorer/")
    page = context.new_page()
    page.goto("items")
    page.get_by_label("An id, or a word of what is known of the item").fill("toy story")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=FILM[1]).click()
    assert page.get_by_role("heading", level=1).text_content() == FILM[1]
    assert page.locator(".card").count() == 10
    assert "users of the sample" in str(page.locator("main").text_content())
    context.close()


def test_the_keyboard_is_enough(page: Page) -> None:
    page.goto("user?id=15")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(".card a").first).to_be_focused()
    while not page.locator(".danger summary:focus").count():
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Delete 15 for good")).to_be_visible()


def test_two_generations_are_compared(page: Page) -> None:
    page.goto("generations")
    expect(page.get_by_role("img", name="nDCG by generation")).to_be_visible()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("main")).to_contain_text("of a list stayed")
    expect(page.get_by_role("heading", name="Entered most lists")).to_be_visible()
    assert re.search(r"On the mean, [1-9]", str(page.locator("main").text_content()))
    page.screenshot(path=REPORT / "compare.png", full_page=True)


def test_somebody_rolls_back_and_forward_again(page: Page, api: Api) -> None:
    before = live(api)
    page.goto("generations")
    for _ in range(2):
        page.locator(".danger summary").first.click()
        page.get_by_role("button", name="Make ").first.click()
        expect(page.get_by_role("status")).to_contain_text("It is live again")
    wait_until(lambda: live(api) == before)
    load_until(page, "", "rollback")


def test_somebody_is_deleted(page: Page, api: Api) -> None:
    page.goto("user?id=100")
    expect(page.locator("main")).to_contain_text("The list is personal")
    page.locator("summary", has_text="Delete this user").click()
    page.get_by_role("button", name="Delete 100 for good").click()
    expect(page.get_by_role("status")).to_contain_text("deleted")
    load_until(page, "user?id=100", "The list is popular")
    wait_until(lambda: get(api.url, "/recommendations/100").json()["source"] == "popular")


def test_an_item_is_hidden_from_everybody_and_shown_again(page: Page, api: Api) -> None:
    page.goto(PAGES["user"])
    page.locator(".card a").first.click()
    item = urlsplit(page.url).query.removeprefix("id=")
    assert item in listed(api)
    page.get_by_role("button", name="Hide it from everybody").click()
    expect(page.get_by_role("status")).to_contain_text("in force")
    wait_until(lambda: item not in listed(api))
    page.goto(PAGES["user"])
    expect(page.get_by_role("heading", name="of the rules did")).to_be_visible()
    expect(page.locator("main")).to_contain_text(", hidden")
    page.screenshot(path=REPORT / "hidden.png", full_page=True)
    page.goto(f"item?id={item}")
    page.get_by_role("button", name="Show it again").click()
    wait_until(lambda: item in listed(api))


def test_rules_are_tried_put_in_force_and_rolled_back(page: Page, api: Api) -> None:
    before = listed(api)
    page.goto("rules")
    text = page.get_by_label("Rules as JSON")
    text.fill('{"defaults": {"filter": ["genres:Western"]}')
    page.get_by_role("button", name="Try them").click()
    expect(page.get_by_role("alert")).to_contain_text("JSON")
    text.fill('{"defaults": {"filter": ["genre:Western"]}}')
    page.get_by_role("button", name="Try them").click()
    expect(page.get_by_role("alert")).to_contain_text("genres")
    text.fill('{"defaults": {"filter": ["genres:Western"]}}')
    page.get_by_role("button", name="Try them").click()
    expect(page.get_by_role("status")).to_contain_text("users of the sample")
    page.screenshot(path=REPORT / "tried.png", full_page=True)
    assert listed(api) == before
    page.get_by_label("A note").fill("a week of westerns")
    page.get_by_role("button", name="Put them in force").click()
    expect(page.locator("main")).to_contain_text("a week of westerns")
    wait_until(lambda: not set(listed(api)) & set(before))
    page.locator("summary", has_text="showed").first.click()
    page.get_by_role("button", name="in force again").first.click()
    wait_until(lambda: listed(api) == before)


def test_what_would_be_is_shown_in_the_page(page: Page) -> None:
    page.goto(PAGES["user"])
    page.get_by_role("checkbox").first.check()
    page.get_by_label("And with this item").fill("2")
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("#what-if")).to_contain_text("Would enter")
    assert page.url.endswith(PAGES["user"]), "nothing was loaded but a part of the page"


def test_what_goes_wrong_is_said_in_the_page(page: Page) -> None:
    page.goto(PAGES["user"])
    page.get_by_label("And with this item").fill("no-such-item")
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("#what-if")).to_contain_text("does not hold item 'no-such-item'")
    page.get_by_label("And with this item").fill("2")
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("#what-if")).to_contain_text("Would enter")


def test_why_is_told_in_the_page(page: Page) -> None:
    page.goto(PAGES["user"])
    page.get_by_role("link", name="Why?").first.click()
    expect(page.locator(".why")).to_contain_text("add most to its score")
    assert page.url.endswith(PAGES["user"])


def test_another_site_changes_nothing(chromium: Any, api: Api) -> None:
    before = live(api)
    page = chromium.new_page()
    page.set_content(
        f'<form method="post" action="{api.url}/explorer/rollback">'
        '<input name="generation" value="x"><button>Win</button></form>'
    )
    with page.expect_response(f"{api.url}/explorer/rollback") as answered:
        page.get_by_role("button").click()
    assert answered.value.status == 403
    assert live(api) == before
    page.close()
