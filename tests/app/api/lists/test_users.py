"""``DELETE /users/<user>``: nothing of a user is left anywhere, and nothing of others is gone."""

from typing import Any

import pytest

from app.contracts.clicks import Clicks
from app.contracts.events import Actor, Streams
from app.contracts.keys import Key, digest, id_of, keys_key, new_key
from app.contracts.recommendations import Namespace, field
from batch.command.cli import cli
from tests.app.api.test_api import problem
from tests.app.http.test_metrics import wait_until_each
from tests.app.served import answering, following
from tests.app.wire import get
from tests.clicks import publish_by_hand as publish_model
from tests.generations import keys_of, publish_by_hand
from tests.servers import Api, Cluster, Server, wait_until

GENERATIONS = ["20260101T000000Z-0001", "20260101T000001Z-0002"]
NAME = "20260101T000000.000Z-0001"
OTHERS = ["mary.shelley", *(f"u{n}" for n in range(98))]


@pytest.mark.parametrize("user", ["mary", "mary.shelley@example.com"], ids=["short", "long"])
def test_no_trace_of_a_user_is_left(
    server: Server, client: Any, namespace: Namespace, user: str
) -> None:
    for name in GENERATIONS:
        manifest = publish_by_hand(
            client, namespace, name, users=[user, *OTHERS], similar_buckets=0
        )
    headers = {"X-API-Key": _key(client, namespace, "admin")}
    with following(server, namespace, auth="on") as here, following(server, namespace) as there:
        path = f"/recommendations/{user}"
        there.did("click", "i9", user, session="visit-1")
        there.did("click", "i4", "u1", session="visit-2")
        client.hset(Streams(namespace.name).exported, "folder", "f1")
        apis = [worker.app.test_client() for worker in (here, there)]
        assert [api.get(path, headers=headers).get_json()["source"] for api in apis] == [
            "personal",
            "personal",
        ]
        answer = apis[0].delete(f"/users/{user}", headers=headers)
        assert answer.get_json() == {
            "user": user,
            "deleted": {"generations": 2, "models": 0, "events": 1, "recents": 2},
            "pending": ["files", "sessions"],
        }
        there.tail.poll()
        assert [api.get(path, headers=headers).get_json()["source"] for api in apis] == [
            "popular",
            "popular",
        ]
        again = apis[0].delete(f"/users/{user}", headers=headers).get_json()
        assert again["deleted"] == {"generations": 0, "models": 0, "events": 0, "recents": 0}
        assert there.items("/recommendations/u1") == ["i3", "i5"]
    found = {key: str(_read(client, key)) for key in keys_of(client, namespace)}
    for trace in (f"'{user}'", f'"{user}"', str(field(user)), f":{user}", "visit-1"):
        assert [key for key, text in found.items() if trace in key + text] == []
    assert "visit-2" in found[Streams(namespace.name).events]
    for name in GENERATIONS:
        assert '"mary.shelley"' in found[namespace.sample(name)]
        buckets = [namespace.user_bucket(name, n) for n in range(manifest.user_buckets)]
        assert sum(map(client.hlen, buckets)) == len(OTHERS) + 1


def test_what_was_bought_or_hidden_is_forgotten_too(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    headers = {"X-API-Key": _key(client, namespace, "admin")}
    with following(server, namespace, auth="on") as here, following(server, namespace) as there:
        for type in ("click", "purchase", "hide"):
            there.did(type, "i9", "u1", session="s1")
        answer = here.app.test_client().delete("/users/u1", headers=headers).get_json()
        assert answer["deleted"] == {"generations": 1, "models": 0, "events": 3, "recents": 4}
    streams = Streams(namespace.name)
    for actor in (Actor.user("u1"), Actor.session("s1")):
        assert not client.exists(*streams.keys_of(actor))


def test_a_cluster_forgets_as_well(
    cluster: Cluster, cluster_client: Any, namespace: Namespace
) -> None:
    publish_by_hand(cluster_client, namespace)
    headers = {"X-API-Key": _key(cluster_client, namespace, "admin")}
    with following(cluster, namespace, auth="on") as worker:
        answer = worker.app.test_client().delete("/users/u1", headers=headers).get_json()
        assert answer["deleted"] == {"generations": 1, "models": 0, "events": 0, "recents": 0}


def test_without_keys_nobody_is_deleted(server: Server, client: Any, namespace: Namespace) -> None:
    publish_by_hand(client, namespace)
    with following(server, namespace) as worker:
        assert "LARDER_AUTH=on" in problem(worker.app.test_client().delete("/users/u1"), 403)
    headers = {"X-API-Key": _key(client, namespace, "admin")}
    with answering(server, namespace, auth="on") as app:
        answer = app.test_client().delete("/users/u1", headers=headers)
        assert "LARDER_EVENTS=true" in problem(answer, 403)


def test_a_key_that_may_read_deletes_nobody(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    headers = {"X-API-Key": _key(client, namespace, "read", "events")}
    with following(server, namespace, auth="on") as worker:
        assert worker.app.test_client().delete("/users/u1", headers=headers).status_code == 403


def test_a_user_is_deleted_wholly_or_has_to_be_deleted_again(
    server: Server, own_server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    headers = {"X-API-Key": _key(client, namespace, "admin")}
    with following(server, namespace, events_url=own_server.url, auth="on") as worker:
        own_server.kill()
        assert "again" in problem(
            worker.app.test_client().delete("/users/u1", headers=headers), 503
        )


def test_a_generation_of_another_release_keeps_nothing_else_from_being_deleted(
    server: Server, client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    publish_by_hand(client, namespace)
    space, later = Clicks(namespace.name), "20260101T000009Z-0009"
    model = publish_model(client, space, users={"u1": b'{"device":"desk"}'})
    client.delete(space.generations)
    client.hset(space.generations, mapping={later: '{"schema":2}', NAME: model.to_json()})
    headers = {"X-API-Key": _key(client, namespace, "admin")}
    with following(server, namespace, auth="on") as here, following(server, namespace) as there:
        asked = there.app.test_client()
        assert asked.get("/recommendations/u1").get_json()["source"] == "personal"
        answer = here.app.test_client().delete("/users/u1", headers=headers)
        assert "this version did not write" in problem(answer, 500)
        assert f"but for the generations {later}, whose manifests" in caplog.text
        assert not client.hexists(*model.user_place(space, "u1"))
        there.tail.poll()
        assert asked.get("/recommendations/u1").get_json()["source"] == "popular"


def test_workers_that_take_no_events_forget_whom_the_command_deleted(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with Api(server.url, namespace.name) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)  # or it freezes who loads
        first = get(api.url, "/recommendations/u1")
        held = {"If-None-Match": first.headers["ETag"]}

        def source() -> str:
            return str(get(api.url, "/recommendations/u1").json()["source"])

        wait_until_each(api, lambda: source() == "personal")  # and has the list near
        assert get(api.url, "/recommendations/u1", **held).status == 304
        where = ["--cache-url", server.url, "--namespace", namespace.name]
        cli.main(["users", "delete", "u1", *where], standalone_mode=False)
        wait_until_each(api, lambda: source() == "popular")
        wait_until_each(api, lambda: get(api.url, "/recommendations/u1", **held).status == 200)


def _key(client: Any, namespace: Namespace, *scopes: str) -> str:
    """Made before the API has looked for keys, or it looks for a key that it does not know."""
    key = new_key(lambda size: bytes([7]) * size)
    client.hset(keys_key(namespace.name), id_of(key), Key(digest(key), scopes).encode())
    return key


def _read(client: Any, key: str) -> Any:
    """All that a key holds, whatever kind of value that is."""
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"stream": client.xrange,
        b"set": client.smembers,
        b"zset": lambda name: client.zrange(name, 0, -1),
    }
    return readers[client.type(key)](key)
