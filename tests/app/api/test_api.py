"""Every endpoint and every error, in this process and over a real server."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from app.contracts.recommendations import Namespace, bucket_of, encode_document
from app.http.problems import KINDS
from app.settings import Settings
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.interactions.items import load_items
from tests.app.served import answering
from tests.generations import contents, publish_by_hand
from tests.servers import Server

GENERATION = "20260101T000000Z-0001"
ETAG = f'"{GENERATION}-1"'

ODD_IDS = [
    "01",
    "a:b",
    "a/b",
    "/a",
    "//a//b/",
    "a/",
    "a/similar",
    ".",
    "..",
    "../../health/live",
    "a/../b",
    " ",
    " a ",
    "a+b",
    "a%2Fb",
    "a?b=c&n=1",
    "a#b",
    "a;b",
    'say "hi"',
    "back\\slash",
    "line\nbreak",
    "ends in a line break\n",
    "\x00",
    "\x7f",
    "\u2028",
    "\ufffd",
    "Zoë",
    "日本",
    "🎬" * 4,
    "x" * 16,
    "x" * 17,
    "y" * 200,
    "é" * 512,
    "z" * 1024,
    "<script>alert(1)</script>",
    "{}",
    "%s%d",
]


@pytest.fixture
def odd(server: Server, client: Any, namespace: Namespace) -> Iterator[FlaskClient]:
    """An API whose users and items have odd ids."""
    publish_by_hand(client, namespace, users=ODD_IDS, items=ODD_IDS)
    with answering(server, namespace) as made:
        yield made.test_client()


def problem(answer: Any, status: int) -> str:
    """Check the one shape of all errors; returns the detail."""
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    body = json.loads(answer.data)
    assert list(body) == ["type", "title", "status", "detail"]
    assert (KINDS[body["type"]].status, KINDS[body["type"]].title) == (status, body["title"])
    assert body["status"] == status
    detail: str = body["detail"]
    assert detail
    return detail


class TestOneUser:
    def test_a_user_gets_the_list_made_for_them(self, api: FlaskClient) -> None:
        answer = api.get("/recommendations/u4")
        assert answer.status_code == 200
        assert answer.content_type == "application/json"
        assert answer.data == (
            b'{"user":"u4","generation":"20260101T000000Z-0001","source":"personal",'
            b'"recommendations":[{"item":"i4","title":"Title of 4","score":1},'
            b'{"item":"i5","title":"Title of 5","score":0.875},'
            b'{"item":"i6","title":"Title of 6","score":0.75}]}'
        )

    def test_a_stranger_gets_what_is_popular(self, api: FlaskClient) -> None:
        answer = api.get("/recommendations/nobody").get_json()
        assert answer["user"] == "nobody"
        assert answer["source"] == "popular"
        assert [each["item"] for each in answer["recommendations"]] == ["i0", "i1", "i2"]
        assert "degraded" not in answer

    def test_a_stranger_is_an_error_when_the_caller_wants_no_other_list(
        self, api: FlaskClient
    ) -> None:
        detail = problem(api.get("/recommendations/nobody?fallback=none"), 404)
        assert "'nobody'" in detail
        assert api.get("/recommendations/u1?fallback=none").get_json()["source"] == "personal"

    def test_popular_is_the_fallback_that_may_be_named(self, api: FlaskClient) -> None:
        named = api.get("/recommendations/nobody?fallback=popular")
        assert named.data == api.get("/recommendations/nobody").data

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_n_cuts_the_list(self, api: FlaskClient, n: int) -> None:
        whole = api.get("/recommendations/u1").get_json()["recommendations"]
        assert api.get(f"/recommendations/u1?n={n}").get_json()["recommendations"] == whole[:n]

    @pytest.mark.parametrize("path", ["/recommendations/u1", "/items/i1/similar"])
    @pytest.mark.parametrize(
        "n", ["0", "4", "-1", "1.0", "", "x", "%D9%A3", "%C2%B2", "+1", "1e0", "9" * 5000, "true"]
    )
    def test_another_n_is_refused_with_its_range(self, api: FlaskClient, path: str, n: str) -> None:
        detail = problem(api.get(f"{path}?n={n}"), 400)
        assert detail.startswith("n must be a whole number from 1 to 3, not ")
        assert len(detail) < 120

    @pytest.mark.parametrize("fallback", ["", "None", "random", "x" * 5000])
    def test_another_fallback_is_refused_with_its_choices(
        self, api: FlaskClient, fallback: str
    ) -> None:
        detail = problem(api.get(f"/recommendations/u1?fallback={fallback}"), 400)
        assert detail.startswith("fallback must be popular or none, not ")
        assert len(detail) < 120

    @pytest.mark.parametrize(
        ("path", "known"),
        [
            ("/recommendations/u1?limit=3", "n, fallback, filter, rank"),
            ("/recommendations/u1?n=1&N=2", "n, fallback, filter, rank"),
            ("/items/i1/similar?fallback=none", "n, filter"),
            ("/users/sample?limit=3", "n"),
        ],
    )
    def test_another_parameter_is_refused_and_the_known_ones_named(
        self, server: Server, client: Any, namespace: Namespace, path: str, known: str
    ) -> None:
        publish_by_hand(client, namespace)
        with answering(server, namespace, user_sample=True) as app:
            detail = problem(app.test_client().get(path), 400)
        assert re.fullmatch(f"unknown parameter '(limit|N|fallback)': it takes {known}", detail)

    @pytest.mark.parametrize("path", ["/recommendations/u1?n=2&n=3", "/items/i1/similar?n=2&n=2"])
    def test_a_parameter_that_is_given_twice_is_refused(self, api: FlaskClient, path: str) -> None:
        assert problem(api.get(path), 400) == "n is given more than once: give it once"

    @pytest.mark.parametrize("position", range(len(ODD_IDS)))
    def test_any_id_works_in_the_path(self, odd: FlaskClient, position: int) -> None:
        user = ODD_IDS[position]
        answer = odd.get("/recommendations/" + quote(user, safe="")).get_json()
        assert answer["user"] == user
        assert answer["source"] == "personal"
        listed = [ODD_IDS[(position + n) % len(ODD_IDS)] for n in range(3)]
        assert [each["item"] for each in answer["recommendations"]] == listed

    def test_an_id_may_be_1024_bytes_and_no_longer(self, api: FlaskClient) -> None:
        for longest in ("x" * 1024, "é" * 512):
            assert api.get("/recommendations/" + quote(longest)).status_code == 200
        for too_long in ("x" * 1025, "é" * 513):
            detail = problem(api.get("/recommendations/" + quote(too_long)), 400)
            assert detail.startswith("user must be at most 1024 bytes of UTF-8, not 102")

    @pytest.mark.parametrize("user", ["\xff", "M\xfcller"])
    def test_bytes_that_are_no_text_are_refused(self, api: FlaskClient, user: str) -> None:
        answer = api.get(environ_overrides={"PATH_INFO": f"/recommendations/{user}"})
        assert "user must be percent-encoded UTF-8" in problem(answer, 400)


class TestManyUsers:
    def test_lists_come_in_the_order_asked_for(self, api: FlaskClient) -> None:
        answer = api.post("/recommendations", json={"users": ["u2", "nobody", "u1"], "n": 1})
        assert answer.status_code == 200
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers
        assert answer.get_json() == {
            "generation": GENERATION,
            "answers": [
                _answer("u2", "personal", "i2", "Title of 2"),
                _answer("nobody", "popular", "i0", "Title of 0"),
                _answer("u1", "personal", "i1", "Title of 1"),
            ],
        }

    @pytest.mark.parametrize("fallback", ["popular", None])
    @pytest.mark.parametrize("n", [1, 3, None, "2"])
    def test_each_is_what_one_user_alone_would_get(
        self, api: FlaskClient, n: object, fallback: object
    ) -> None:
        users = [f"u{number}" for number in range(50)] + [f"stranger {n}" for n in range(50)]
        asked = {"users": users, "n": n, "fallback": fallback}
        answers = api.post("/recommendations", json=asked).get_json()["answers"]
        query = "" if n is None else f"?n={n}"
        alone = [api.get(f"/recommendations/{quote(user)}{query}").get_json() for user in users]
        assert answers == alone

    def test_odd_ids_are_answered_too(self, odd: FlaskClient) -> None:
        answers = odd.post("/recommendations", json={"users": ODD_IDS}).get_json()["answers"]
        assert [each["user"] for each in answers] == ODD_IDS
        assert {each["source"] for each in answers} == {"personal"}

    def test_one_user_may_be_asked_for_twice(self, api: FlaskClient) -> None:
        users = ["u1", "u1", "nobody", "u1", "nobody"]
        answers = api.post("/recommendations", json={"users": users}).get_json()["answers"]
        assert [each["user"] for each in answers] == users
        assert answers[0] == answers[1] == answers[3]

    def test_a_stranger_without_fallback_has_an_empty_list(self, api: FlaskClient) -> None:
        asked = {"users": ["nobody", "u1"], "fallback": "none"}
        nobody, known = api.post("/recommendations", json=asked).get_json()["answers"]
        assert nobody == {
            "user": "nobody",
            "generation": GENERATION,
            "source": "none",
            "recommendations": [],
        }
        assert known["source"] == "personal"

    def test_a_hundred_users_are_taken_and_one_more_is_not(self, api: FlaskClient) -> None:
        users = [f"u{number}" for number in range(101)]
        answer = api.post("/recommendations", json={"users": users[:100]})
        assert len(answer.get_json()["answers"]) == 100
        detail = problem(api.post("/recommendations", json={"users": users}), 400)
        assert detail == "users must be a list of 1 to 100 user ids"

    def test_a_number_that_is_meant_for_an_id_is_called_one(self, api: FlaskClient) -> None:
        detail = problem(api.post("/recommendations", json={"users": ["a", 7]}), 400)
        assert detail == "users must be text that is not empty, not the number 7"

    def test_an_answer_is_bounded_whatever_the_lists_are(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, items=[f"i{n}" for n in range(1000)], k=1000)
        users = [f"u{number}" for number in range(100)]
        with answering(server, namespace) as app:
            api = app.test_client()
            for asked in ({"users": users}, {"users": users, "n": 101}, {"users": users[:11]}):
                detail = problem(api.post("/recommendations", json=asked), 400)
                assert detail.startswith("users x n must be at most 10000, not 1")
            for asked in ({"users": users, "n": 100}, {"users": users[:10]}):
                answers = api.post("/recommendations", json=asked).get_json()["answers"]
                assert sum(len(each["recommendations"]) for each in answers) == 10_000

    def test_another_member_is_refused_and_the_known_ones_named(self, api: FlaskClient) -> None:
        answer = api.post("/recommendations", json={"users": ["u1"], "limit": 3})
        assert problem(answer, 400) == "unknown member 'limit': it takes users, n, fallback, filter"
        answer = api.post("/recommendations?n=1", json={"users": ["u1"]})
        assert problem(answer, 400) == "unknown parameter 'n': it takes none"

    def test_a_broken_record_spoils_the_answer_of_nobody_else(
        self,
        api: FlaskClient,
        client: Any,
        namespace: Namespace,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        broken = {"u1": b"secret!", "u2": b"\xff\xff\xff\x7f\x00<"}  # no record, and no item
        for user, record in broken.items():
            bucket = bucket_of(user.encode(), 2)
            assert client.hset(namespace.user_bucket(GENERATION, bucket), user, record) == 0
        users = ["u0", "u1", "u2", "nobody", "u3"]
        answers = api.post("/recommendations", json={"users": users}).get_json()["answers"]
        alone = [api.get(f"/recommendations/{user}").get_json() for user in ("u0", "nobody", "u3")]
        assert [answers[0], *answers[3:]] == alone
        for answer in answers[1:3]:
            assert answer["source"] == "popular"
            assert answer["degraded"] is True
            assert answer["recommendations"] == alone[1]["recommendations"]
        said = [each.getMessage() for each in caplog.records if each.name == "larder.api"]
        assert [line[:28] for line in said] == [
            f"broken record of user '{user}': " for user in broken
        ]

    @pytest.mark.parametrize("users", [None, [], "u1", {"u1": 1}, 1, True])
    def test_users_must_be_a_list(self, api: FlaskClient, users: object) -> None:
        detail = problem(api.post("/recommendations", json={"users": users}), 400)
        assert detail == "users must be a list of 1 to 100 user ids"

    @pytest.mark.parametrize("user", [1, None, "", ["u1"], {"id": "u1"}, 1.5, True])
    def test_a_user_must_be_text(self, api: FlaskClient, user: object) -> None:
        detail = problem(api.post("/recommendations", json={"users": ["u1", user]}), 400)
        assert detail.startswith("users must be text that is not empty, not ")

    def test_a_lone_surrogate_is_no_text(self, api: FlaskClient) -> None:
        answer = _post(api, rb'{"users":["\ud800"]}')
        assert "users holds a lone surrogate" in problem(answer, 400)

    def test_a_user_of_1025_bytes_is_refused(self, api: FlaskClient) -> None:
        detail = problem(api.post("/recommendations", json={"users": ["é" * 513]}), 400)
        assert detail == "users must be at most 1024 bytes of UTF-8, not 1026"

    @pytest.mark.parametrize("n", [0, 4, -1, 1.0, True, False, "", "x", [1], {}, 10**400])
    def test_another_n_is_refused_with_its_range(self, api: FlaskClient, n: object) -> None:
        detail = problem(api.post("/recommendations", json={"users": ["u1"], "n": n}), 400)
        assert detail.startswith("n must be a whole number from 1 to 3, not ")

    @pytest.mark.parametrize("fallback", ["", "None", 0, False, [], ["popular"], {}])
    def test_another_fallback_is_refused(self, api: FlaskClient, fallback: object) -> None:
        asked = {"users": ["u1"], "fallback": fallback}
        assert "fallback must be popular or none" in problem(
            api.post("/recommendations", json=asked), 400
        )

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"users=u1",
            b"\xff\xfe",
            b'{"users":["\xff"]}',
            b'{"users":["u1"]} x',
            b"[" * 60_000,
            b'{"a":' * 20_000,
            b'{"n":' + b"9" * 10_000 + b"}",
        ],
    )
    def test_what_is_no_json_is_refused(self, api: FlaskClient, body: bytes) -> None:
        detail = problem(_post(api, body), 400)
        assert detail.startswith("the body must be JSON: ")

    @pytest.mark.parametrize("body", [b"[]", b"null", b'"u1"', b"1", b"NaN"])
    def test_json_that_is_no_object_is_refused(self, api: FlaskClient, body: bytes) -> None:
        assert "the body must be a JSON object such as" in problem(_post(api, body), 400)

    @pytest.mark.parametrize(
        "kind", [None, "text/plain", "application/x-www-form-urlencoded", "text/json", "x"]
    )
    def test_another_content_type_is_refused(self, api: FlaskClient, kind: str | None) -> None:
        answer = api.post("/recommendations", data=b'{"users":["u1"]}', content_type=kind)
        assert "Content-Type: application/json" in problem(answer, 415)

    def test_a_content_type_may_have_a_charset(self, api: FlaskClient) -> None:
        kind = "application/json; charset=utf-8"
        answer = api.post("/recommendations", data=b'{"users":["u1"]}', content_type=kind)
        assert answer.status_code == 200

    def test_a_body_may_be_as_large_as_the_setting_and_no_larger(self, api: FlaskClient) -> None:
        body = b'{"users":["u1"]}'
        largest = Settings().max_body_bytes
        assert _post(api, body.ljust(largest)).status_code == 200
        problem(_post(api, body.ljust(largest + 1)), 413)


class TestSimilar:
    def test_an_item_gets_its_neighbours(self, api: FlaskClient) -> None:
        answer = api.get("/items/i8/similar?n=2")
        assert answer.status_code == 200
        assert answer.data == (
            b'{"item":"i8","generation":"20260101T000000Z-0001","similar":['
            b'{"item":"i9","title":"Title of 9","score":1},'
            b'{"item":"i0","title":"Title of 0","score":0.875}]}'
        )

    def test_an_item_of_whose_neighbours_nothing_is_known_gets_none(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace)
        client.hset(namespace.similar_bucket(GENERATION, 0), "i8", b"")
        with answering(server, namespace) as app:
            answer = app.test_client().get("/items/i8/similar")
        assert answer.status_code == 200
        assert answer.data == b'{"item":"i8","generation":"20260101T000000Z-0001","similar":[]}'

    @pytest.mark.parametrize("path", ["/items/i8/similar", "/items/nobody/similar"])
    def test_a_generation_without_similar_items_says_so(
        self, server: Server, client: Any, namespace: Namespace, path: str
    ) -> None:
        manifest, made = contents(namespace, ["u0"], ["i0", "i1"])
        without = replace(manifest, similar_buckets=0)
        with hold(client, namespace) as token:
            publish(client, namespace, without, made, token)
        with answering(server, namespace) as app:
            answer = app.test_client().get(path)
            assert (
                problem(answer, 404)
                == f"generation {GENERATION} was published without similar items"
            )
            assert app.test_client().get("/generation").get_json()["similar_buckets"] == 0
            assert app.test_client().get("/recommendations/u0").status_code == 200

    def test_an_unknown_item_is_not_found(self, api: FlaskClient) -> None:
        assert "'u1'" in problem(api.get("/items/u1/similar"), 404)

    @pytest.mark.parametrize("item", ODD_IDS)
    def test_any_id_works_in_the_path(self, odd: FlaskClient, item: str) -> None:
        answer = odd.get(f"/items/{quote(item, safe='')}/similar").get_json()
        assert answer["item"] == item
        assert len(answer["similar"]) == 3

    @pytest.mark.parametrize("item", ["\xff", "x" * 1025])
    def test_an_id_that_cannot_be_is_refused(self, api: FlaskClient, item: str) -> None:
        answer = api.get(environ_overrides={"PATH_INFO": f"/items/{item}/similar"})
        assert problem(answer, 400).startswith("item must be ")


class TestGeneration:
    def test_it_is_the_live_manifest(self, api: FlaskClient) -> None:
        answer = api.get("/generation")
        assert answer.status_code == 200
        assert answer.content_type == "application/json"
        body = answer.get_json()
        assert body["generation"] == GENERATION
        assert body["state"] == "complete"
        assert (body["users"], body["items"], body["k"], body["schema"]) == (100, 10, 3, 1)

    def test_health_says_live_and_ready(self, api: FlaskClient) -> None:
        assert api.get("/health/live").get_json() == {"status": "live"}
        assert api.get("/health/ready").get_json() == {
            "status": "ready",
            "generation": GENERATION,
            "degraded": False,
        }


class TestRoutes:
    def test_the_root_lists_every_route(self, app: Flask) -> None:
        answer = app.test_client().get("/")
        assert answer.status_code == 200
        routes = answer.get_json()["routes"]
        assert {"GET /", "GET /recommendations/<user>", "POST /recommendations"} < set(routes)
        assert len(routes) == len([*app.url_map.iter_rules()]) - 1, "GET /metrics is off"
        assert all(sentence.endswith(".") for sentence in routes.values())


def test_a_part_of_the_sample_is_spread_over_all_of_it(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with answering(server, namespace, user_sample=True) as app:
        users = [
            app.test_client().get(f"/users/sample?n={n}").get_json()["users"] for n in (1000, 3, 1)
        ]
    whole, three, one = users
    assert len(whole) == len(set(whole)) > 10
    third = len(whole) / 3
    assert [whole.index(user) for user in three] == [0, int(third), int(2 * third)]
    assert one == whole[:1]


class TestFreshness:
    PATHS = [
        "/recommendations/u1",
        "/recommendations/nobody",
        "/recommendations/u1?fallback=none",
        "/items/i1/similar",
        "/generation",
    ]

    @pytest.mark.parametrize("path", PATHS)
    def test_an_answer_carries_its_generation_as_etag(self, api: FlaskClient, path: str) -> None:
        answer = api.get(path)
        assert answer.headers["ETag"] == ETAG
        assert answer.headers["Cache-Control"] == "private, max-age=0, must-revalidate"

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("tags", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', f'"x",W/{ETAG}', "*"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_who_holds_the_answer_gets_304(
        self, api: FlaskClient, path: str, tags: str, method: str
    ) -> None:
        answer = api.open(path, method=method, headers={"If-None-Match": tags})
        assert answer.status_code == 304
        assert answer.data == b""
        assert answer.headers["ETag"] == ETAG
        assert answer.headers["Cache-Control"] == "private, max-age=0, must-revalidate"

    @pytest.mark.parametrize(
        "tags", ['"other"', 'W/"other"', "", ",", '"', "W/", GENERATION + "-1x"]
    )
    def test_who_holds_another_gets_the_answer(self, api: FlaskClient, tags: str) -> None:
        answer = api.get("/recommendations/u1", headers={"If-None-Match": tags})
        assert answer.status_code == 200
        assert answer.get_json()["source"] == "personal"

    @pytest.mark.parametrize("path", ["/recommendations/nobody?fallback=none", "/items/x/similar"])
    @pytest.mark.parametrize("tags", ["*", ETAG, f"W/{ETAG}"])
    def test_nothing_matches_an_answer_that_does_not_exist(
        self, api: FlaskClient, path: str, tags: str
    ) -> None:
        problem(api.get(path, headers={"If-None-Match": tags}), 404)

    def test_a_wrong_parameter_is_refused_whatever_the_caller_holds(self, api: FlaskClient) -> None:
        problem(api.get("/recommendations/u1?n=0", headers={"If-None-Match": ETAG}), 400)

    def test_a_post_is_answered_whatever_the_caller_holds(self, api: FlaskClient) -> None:
        for tags in (ETAG, "*"):
            answer = api.post(
                "/recommendations", json={"users": ["u1"]}, headers={"If-None-Match": tags}
            )
            assert answer.status_code == 200

    def test_clients_may_keep_answers_as_long_as_the_setting(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace)
        with answering(server, namespace, max_age_seconds=60) as app:
            answer = app.test_client().get("/recommendations/u1")
        assert answer.headers["Cache-Control"] == "private, max-age=60, must-revalidate"

    @pytest.mark.parametrize(
        "path", [*PATHS, "/health/live", "/health/ready", "/nowhere", "/recommendations/u1?n=0"]
    )
    def test_head_is_get_without_the_body(self, api: FlaskClient, path: str) -> None:
        got, head = api.get(path), api.head(path)
        assert head.data == b""
        assert head.status_code == got.status_code
        assert dict(head.headers) == dict(got.headers)


class TestLostBuckets:
    """A worker's generation may be pruned or evicted under it; see ``test_lookup``."""

    @pytest.fixture(autouse=True)
    def lost(self, api: FlaskClient, client: Any, namespace: Namespace) -> None:
        client.delete(namespace.user_bucket(GENERATION, bucket_of(b"u1", 2)))
        client.delete(namespace.similar_bucket(GENERATION, 0))

    def test_who_may_have_been_there_is_answered_as_degraded(self, api: FlaskClient) -> None:
        answer = api.get("/recommendations/u1")
        assert answer.get_json()["source"] == "popular"
        assert answer.get_json()["degraded"] is True
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers
        assert "nobody can tell" in problem(api.get("/recommendations/u1?fallback=none"), 503)
        problem(api.get("/items/i1/similar"), 503)

    def test_all_others_are_answered_as_always(self, api: FlaskClient) -> None:
        users = [f"u{n}" for n in range(100)]
        answers = api.post("/recommendations", json={"users": users}).get_json()["answers"]
        degraded = {answer["user"] for answer in answers if "degraded" in answer}
        gone = bucket_of(b"u1", 2)
        assert degraded == {user for user in users if bucket_of(user.encode(), 2) == gone}
        assert {answer["source"] for answer in answers if "degraded" not in answer} == {"personal"}


class TestProblems:
    @pytest.mark.parametrize(
        "path",
        [
            "/nowhere",
            "/recommendations/",
            "/items/",
            "/items/i1",
            "/items//similar",
            "//",
            "/health//live",
        ],
    )
    def test_another_path_is_not_found(self, api: FlaskClient, path: str) -> None:
        detail = problem(api.get(path), 404)
        assert detail == "nothing is at this path: GET / lists all that can be asked"

    def test_metrics_that_are_off_name_their_setting(self, api: FlaskClient) -> None:
        assert "set LARDER_METRICS=true" in problem(api.get("/metrics"), 404)

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("POST", "/recommendations/u1", {"GET", "HEAD", "OPTIONS"}),
            ("PUT", "/recommendations", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("DELETE", "/generation", {"GET", "HEAD", "OPTIONS"}),
            ("PATCH", "/items/i1/similar", {"GET", "HEAD", "OPTIONS"}),
            ("POST", "/health/ready", {"GET", "HEAD", "OPTIONS"}),
        ],
    )
    def test_another_method_is_refused_and_the_right_ones_named(
        self, api: FlaskClient, method: str, path: str, allowed: set[str]
    ) -> None:
        answer = api.open(path, method=method)
        problem(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) == allowed

    def test_a_broken_record_is_a_500_that_tells_nothing_of_the_bytes(
        self, api: FlaskClient, client: Any, namespace: Namespace
    ) -> None:
        for bucket in range(2):
            key = namespace.user_bucket(GENERATION, bucket)
            client.hset(key, mapping={user: b"secret!" for user in client.hkeys(key)})
        detail = problem(api.get("/recommendations/u1"), 500)
        assert detail == "the cache holds bytes that this version did not write"

    @pytest.mark.parametrize("item", [10, 255, 256, 2**32 - 1])
    def test_a_record_that_names_an_item_that_is_not_there_is_broken(
        self, api: FlaskClient, client: Any, namespace: Namespace, item: int
    ) -> None:
        key = namespace.similar_bucket(GENERATION, 0)
        client.hset(key, "i1", item.to_bytes(4, "little") + b"\x00<")
        detail = problem(api.get("/items/i1/similar"), 500)
        assert detail == "the cache holds bytes that this version did not write"

    def test_what_nobody_expected_is_a_500_without_its_text(self, app: Flask) -> None:
        def surprise() -> str:
            raise RuntimeError("secret")

        app.add_url_rule("/surprise", view_func=surprise)
        detail = problem(app.test_client().get("/surprise"), 500)
        assert "secret" not in detail

    def test_the_request_that_finds_the_cache_gone_is_answered_as_degraded(
        self, own_server: Server
    ) -> None:
        space = Namespace("shop")
        with redis.Redis.from_url(own_server.url) as client:
            publish_by_hand(client, space)
        with answering(own_server, space) as app:
            own_server.kill()
            answer = app.test_client().get("/recommendations/u1")
        assert answer.get_json()["degraded"] is True
        assert answer.get_json()["source"] == "popular"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers

    def test_nobody_is_called_a_stranger_when_the_cache_is_gone(self, own_server: Server) -> None:
        space = Namespace("shop")
        with redis.Redis.from_url(own_server.url) as client:
            publish_by_hand(client, space)
        with answering(own_server, space) as app:
            own_server.kill()
            answer = app.test_client().get("/recommendations/u1?fallback=none")
        assert "nobody can tell" in problem(answer, 503)

    def test_nothing_published_names_the_command_that_publishes(
        self, server: Server, namespace: Namespace
    ) -> None:
        with answering(server, namespace) as app:
            api = app.test_client()
            for path in (*TestFreshness.PATHS, "/health/ready"):
                answer = api.get(path)
                detail = problem(answer, 503)
                assert f"larder refresh <interactions> --namespace {namespace.name}" in detail
                assert answer.headers["Retry-After"] == "1"
            problem(api.post("/recommendations", json={"users": ["u1"]}), 503)
            assert api.get("/health/live").status_code == 200


def test_documents_with_odd_texts_are_answered_as_they_are(
    server: Server, client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    titles = ['say "hi"', "back\\slash", "Zoë 日本 🎬", "line\nbreak", "\u2028", "</script>", ""]
    rows = ["item,title,né"] + [f'{n},"{_doubled(title)}",é' for n, title in enumerate(titles)]
    (tmp_path / "items.csv").write_text("\n".join(rows) + "\n", newline="")
    texts = list(load_items(tmp_path / "items.csv").json_objects([str(n) for n in range(7)]))
    _publish_documents(client, namespace, texts)
    with answering(server, namespace) as app:
        answer = app.test_client().get("/recommendations/u0")
    listed = json.loads(answer.data.decode())["recommendations"]
    assert [each["title"] for each in listed] == titles
    assert {each["né"] for each in listed} == {"é"}


def _publish_documents(client: Any, namespace: Namespace, texts: list[str]) -> None:
    items = [str(number) for number in range(len(texts))]
    manifest, made = contents(namespace, ["u0"], items, k=len(items))
    documents = [encode_document(*each) for each in zip(items, texts, strict=True)]
    with hold(client, namespace) as token:
        publish(client, namespace, manifest, replace(made, documents=documents), token)


def _doubled(title: str) -> str:
    return title.replace('"', '""')


def _answer(user: str, source: str, item: str, title: str) -> dict[str, object]:
    return {
        "user": user,
        "generation": GENERATION,
        "source": source,
        "recommendations": [{"item": item, "title": title, "score": 1}],
    }


def _post(api: FlaskClient, body: bytes) -> Any:
    return api.post("/recommendations", data=body, content_type="application/json")
