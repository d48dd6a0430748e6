"""The tracker in a real Chromium, on pages of another origin than the API."""

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import redis
from playwright.sync_api import BrowserContext, Page

from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace
from tests.servers import Api, Server, wait_until

SPACE = Namespace("browser")
SHOP = """<!doctype html><title>A shop</title>
<p data-item="near" data-list="g/a" data-position="2">one film</p>
<p style="margin-top: 3000px" data-item="far" data-list="g/a" data-position="9">another</p>
<script src="{api}/larder.js"></script>
<script>larder.init({{ url: "{api}", user: "u1", key: "publishable" }})</script>"""
MODULE = """<!doctype html><title>A shop of modules</title>
<script type="module">
import "{api}/larder.js"
larder.init({{ url: "{api}", session: "s1" }})
larder.track("click", {{ item: "by a module" }})
larder.flush()
</script>"""


class Pages:
    """What a site holds, at an origin of its own."""

    def __init__(self) -> None:
        pages = self.pages = {"/": "", "/module": "", "/other": "<!doctype html><title>x</title>"}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path, "").encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> "Pages":
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def events() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    with Pages() as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def api(server: Server, events: Server, pages: Pages) -> Iterator[Api]:
    settings = {"events": "true", "events_url": events.url, "cors_origins": pages.origin}
    with Api(server.url, SPACE.name, workers="1", **settings) as started:
        pages.pages["/"] = SHOP.format(api=started.url)
        pages.pages["/module"] = MODULE.format(api=started.url)
        yield started


@pytest.fixture
def visitor(chromium: Any) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 800, "height": 600})
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext, pages: Pages) -> Page:
    page = visitor.new_page()
    page.goto(pages.origin)
    return page


@pytest.fixture
def written(events: Server) -> Iterator[Callable[[], list[Event]]]:
    key = Streams(SPACE.name).events
    with redis.Redis.from_url(events.url) as client:
        client.delete(key)
        yield lambda: [Event.decode(entry) for _, entry in client.xrange(key)]


def track(page: Page, *items: str) -> None:
    page.evaluate("items => items.forEach((item) => larder.track('click', { item }))", items)


def waiting(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate("JSON.parse(localStorage.larder || '[]')")
    return found


def test_the_twentieth_event_sends_all_of_them_at_once(page: Page, written: Any) -> None:
    before = time.time_ns() // 1_000_000
    track(page, *(f"i{number}" for number in range(20)))
    wait_until(lambda: len(written()) == 20)
    found = written()
    assert [each.item for each in found] == [f"i{number}" for number in range(20)]
    assert {(each.type, each.user) for each in found} == {("click", "u1")}
    for each in found:
        assert each.id[12] == "7" and each.id[16] == "8" and len(each.id) == 32
        assert before <= int(each.id[:12], 16) <= each.time + 1
    assert len({each.id for each in found}) == 20
    wait_until(lambda: not waiting(page))


def test_an_event_alone_is_sent_after_a_while(page: Page, written: Any) -> None:
    track(page, "alone")
    wait_until(lambda: [each.item for each in written()] == ["alone"])


def test_a_module_works_as_a_script_does(
    visitor: BrowserContext, pages: Pages, written: Any
) -> None:
    visitor.new_page().goto(f"{pages.origin}/module")
    wait_until(lambda: bool(written()))
    assert [(each.item, each.user, each.session) for each in written()] == [
        ("by a module", "", "s1")
    ]


def test_what_was_half_in_view_for_a_second_was_seen_once(page: Page, written: Any) -> None:
    def seen() -> set[str]:
        return {each["item"] for each in waiting(page)} | {each.item for each in written()}

    watch = "larder.impressions(document.querySelectorAll('[data-item]'))"
    page.evaluate(watch)
    wait_until(lambda: seen() == {"near"})
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    wait_until(lambda: seen() == {"near", "far"})
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.body.insertAdjacentHTML('afterbegin', '<p data-item=new>new</p>')")
    page.evaluate(watch)
    wait_until(lambda: "new" in seen())  # the first one was in view as long as the new one
    page.evaluate("larder.flush()")
    wait_until(lambda: not waiting(page))
    assert [(each.type, each.item, each.list, each.position) for each in written()] == [
        ("impression", "near", "g/a", 2),
        ("impression", "far", "g/a", 9),
        ("impression", "new", "", -1),
    ]


def test_what_is_left_is_sent_when_the_visitor_leaves(
    page: Page, pages: Pages, written: Any
) -> None:
    track(page, "last", "very last")
    page.goto(f"{pages.origin}/other")
    wait_until(lambda: len(written()) == 2)
    assert [each.item for each in written()] == ["last", "very last"]
    assert not waiting(page)


def test_many_large_events_leave_in_parts(page: Page, pages: Pages, written: Any) -> None:
    large = "n => larder.track('click', { item: `i${n}`, properties: { text: 'é'.repeat(1900) } })"
    for number in range(19):
        page.evaluate(large, number)
    page.goto(f"{pages.origin}/other")
    page.goto(pages.origin)  # what did not fit into the beacons is sent by the next page
    wait_until(lambda: {each.item for each in written()} == {f"i{n}" for n in range(19)})


def test_events_wait_for_the_network_and_keep_their_ids(
    page: Page, visitor: BrowserContext, written: Any
) -> None:
    visitor.set_offline(True)
    track(page, "offline")
    page.evaluate("larder.flush()")
    (kept,) = waiting(page)
    visitor.set_offline(False)
    wait_until(lambda: not waiting(page))
    assert [each.id for each in written()] == [kept["id"]]


def test_events_outlive_the_page_while_their_server_is_away(
    page: Page, visitor: BrowserContext, pages: Pages, events: Server, written: Any
) -> None:
    events.kill()
    track(page, "one")
    page.evaluate("larder.flush()")
    assert [each["item"] for each in waiting(page)] == ["one"]
    visitor.set_offline(True)  # else the page would say goodbye by a beacon that nobody takes
    page.close()
    visitor.set_offline(False)
    events.start()
    other = visitor.new_page()
    other.goto(pages.origin)
    wait_until(lambda: not waiting(other))
    assert [each.item for each in written()] == ["one"]


@pytest.mark.parametrize("refusal", ["doNotTrack", "globalPrivacyControl"])
def test_nobody_is_tracked_who_does_not_want_it(
    visitor: BrowserContext, pages: Pages, written: Any, refusal: str
) -> None:
    visitor.add_init_script(f"Object.defineProperty(navigator, '{refusal}', {{ get: () => '1' }})")
    page = visitor.new_page()
    page.goto(pages.origin)
    track(page, "secret")
    assert not waiting(page)
    page.evaluate("larder.init({ url: '%s', user: 'u1', consent: () => true })" % _api(page))
    track(page, "allowed")
    page.evaluate("larder.flush()")
    wait_until(lambda: [each.item for each in written()] == ["allowed"])


def _api(page: Page) -> str:
    found: str = page.evaluate(
        "document.querySelector('script[src]').src.replace('/larder.js', '')"
    )
    return found
