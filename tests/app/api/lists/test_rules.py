"""Who sets rules sees them on every worker at its next look, and finds the way back."""

import gc
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from app.contracts.keys import id_of
from app.contracts.recommendations import Namespace
from app.contracts.rules import KEPT_VERSIONS, Version, rules_key
from app.recommendations.rules import store
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.interactions.filters import FilterColumn, Packed
from tests.app.api.lists.test_users import _key as key_of
from tests.app.api.test_api import problem
from tests.app.served import Worker, answering, following
from tests.generations import live_contents, publish_by_hand
from tests.servers import Server, wait_until

U1 = "/recommendations/u1"
LISTS = [U1, "/recommendations/nobody", "/items/i0/similar"]
JSON = {"Content-Type": "application/json"}


def published(client: Any, namespace: Namespace) -> None:
    """Items i0-i9, of which the odd ones are of genre a and the others of b, for 0 to 9 apiece."""
    items = [f"i{n}" for n in range(10)]
    manifest, made = live_contents(namespace, [f"u{n}" for n in range(50)], items)
    columns = Packed.of(
        [
            FilterColumn("genre", "category", {f"i{n}": ["ba"[n % 2]] for n in range(10)}),
            FilterColumn("price", "number", {f"i{n}": float(n) for n in range(10)}),
        ],
        items,
    )
    manifest = replace(manifest, columns=[each.entry() for each in columns.columns])
    with hold(client, namespace) as lease:
        publish(client, namespace, manifest, replace(made, columns=columns), lease)


def put(worker: Worker, rules: Any, **headers: str) -> Any:
    """Put rules in force, and let the worker look."""
    answer = worker.app.test_client().put("/rules", json=rules, headers=headers)
    worker.watcher.poll()
    return answer


def items(worker: Worker, path: str) -> list[str]:
    told = worker.get(path)
    return [each["item"] for each in told.get("similar", told.get("recommendations"))]


def test_what_is_hidden_is_gone_from_every_list_of_every_worker_at_its_next_look(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with following(server, namespace) as here, following(server, namespace) as there:
        before = {path: items(here, path) for path in LISTS}
        assert before == {path: items(there, path) for path in LISTS}  # they are near from now on
        assert all("i2" in found for found in before.values())
        assert put(here, {"hide": ["i2"]}).status_code == 200
        for worker in (here, there):
            worker.watcher.poll()
            assert items(worker, U1) == ["i1", "i3", "i0"]  # filled by what is popular
            assert items(worker, LISTS[1]) == ["i0", "i1"]
            assert items(worker, LISTS[2]) == ["i1", "i3"]
            assert all(worker.get(path)["complete"] is False for path in LISTS[1:])
            assert "complete" not in worker.get(U1)
        put(there, {})
        here.watcher.poll()
        assert {path: items(here, path) for path in LISTS} == before


def test_a_worker_follows_by_itself(server: Server, client: Any, namespace: Namespace) -> None:
    publish_by_hand(client, namespace)
    often = following(server, namespace, watch_interval_ms=50)
    with following(server, namespace) as here, often as there:
        there.watcher.start()
        assert "i2" in items(there, U1)
        assert here.app.test_client().put("/rules", json={"hide": ["i2"]}).status_code == 200
        wait_until(lambda: "i2" not in items(there, U1))


def test_versions_are_told_kept_and_rolled_back(
    worker: Worker, client: Any, namespace: Namespace
) -> None:
    api = worker.app.test_client()
    nothing = {"version": 0, "at": "", "by": "", "note": "", "rules": {}, "ignored": []}
    assert worker.get("/rules") == nothing
    one = api.put("/rules?note=recalled", json={"hide": ["i2", "gone"]})
    assert one.headers["ETag"] == '"1"'
    told = one.get_json()
    assert (told["version"], told["by"], told["note"]) == (1, "the API", "recalled")
    assert told["ignored"] == ["hide: the generation does not hold item 'gone'"]
    assert worker.get("/rules") == told
    put(worker, {"pin": [{"item": "i9", "position": 1}]})
    assert items(worker, U1) == ["i9", "i1", "i2"]
    back = api.post("/rules/rollback", json={"version": 1})
    worker.watcher.poll()
    assert (back.get_json()["version"], items(worker, U1)[0]) == (3, "i1")
    assert back.get_json()["note"] == "rolled back to version 1"
    versions = worker.get("/rules/history")["versions"]
    assert [each["version"] for each in versions] == [3, 2, 1]
    assert worker.get("/rules?version=2")["rules"]["pin"]
    assert api.post("/rules/rollback", json={"version": 0}).get_json()["rules"] == {}
    for path in ("/rules?version=9", "/rules?version=5"):
        assert "not kept" in problem(api.get(path), 404)
    assert "not kept" in problem(api.post("/rules/rollback", json={"version": 9}), 404)
    for number in range(5, KEPT_VERSIONS + 3):
        version = Version(number, "", "", "", {})
        assert store.write(client, rules_key(namespace.name), version)
    assert client.hget(rules_key(namespace.name), "2") == b""
    assert "not kept" in problem(api.get("/rules?version=2"), 404)
    assert len(worker.get("/rules/history")["versions"]) == KEPT_VERSIONS


def test_of_two_writers_one_is_told(worker: Worker, client: Any, namespace: Namespace) -> None:
    assert put(worker, {"hide": ["i1"]}, **{"If-Match": '"0"'}).status_code == 200
    late = put(worker, {"hide": ["i2"]}, **{"If-Match": '"0"'})
    assert "version 1 is in force" in problem(late, 412)
    assert put(worker, {"hide": ["i2"]}, **{"If-Match": "*"}).status_code == 200

    def write(number: int) -> int:
        return int(put(worker, {"hide": [f"i{number}"]}).status_code)

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(write, range(12)))
    assert set(codes) <= {200, 409}
    assert client.hlen(rules_key(namespace.name)) == 2 + codes.count(200)


NESTED = b'{"hide":' + b"[" * 50_000 + b"]" * 50_000 + b"}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "a JSON object"),
        (b"[]", "is an object with hide, pin"),
        (b"null", "is an object with hide, pin"),
        (NESTED, ""),
        (b'{"pin":' + b"[" * 300 + b"]" * 300 + b"}", "pin"),
        (b'{"hide":["\\ud800"]}', "lone surrogate"),
        (b'{"hide":[1]}', "hide: expected the id of an item"),
        (b'{"diversity":NaN}', "diversity"),
        (b'{"boost":[{"filter":"genre:a","factor":Infinity}]}', "factor is from 0.1 to 10"),
        (b'{"boost":[{"filter":"colour:a","factor":2}]}', "genre (category), price (number)"),
        (b'{"cap":{"column":"price","most":2}}', "'price' is no column of categories"),
        (b'{"defaults":{"filter":"price:cheap"}}', "price takes a value or a range"),
    ],
)
def test_rules_that_nobody_can_mean_are_refused(
    server: Server, client: Any, namespace: Namespace, body: bytes, told: str
) -> None:
    published(client, namespace)
    with answering(server, namespace) as app:
        api = app.test_client()
        assert told in problem(api.put("/rules", data=body, headers=JSON), 400)
        assert told in problem(api.post("/rules/check", data=body, headers=JSON), 400)
        assert not client.exists(rules_key(namespace.name))


def test_what_is_no_rules_at_all_is_refused(app: Flask, client: Any, namespace: Namespace) -> None:
    huge = app.test_client().put("/rules", data=b" " * 600_000, headers=JSON)
    assert huge.status_code == 413
    assert app.test_client().put("/rules", data=b"{}").status_code == 415
    for asked in (b"[]", b"{}", b'{"version":true}', b'{"version":-1}', b"{", b'{"v":1}'):
        answer = app.test_client().post("/rules/rollback", data=asked, headers=JSON)
        assert answer.status_code == 400
    assert not client.exists(rules_key(namespace.name))


def test_while_the_cache_is_away_the_last_rules_hold_and_none_can_be_set(
    own_server: Server, namespace: Namespace
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, namespace)
    with following(own_server, namespace) as worker:
        put(worker, {"hide": ["i2"]})
        assert items(worker, U1) == ["i1", "i3", "i0"]
        own_server.kill()
        worker.watcher.poll()
        assert items(worker, U1) == ["i1", "i3", "i0"]
        api = worker.app.test_client()
        assert problem(api.put("/rules", json={}), 503)
        assert problem(api.get("/rules"), 503) and problem(api.get("/rules/history"), 503)
        own_server.start()
        with redis.Redis.from_url(own_server.url) as client:
            publish_by_hand(client, namespace)
        worker.watcher.poll()  # the hash was lost with the server
        assert items(worker, "/recommendations/u2") == ["i3", "i4", "i0"]
        put(worker, {"hide": ["i3"]})
        assert items(worker, "/recommendations/u2") == ["i2", "i4", "i0"]


def test_a_version_that_nobody_can_read_leaves_the_last_one_in_force(
    worker: Worker, client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    put(worker, {"hide": ["i2"]})
    client.hset(rules_key(namespace.name), "2", "{")
    worker.watcher.poll()
    assert items(worker, U1) == ["i1", "i3", "i0"]
    assert "the rules that were known last hold" in caplog.text


def test_a_dry_run_tells_whose_lists_change_and_keeps_nothing(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace, users=[f"u{n}" for n in range(10)])
    with following(server, namespace) as worker:
        rules = {"pin": [{"item": "i9", "position": 1}], "hide": ["i2", "gone"]}
        told = worker.app.test_client().post("/rules/check", json=rules).get_json()
        assert (told["users"], told["changed"], len(told["ignored"])) == (10, 9, 1)
        (example,) = [each for each in told["examples"] if each["user"] == "u1"]
        assert example == {
            "user": "u1",
            "entered": ["i9"],
            "left": ["i2"],
            "moved": [{"item": "i1", "from": 1, "to": 2}],
        }
        put(worker, rules)
        assert worker.app.test_client().post("/rules/check", json=rules).get_json()["changed"] == 0
        assert worker.get("/rules")["version"] == 1


def test_who_did_something_gets_the_same_from_a_worker_that_held_their_list_before_the_rules(
    server: Server, client: Any, namespace: Namespace
) -> None:
    published(client, namespace)
    rules = {"boost": [{"filter": "genre:a", "factor": 10}]}
    with following(server, namespace) as warm, following(server, namespace) as cold:
        for number in range(50):
            warm.did("click", f"i{number % 10}", f"u{number}")
        before = {f"u{n}": items(warm, f"/recommendations/u{n}") for n in range(50)}
        told = warm.app.test_client().post("/rules/check", json=rules).get_json()
        put(warm, rules)
        for look in (cold.watcher, cold.tail):
            look.poll()
        after = {}
        for user in before:
            here, there = (
                worker.app.test_client().get(f"/recommendations/{user}") for worker in (warm, cold)
            )
            assert (here.data, here.headers["ETag"]) == (there.data, there.headers["ETag"])
            after[user] = [each["item"] for each in here.get_json()["recommendations"]]
        assert told["changed"] == sum(before[user] != after[user] for user in before)
        assert any(each["entered"] for each in told["examples"])
        for each in told["examples"]:
            assert set(each["entered"]) == {*after[each["user"]]} - {*before[each["user"]]}


@pytest.mark.parametrize("path", ["/recommendations/newcomer", "/recommendations?session=s"])
def test_a_newcomers_list_is_boosted_out_of_as_many_as_a_users(
    server: Server, client: Any, namespace: Namespace, path: str
) -> None:
    published(client, namespace)
    with following(server, namespace) as worker:
        worker.did("click", "i7", "newcomer", session="s")
        generation = worker.watcher.live()
        assert generation.model
        best = generation.model.first({7: 1.0}, (7,), 6)
        assert items(worker, path) == [f"i{item}" for item, _ in best[:3]]
        last, score = best[5]
        put(worker, {"boost": [{"filter": f"price:{last}", "factor": 10}]})
        assert score > 0 and items(worker, path)[0] == f"i{last}"


def test_an_etag_changes_with_the_rules_and_the_filter(
    server: Server, client: Any, namespace: Namespace
) -> None:
    published(client, namespace)
    with answering(server, namespace) as app:
        found = app.extensions["larder"].watcher

        def tag(path: str) -> str:
            answer = app.test_client().get(path)
            again = app.test_client().get(path, headers={"If-None-Match": answer.headers["ETag"]})
            assert (answer.status_code, again.status_code) == (200, 304)
            return answer.headers["ETag"]

        tags = []
        for rules in ({}, {"hide": ["i2"]}, {"hide": ["i3"]}, {"hide": ["i2"]}):
            app.test_client().put("/rules", json=rules)
            found.poll()
            tags += [tag(U1), tag(f"{U1}?filter=genre:a"), tag(f"{U1}?filter=genre:b")]
        assert tags[3:6] == tags[9:] and len(set(tags)) == 9
        old = app.test_client().get(U1, headers={"If-None-Match": tags[6]})
        assert old.status_code == 200


class TestFilters:
    """Of a live generation with columns."""

    @pytest.fixture
    def worker(self, server: Server, client: Any, namespace: Namespace) -> Iterator[Worker]:
        published(client, namespace)
        with following(server, namespace) as found:
            yield found

    def ask(self, api: FlaskClient, path: str) -> list[str]:
        told = api.get(path).get_json()
        return [each["item"] for each in told.get("similar", told.get("recommendations"))]

    def test_every_way_of_asking_takes_a_filter(self, worker: Worker) -> None:
        api = worker.app.test_client()
        odd = {f"i{n}" for n in range(1, 10, 2)}
        paths = [U1, "/recommendations/nobody", "/items/i0/similar"]
        paths += ["/recommendations?session=s", "/recommendations?items=i1,i2"]
        for path in paths:
            mark = "&" if "?" in path else "?"
            found = self.ask(api, f"{path}{mark}filter=genre:a&filter=-price:3..5")
            assert set(found) <= odd - {"i3", "i5"} and found
            assert len(found) == (3 if "u1" in path or "nobody" in path else len(found))
        asked = [{"genre": "a", "-price": "3..5"}, ["genre:a", "-price:3..5"]]
        for each in asked:
            body = {"users": ["u1", "nobody"], "filter": each}
            answers = api.post("/recommendations", json=body).get_json()["answers"]
            assert [one["recommendations"] for one in answers] == [
                api.get(f"{path}?filter=genre:a&filter=-price:3..5").get_json()["recommendations"]
                for path in paths[:2]
            ]

    def test_the_texts_of_filters_are_not_kept(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        published(client, namespace)
        with answering(server, namespace) as app:
            api = app.test_client()

            def ask(number: int) -> None:
                texts = [f"{number}.{n}" + "x" * 500 for n in range(100)]
                body = {"users": ["u1"], "filter": {"genre": texts}}
                assert api.post("/recommendations", json=body).status_code == 200

            ask(0)
            tracemalloc.start()
            try:
                for number in range(1, 41):
                    ask(number)
                gc.collect()
                kept, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert kept < 500_000  # of the 2 MB that came

    def test_too_little_is_said(self, worker: Worker) -> None:
        told = worker.get(f"{U1}?filter=price:8..9")
        assert (len(told["recommendations"]), told["complete"]) == (2, False)
        assert "complete" not in worker.get(f"{U1}?filter=price:8..9&n=2")
        told = worker.get(f"{U1}?filter=price:100")
        assert (told["recommendations"], told["complete"]) == ([], False)
        worker.did("click", "i9", "u1")
        told = worker.get(f"{U1}?filter=price:8..9")
        assert [each["item"] for each in told["recommendations"]] == ["i8"]

    def test_names_of_the_rules_are_filters(self, worker: Worker) -> None:
        put(worker, {"filters": {"odd": "genre:a"}, "defaults": {"filter": "price:..7"}})
        named, plain = (worker.get(f"{U1}?filter={each}") for each in ("odd", "genre:a"))
        assert named == plain
        assert {each["item"] for each in named["recommendations"]} <= {"i1", "i3", "i5", "i7"}

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ("colour:red", "there are: genre (category), price (number)"),
            ("genre", "expected column:value, or a filter of the rules (there are: none)"),
            ("", "expected column:value"),
            ("price:nan", "price takes a value or a range"),
            ("price:9..1", "from low to high"),
            ("genre:" + ",".join(map(str, range(200))), "more than 100"),
            ("genre:%F0%9F%A6%84", None),
        ],
    )
    def test_what_nobody_can_mean_is_refused(
        self, server: Server, client: Any, namespace: Namespace, asked: str, told: str | None
    ) -> None:
        published(client, namespace)
        with answering(server, namespace) as app:
            answer = app.test_client().get(f"{U1}?filter={asked}")
            if told is None:
                assert answer.get_json()["recommendations"] == []
                return
            assert told in problem(answer, 400)
            body = {"users": ["u1"], "filter": asked}
            assert told in problem(app.test_client().post("/recommendations", json=body), 400)

    def test_what_is_no_filter_at_all_is_refused(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        published(client, namespace)
        with answering(server, namespace) as app:
            many = "&".join(["filter=genre:a"] * 17)
            assert "at most 16" in problem(app.test_client().get(f"{U1}?{many}"), 400)
            oddities: list[Any] = [7, {"genre": {}}, {"genre": []}, [[]], True, ["\ud800"]]
            for odd in oddities:
                sent = {"users": ["u1"], "filter": odd}
                problem(app.test_client().post("/recommendations", json=sent), 400)

    def test_without_numpy_filters_say_so_and_hiding_goes_on(
        self,
        server: Server,
        client: Any,
        namespace: Namespace,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        published(client, namespace)
        monkeypatch.setattr("app.recommendations.loading.can_lay_out", lambda: False)
        with following(server, namespace) as worker:
            answer = worker.app.test_client().get(f"{U1}?filter=genre:a")
            assert "filters need numpy" in problem(answer, 400)
            assert caplog.text.count("availability and filters need numpy here") == 1
            rules = {"hide": ["i1"], "diversity": 0.5, "cap": {"column": "genre", "most": 1}}
            rules |= {"defaults": {"filter": "price:..7"}}
            ignored = put(worker, rules).get_json()["ignored"]
            assert len(ignored) == 2 and "need numpy" in ignored[0] and "diversity" in ignored[1]
            assert items(worker, U1) == ["i2", "i3", "i4"]


@pytest.mark.parametrize(
    ("scope", "status"), [("read", 403), ("events", 403), ("rules", 200), ("admin", 200)]
)
def test_a_key_of_scope_rules_may_change_them(
    server: Server, client: Any, namespace: Namespace, scope: str, status: int
) -> None:
    publish_by_hand(client, namespace)
    key = {"X-API-Key": key_of(client, namespace, scope)}
    with answering(server, namespace, auth="on") as app:
        api = app.test_client()
        answers = [
            api.put("/rules", json={"hide": ["i1"]}, headers=key),
            api.get("/rules", headers=key),
            api.post("/rules/check", json={}, headers=key),
            api.post("/rules/rollback", json={"version": 0}, headers=key),
        ]
        assert [each.status_code for each in answers] == [status] * 4
        if status == 200:
            assert answers[0].get_json()["by"] == f"key {id_of(key['X-API-Key'])}"


def test_behind_a_proxy_nobody_changes_rules(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with answering(server, namespace, auth="proxy") as app:
        assert "larder rules set" in problem(app.test_client().put("/rules", json={}), 403)
        assert app.test_client().get("/rules").status_code == 200


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("localhost:8000", {}, 200),
        ("larder:8000", {}, 200),  # no browser says so
        ("localhost:8000", {"Origin": "http://localhost:8000"}, 200),
        ("localhost:8000", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("localhost:8000", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("rebound.example:8000", {"Origin": "http://rebound.example:8000"}, 403),
        ("rebound.example:8000", {"Sec-Fetch-Site": "same-origin"}, 403),
    ],
)
def test_no_page_of_another_site_changes_rules(
    app: Flask, client: Any, namespace: Namespace, host: str, headers: dict[str, str], status: int
) -> None:
    api, sent = app.test_client(), {"Host": host, **headers}
    assert api.put("/rules", json={}, headers=sent).status_code == status
    back = api.post("/rules/rollback", json={"version": 0}, headers=sent)
    assert back.status_code == status
    assert client.hlen(rules_key(namespace.name)) == (2 if status == 200 else 0)
