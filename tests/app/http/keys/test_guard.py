"""Who gets in: which key a request brings, what it may do, what the application then finds."""

import base64
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
import redis
from werkzeug.test import Client, TestResponse

from app.contracts.keys import MARK, Key, digest, id_of, keys_key, new_key
from app.contracts.recommendations import Namespace
from app.http.keys.guard import Guard
from app.http.keys.known import KnownKeys
from app.http.keys.limits import Limits
from app.recommendations.watcher import Watcher
from app.settings import Settings
from tests.app.served import answering, watching
from tests.generations import publish_by_hand
from tests.servers import Server

Made = Callable[..., str]
LIMIT = 1024
CHUNKED = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}


@pytest.fixture
def made(client: Any, namespace: Namespace) -> Made:
    """Makes keys; each has other bytes."""

    def make(*scopes: str, **more: Any) -> str:
        number = client.hlen(keys_key(namespace.name)) + 1
        key = new_key(lambda size: bytes([number] * size))
        record = Key(digest(key), scopes, **more).encode()
        client.hset(keys_key(namespace.name), id_of(key), record)
        return key

    return make


@pytest.fixture
def watcher(server: Server, namespace: Namespace) -> Iterator[Watcher]:
    with watching(server, namespace) as watching_it:
        yield watching_it


def echo(environ: Any, start_response: Any) -> list[bytes]:
    """Answers with the body that it got."""
    if "wsgi.input_terminated" in environ:
        body = environ["wsgi.input"].read()
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [])
    return [body]


def guarded(watcher: Watcher, limits: Limits | None = None) -> Client:
    known = KnownKeys(watcher.namespace.name)
    known.poll(watcher)
    return Client(Guard(echo, known, limits, LIMIT))


def refused(answer: TestResponse, status: int) -> str:
    """It is a problem of that status; returns its sentence."""
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.content_length == len(answer.data) and answer.json is not None
    assert answer.json["status"] == status
    assert answer.headers["Cache-Control"] == "no-store"
    return str(answer.json["detail"])


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def test_a_key_comes_in_three_headers_and_in_no_url(watcher: Watcher, made: Made) -> None:
    key = made("read")
    door = guarded(watcher)
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer  {key} "},
        {"Authorization": basic(key)},
        {"X-API-Key": key},
        {"X-API-Key": key, "Authorization": "Bearer of-the-proxy"},
    ):
        assert door.get("/recommendations/u1", headers=headers).status_code == 200, headers
    answer = door.get(f"/recommendations/u1?key={key}&api_key={key}")
    assert "send a key as Authorization: Bearer" in refused(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="larder"'


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": "Digest x"},
        {"X-API-Key": "é" * 59},
    ],
)
def test_what_is_no_key_lets_nobody_in(
    watcher: Watcher, made: Made, headers: dict[str, str]
) -> None:
    made("admin")
    detail = refused(guarded(watcher).get("/recommendations/u1", headers=headers), 401)
    assert detail.startswith(
        "what was sent is no key" if any(headers.values()) else "this needs a key"
    )


def test_a_wrong_secret_is_told_like_a_revoked_key(watcher: Watcher, made: Made) -> None:
    key = made("admin")
    door = guarded(watcher)
    for wrong in (key[:-1] + "x", new_key(lambda size: bytes([99] * size))):
        answer = door.get("/", headers={"X-API-Key": wrong})
        told = "nobody here knows this key: it is wrong, was revoked, or is of another namespace"
        assert refused(answer, 401) == told
        assert wrong not in answer.text


def test_a_key_that_has_expired_lets_nobody_in(watcher: Watcher, made: Made) -> None:
    past, ahead = made("read", expires=1), made("read", expires=32_503_680_000)
    door = guarded(watcher)
    detail = refused(door.get("/", headers={"X-API-Key": past}), 401)
    assert detail == "this key has expired: ask for another"
    assert door.get("/", headers={"X-API-Key": ahead}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/", "read"),
        ("GET", "/recommendations/u1", "read"),
        ("HEAD", "/recommendations/u1", "read"),
        ("POST", "/recommendations", "read"),
        ("GET", "/nowhere", "read"),
        ("GET", "/health/live/", "read"),
        ("POST", "/events", "events"),
        ("POST", "/v1/track", "events"),
        ("POST", "/v1/batch", "events"),
        ("DELETE", "/users/u1", "admin"),
        ("GET", "/recommendations/u1/why", "admin"),
        ("PUT", "/anything", "admin"),
    ],
)
def test_a_missing_scope_is_named(
    watcher: Watcher, made: Made, method: str, path: str, scope: str
) -> None:
    keys = {each: made(each) for each in ("read", "events", "admin")}
    door = guarded(watcher)
    for name, key in keys.items():
        answer = door.open(path, method=method, headers={"X-API-Key": key})
        if name in (scope, "admin"):
            assert answer.status_code == 200
        else:
            assert answer.status_code == 403
            assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]
            if method != "HEAD":
                assert repr(scope) in refused(answer, 403)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
        ("GET", "/larder.js"),
        ("OPTIONS", "/events"),
    ],
)
def test_these_need_no_key(watcher: Watcher, method: str, path: str) -> None:
    assert guarded(watcher).open(path, method=method).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_brings_its_key_and_stays_whole(watcher: Watcher, made: Made, chunked: bool) -> None:
    body = json.dumps({"events": [{"type": "click"}], "key": made("events")}).encode()
    sent: dict[str, Any] = {"environ_overrides": CHUNKED} if chunked else {}
    door = guarded(watcher)
    assert door.post("/events", input_stream=BytesIO(body), **sent).data == body
    refused(door.post("/recommendations", input_stream=BytesIO(body), **sent), 401)


def test_a_header_is_taken_before_the_body(watcher: Watcher, made: Made) -> None:
    key, body = made("events"), b'{"key":"x"}'
    answer = guarded(watcher).post("/events", data=body, headers={"Authorization": basic(key)})
    assert answer.data == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'"key"',
        b'["key"]',
        b'{"key":null}',
        b'{"key":["larder_"]}',
        b'{"a":{"key":"%s"}}',
        b'{"key":"%s"',
        b'{"key":"%s\xff"}',
        b'{"key":' + b"[" * 900,
    ],
)
def test_a_body_without_a_key_lets_nobody_in(watcher: Watcher, made: Made, body: bytes) -> None:
    body = body.replace(b"%s", made("events").encode())
    refused(guarded(watcher).post("/events", data=body), 401)


def test_a_body_is_parsed_only_for_a_known_key_that_does_not_come_first(
    watcher: Watcher, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, parsed, loads = made("events"), [], json.loads
    door = guarded(watcher)

    def counting(body: bytes) -> Any:
        parsed.append(body)
        return loads(body)

    monkeypatch.setattr(json, "loads", counting)
    first, last = b' { "key" : "%s" , "events":[]}', b'{"events":[],"key":"%s"}'
    for text, status in ((new_key(lambda size: bytes([99] * size)), 401), (known, 200)):
        for body in (first, last):
            sent = body.replace(b"%s", text.encode())
            assert door.post("/events", data=sent).status_code == status
    assert door.post("/events", data=b'{"key":"k","events":[]}').status_code == 401
    assert parsed == [last.replace(b"%s", known.encode())]


def test_a_key_that_comes_first_leaves_a_broken_body_to_the_application(
    watcher: Watcher, made: Made
) -> None:
    body = f'{{"key":"{made("events")}","events":[{{'.encode()
    assert guarded(watcher).post("/events", data=body).data == body


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_not_read_for_its_key(
    watcher: Watcher, made: Made, chunked: bool
) -> None:
    body = json.dumps({"key": made("events"), "x": "x" * LIMIT}).encode()
    stream = BytesIO(body)
    sent: dict[str, Any] = {"environ_overrides": CHUNKED} if chunked else {}
    refused(guarded(watcher).post("/events", input_stream=stream, **sent), 413)
    assert stream.tell() == (LIMIT + 1 if chunked else 0)


def test_who_comes_too_often_is_told_when_to_come_again(watcher: Watcher, made: Made) -> None:
    one, other, stranger = made("read"), made("read"), new_key(bytes)
    door = guarded(watcher, Limits(rate=1e-6, burst=2.0))
    for _ in range(5):
        refused(door.get("/", headers={"X-API-Key": stranger}), 401)
        refused(door.post("/events", headers={"X-API-Key": one}), 403)
    assert [door.get("/", headers={"X-API-Key": one}).status_code for _ in range(2)] == [200, 200]
    answer = door.get("/", headers={"X-API-Key": one})
    assert "may ask again in" in refused(answer, 429)
    assert int(answer.headers["Retry-After"]) > 900_000
    assert door.get("/", headers={"X-API-Key": other}).status_code == 200
    assert door.get("/health/live").status_code == 200


def test_a_revoked_key_lets_nobody_in_after_the_next_look(
    watcher: Watcher, made: Made, client: Any, namespace: Namespace
) -> None:
    key, kept = made("read"), made("read")
    known = KnownKeys(namespace.name)
    door = Client(Guard(echo, known, None, LIMIT))
    known.poll(watcher)
    client.hdel(keys_key(namespace.name), id_of(key))
    assert door.get("/", headers={"X-API-Key": key}).status_code == 200
    known.poll(watcher)
    refused(door.get("/", headers={"X-API-Key": key}), 401)
    assert door.get("/", headers={"X-API-Key": kept}).status_code == 200


def test_a_cache_that_lost_the_keys_has_revoked_none(
    watcher: Watcher, made: Made, client: Any, namespace: Namespace, caplog: Any
) -> None:
    key = made("read")
    known = KnownKeys(namespace.name)
    door = Client(Guard(echo, known, None, LIMIT))
    known.poll(watcher)
    client.delete(keys_key(namespace.name))
    for _ in range(2):
        known.poll(watcher)
    assert door.get("/", headers={"X-API-Key": key}).status_code == 200
    assert caplog.text.count("make them anew by 'larder key add'") == 1
    client.hset(keys_key(namespace.name), MARK, "")  # the last one was revoked
    known.poll(watcher)
    refused(door.get("/", headers={"X-API-Key": key}), 401)
    assert "a key is left out" not in caplog.text


def test_who_does_not_know_the_keys_is_not_ready(own_server: Server, namespace: Namespace) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, namespace)
        client.set(keys_key(namespace.name), "not a hash")
        with answering(own_server, namespace, auth="on") as app:
            answer = app.test_client().get("/health/ready")
            assert "knows no keys, yet" in refused(answer, 503)
        client.delete(keys_key(namespace.name))
        with answering(own_server, namespace, auth="on") as app:
            assert app.test_client().get("/health/ready").status_code == 200


def test_a_record_that_cannot_be_read_is_left_out_alone(
    watcher: Watcher, made: Made, client: Any, namespace: Namespace, caplog: Any
) -> None:
    key, broken = made("read"), made("read")
    client.hset(keys_key(namespace.name), id_of(broken), '{"sha256": "hush"}')
    client.hset(keys_key(namespace.name), b"\xff", b"x")
    door = guarded(watcher)
    assert door.get("/", headers={"X-API-Key": key}).status_code == 200
    refused(door.get("/", headers={"X-API-Key": broken}), 401)
    assert caplog.text.count("a key is left out") == 2 and "hush" not in caplog.text


def test_the_last_keys_hold_while_the_cache_is_away(
    own_server: Server, namespace: Namespace
) -> None:
    key = new_key(bytes)
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, namespace)
        client.hset(keys_key(namespace.name), id_of(key), Key(digest(key), ("read",)).encode())
    with watching(own_server, namespace) as watcher:
        known = KnownKeys(namespace.name)
        door = Client(Guard(echo, known, None, LIMIT))
        answer = door.get("/", headers={"X-API-Key": key})
        assert "nobody can be let in yet" in refused(answer, 503)
        assert answer.headers["Retry-After"] == "1"
        known.poll(watcher)
        own_server.kill()
        for _ in range(2):
            assert door.get("/", headers={"X-API-Key": key}).status_code == 200
            known.poll(watcher)
            watcher.poll()
        own_server.start()  # it has lost everything, and revoked nothing
        watcher.poll()
        known.poll(watcher)
        assert door.get("/", headers={"X-API-Key": key}).status_code == 200


def test_before_the_first_look_nobody_gets_in_but_probes(namespace: Namespace) -> None:
    away = Watcher(Settings(cache_url="redis://127.0.0.1:1/0", namespace=namespace.name))
    away.poll()
    door = guarded(away)
    detail = refused(door.get("/", headers={"X-API-Key": new_key(bytes)}), 503)
    assert detail.startswith("nobody can be let in yet: the cache does not answer")
    refused(door.get("/"), 401)
    assert door.get("/health/live").status_code == 200


def test_without_a_key_no_route_answers_but_the_probes(
    server: Server, client: Any, namespace: Namespace, made: Made
) -> None:
    """All routes of the application, so that a new one is not forgotten."""
    publish_by_hand(client, namespace)
    key = made("admin")
    with answering(server, namespace, auth="on", user_sample=True) as app:
        asked = app.test_client()
        found = set()
        for rule in app.url_map.iter_rules():
            path = rule.rule.replace("<id:user>", "u1").replace("<id:item>", "i1")
            for method in (rule.methods or set()) - {"OPTIONS"}:
                if asked.open(path, method=method).status_code != 401:
                    found.add(path)
                answer = asked.open(path, method=method, headers={"X-API-Key": key})
                assert answer.status_code != 401
        for_readers = {"/openapi.yaml", "/docs", "/docs/<name>", "/problems/<name>"}
        probes = {"/health/live", "/health/ready", "/metrics", "/ping"}
        assert found - {"/larder.js"} == probes | for_readers
