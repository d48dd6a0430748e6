"""What the explorer's pages tell, as HTML and as JSON, and who may change something by them."""

import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from app.contracts.keys import Key, digest, id_of, keys_key, new_key
from app.contracts.recommendations import Namespace
from app.contracts.refreshes import Refresh, refreshes_key
from app.errors import BadSettings
from app.http.factory import create_app
from app.http.keys.scopes import scope_of
from app.settings import Settings
from tests.app.served import answering, following, watching
from tests.generations import publish_by_hand
from tests.servers import Server

SHOP = Namespace("explored")
OLD, NEW = "20260101T000000Z-0001", "20260102T000000Z-0002"
OWN = {"Sec-Fetch-Site": "same-origin"}
PAGES = (
    "/explorer/",
    "/explorer/users?q=u1",
    "/explorer/user?id=u7",
    "/explorer/items?q=title",
    "/explorer/item?id=i9",
    "/explorer/generations",
    f"/explorer/compare?a={OLD}&b={NEW}",
    "/explorer/rules",
    "/explorer/events",
)


@pytest.fixture(scope="module")
def published(server: Server) -> Iterator[None]:
    """Two generations: in the newer one items have other indices, and nobody has i0 any more."""
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SHOP, OLD)
        items = [f"i{(n + 1) % 11}" for n in range(9)]
        publish_by_hand(client, SHOP, NEW, items=items)
        client.lpush(refreshes_key(SHOP.name), _record(0, ""), _record(2, "a bad model"))
        yield


def _record(code: int, reason: str) -> str:
    return Refresh("2026-01-02T00:00:00+00:00", 12.5, code, reason, "", "refresh").to_json()


@pytest.fixture
def asked(server: Server, published: None) -> Iterator[FlaskClient]:
    with following(server, SHOP, explorer=True) as worker:
        yield worker.app.test_client()


def told(client: FlaskClient, path: str) -> Any:
    answer = client.get(path + ("&" if "?" in path else "?") + "format=json")
    assert answer.status_code == 200 and answer.mimetype == "application/json", answer.data
    return answer.get_json()


class Text(HTMLParser):
    """The words of a page, and what would break its policy."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.inline, self.headings = "", list[str](), 0
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.headings += tag == "h1"
        named = dict(attributes)
        if "style" in named or tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)
        self.inline += [name for name in named if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_a_page_and_json_under_a_strict_policy(asked: FlaskClient, path: str) -> None:
    answer = asked.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html"), answer.text
    page = Text(answer.text)
    assert (page.inline, page.headings) == ([], 1)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert told(asked, path)


def test_home_says_what_is_not_well(asked: FlaskClient) -> None:
    found = told(asked, "/explorer/")
    checks = {each["what"]: each for each in found["checks"]}
    assert not found["well"]
    assert checks["Cache"]["well"] and NEW in checks["Generation"]["said"]
    assert "a bad model" in checks["Refreshes"]["said"] and not checks["Refreshes"]["well"]
    assert [each["exit"] for each in found["refreshes"]] == [2, 0]
    page = asked.get("/explorer/").text
    assert "Something needs you" in page and "a bad model" in page


def test_home_answers_where_nothing_is_published(server: Server, namespace: Namespace) -> None:
    with answering(server, namespace, explorer=True) as app:
        found = told(app.test_client(), "/explorer/")
        checks = {each["what"]: each for each in found["checks"]}
        assert "holds no generation" in checks["Generation"]["said"]
        problem = app.test_client().get("/explorer/user?id=u1")
    assert (problem.status_code, problem.mimetype) == (503, "text/html")
    assert "Nothing published" in problem.text


def test_home_answers_while_the_cache_is_away(own_server: Server, namespace: Namespace) -> None:
    with answering(own_server, namespace, explorer=True) as app:
        own_server.kill()
        checks = {each["what"]: each for each in told(app.test_client(), "/explorer/")["checks"]}
        own_server.start()
    assert not checks["Cache"]["well"] and "does not answer" in checks["Cache"]["said"]


def test_users_are_found_by_a_part_of_their_id(asked: FlaskClient) -> None:
    found = told(asked, "/explorer/users?q=U9")
    assert found["users"] == ["u9", *(f"u9{n}" for n in range(10))]
    assert (found["matches"], found["sample"]) == (11, 100)
    assert told(asked, "/explorer/users")["matches"] == 100
    page = asked.get("/explorer/users?q=a/b c").text
    assert "/explorer/user?id=a/b+c" in page or "/explorer/user?id=a%2Fb+c" in page


def test_a_user_has_the_list_of_the_api_and_recents(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with following(server, namespace, explorer=True) as worker:
        asked = worker.app.test_client()
        before = worker.get("/recommendations/u7")
        worker.did("click", before["recommendations"][0]["item"], "u7")
        now, found = worker.get("/recommendations/u7"), told(asked, "/explorer/user?id=u7")
        assert found["recommendations"] == now["recommendations"] != before["recommendations"]
        assert [(each["type"], each["item"], each["title"]) for each in found["recents"]] == [
            ("click", before["recommendations"][0]["item"], before["recommendations"][0]["title"])
        ]
        events = told(asked, "/explorer/events")["events"]
        assert [(each["type"], each["who"]) for each in events] == [("click", "u7")]
        assert asked.post("/explorer/delete?id=u7", headers=OWN).status_code == 303
        assert worker.get("/recommendations/u7")["source"] == "popular"
        assert told(asked, "/explorer/user?id=u7")["recents"] == []


def test_ids_of_users_are_shortened_among_the_events(server: Server, namespace: Namespace) -> None:
    with following(server, namespace, explorer=True) as worker:
        worker.did("click", "i1", "somebody@example.com")
        page = worker.app.test_client().get("/explorer/events").text
    assert "som…" in page and "somebody" not in page


def test_an_item_tells_who_gets_it(asked: FlaskClient) -> None:
    found = told(asked, "/explorer/item?id=i1")
    assert (found["reach"]["sample"], found["similar"][0]["item"]) == (100, "i2")
    assert (
        found["reach"]["count"] == 34
    )  # the 12 users of each of three places; but 10 of 100 have 9
    assert {each["place"] for each in found["reach"]["users"]} == {1, 2, 3}
    assert asked.get("/explorer/item?id=none").status_code == 404
    assert [each["item"] for each in told(asked, "/explorer/items?q=TITLE OF 8")["found"]] == ["i9"]
    page = asked.get("/explorer/item?id=i1").text
    assert NEW not in page and "Item i1</p>" in page, "what the page adds is not of the document"
    assert told(asked, "/explorer/items?q=i3")["found"][0]["item"] == "i3"
    assert told(asked, "/explorer/items?q=title%22:")["found"] == [], "names are not searched"


def test_two_generations_are_compared_by_items_not_by_indices(asked: FlaskClient) -> None:
    found = told(asked, f"/explorer/compare?a={OLD}&b={NEW}&users=50")
    assert found["users"] == 50 and sum(found["spread"]) == 50
    assert {each["item"] for each in found["left"]} >= {"i0"}
    assert "i0" not in {each["item"] for each in found["entered"]}
    same = told(asked, f"/explorer/compare?a={NEW}&b={NEW}")
    assert (same["overlap"], same["unchanged"], same["entered"]) == (1.0, 100, [])
    assert asked.get(f"/explorer/compare?a={OLD}&b=none").status_code == 404
    assert asked.get(f"/explorer/compare?a={OLD}").status_code == 400


def test_a_rollback_moves_the_pointer_and_is_noted(
    server: Server, client: Any, namespace: Namespace
) -> None:
    for name in (OLD, NEW):
        publish_by_hand(client, namespace, name)
    with watching(server, namespace, explorer=True) as watcher:
        asked = create_app(Settings(namespace=namespace.name, explorer=True), watcher).test_client()
        where = f"/explorer/rollback?generation={OLD}"
        assert asked.post(where).status_code == 403
        assert asked.post(where, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get(namespace.live).decode() == NEW
        done = asked.post(where, headers=OWN)
        assert done.status_code == 303 and "is live again" in asked.get(done.location).text
        watcher.poll()
        assert asked.get("/generation").get_json()["generation"] == OLD
        states = {
            e["generation"]: e["state"] for e in told(asked, "/explorer/generations")["generations"]
        }
        assert states == {OLD: "complete", NEW: "withdrawn"}
        (record,) = told(asked, "/explorer/")["refreshes"]
        assert (record["kind"], record["generation"]) == ("rollback", OLD)
        assert "the explorer" in record["reason"]
        client.delete(namespace.popular(NEW))
        lost = asked.post(f"/explorer/rollback?generation={NEW}", headers=OWN)
        assert lost.status_code == 404 and "not whole" in lost.text
        assert client.get(namespace.live).decode() == OLD


def test_without_keys_only_this_machine_changes_something(asked: FlaskClient) -> None:
    """A name that somebody else makes lead here is another page's."""
    where = f"/explorer/rollback?generation={NEW}"
    for host in ("shop.example", "shop.example:8000"):
        assert asked.post(where, headers={**OWN, "Host": host}).status_code == 403
    for host in ("127.0.0.1:8000", "[::1]:8000", "localhost"):
        assert asked.post(where, headers={**OWN, "Host": host}).status_code == 303


def test_it_is_off_unless_it_was_asked_for(server: Server, published: None) -> None:
    with answering(server, SHOP) as app:
        answer = app.test_client().get("/explorer/")
    assert answer.status_code == 404 and "LARDER_EXPLORER=true" in answer.get_json()["detail"]


def test_it_needs_a_key_of_scope_admin() -> None:
    for path in ("/explorer", *PAGES, "/explorer/assets/htmx.min.js"):
        assert {scope_of(method, path) for method in ("GET", "POST")} == {"admin"}
    assert scope_of("GET", "/explorers") == "read"


def test_a_browser_is_asked_for_a_key_which_it_gives_as_a_user(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    made = {}
    for scope in ("read", "admin"):
        text = made[scope] = new_key(os.urandom)
        client.hset(keys_key(namespace.name), id_of(text), Key(digest(text), (scope,)).encode())
    with answering(server, namespace, explorer=True, auth="on") as app:
        api = app.test_client()
        refused = api.get("/explorer/")
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith('Basic realm="')
        assert api.get("/generation").headers["WWW-Authenticate"].startswith("Bearer")
        assert api.get("/explorer/", auth=(made["read"], "")).status_code == 403
        assert api.get("/explorer/", auth=(made["admin"], "")).status_code == 200


def test_assets_say_what_they_are_and_whose(asked: FlaskClient) -> None:
    kinds = {
        "explorer.css": "text/css",
        "htmx.min.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }
    for name, kind in kinds.items():
        answer = asked.get(f"/explorer/assets/{name}")
        assert (answer.status_code, answer.mimetype) == (200, kind)
        again = asked.get(
            f"/explorer/assets/{name}", headers={"If-None-Match": answer.headers["ETag"]}
        )
        assert again.status_code == 304
    assert "Zero-Clause BSD" in asked.get("/explorer/assets/htmx.LICENSE").text
    for name in ("none.css", "..%2Fshell.py"):
        assert asked.get(f"/explorer/assets/{name}").status_code == 404


def test_what_is_asked_for_is_never_markup(asked: FlaskClient) -> None:
    evil = "<script>alert(1)</script>"
    for path in (
        f"/explorer/users?q={evil}",
        f"/explorer/user?id={evil}",
        f"/explorer/item?id={evil}",
    ):
        answer = asked.get(path)
        assert "<script>alert" not in answer.text and "alert(1)" in answer.text
    assert evil not in asked.get(f"/explorer/?said={evil}").text


def test_cards_show_what_the_setting_names(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace, items=["i0"], users=["u0"], k=1)
    with answering(server, namespace, explorer=True, explorer_cards=",title,title") as app:
        answer = app.test_client().get("/explorer/user?id=u0")
    assert ">i0</a>" in answer.text, "the id, where no member is the title"
    assert "<img" not in answer.text, "Title of 0 is no address"
    assert "img-src 'self' https:" in answer.headers["Content-Security-Policy"]
    with pytest.raises(BadSettings, match="two commas"):
        Settings(explorer_cards="title")


def test_quality_is_drawn_with_its_intervals_and_told_as_text(
    server: Server, client: Any, namespace: Namespace
) -> None:
    old = {"ndcg": 0.25, "intervals": {"ndcg": [0.2, 0.3]}}
    new = {**old, "novelty": 3.25, "diversity": 0.875, "items": {"tail": {"share": 0.625}}}
    for name, model in ((OLD, old), (NEW, new)):
        manifest = publish_by_hand(client, namespace, name)
        metrics = {"model": model, "popular": {"ndcg": 0.1}}
        text = json.dumps({**json.loads(manifest.to_json()), "metrics": metrics})
        client.hset(namespace.generations, name, text)
    with answering(server, namespace, explorer=True) as app:
        page = app.test_client().get("/explorer/generations").text
    words = re.sub(r"\s+", " ", Text(page).words)
    assert f"{NEW}: 0.2500, from 0.2000 to 0.3000" in words
    dot, _ = re.findall(r'<circle class="dot" cx="[\d.]+" cy="([\d.]+)"', page)
    (low, high), _ = re.findall(r'<line class="interval" [^>]*y1="([\d.]+)" y2="([\d.]+)"', page)
    assert float(high) < float(dot) < float(low)
    cells = re.findall(r'<td class="number">(.*?)</td>', page)
    judged = ["0.2500", "0.2000 to 0.3000", "0.1000"]
    assert cells[:7] == [*judged, "", "3.25", "0.88", "62.5 %"]
    assert cells[7:14] == [*judged, "", "", "", ""], "an older release measured less"
