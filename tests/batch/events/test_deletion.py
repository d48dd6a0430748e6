"""A deleted user leaves no trace: not on the servers, not in the files, not as a digest."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import redis

from app.contracts.clicks import Clicks
from app.contracts.events import Actor, Event, Streams, digest
from app.contracts.recommendations import Namespace, field
from app.events import deletion as api
from app.events.deletion import Forgotten
from batch.errors import BadSettings, Locked
from batch.events.deletion import done, wanted
from batch.events.export import delete_user, export
from batch.generations.lock import hold
from batch.generations.registry import Generations
from batch.recommendations.published.deletion import forget
from tests import servers
from tests.batch.events.streams import event, rows, write
from tests.clicks import publish_by_hand as publish_click_model
from tests.generations import publish_by_hand, read_back
from tests.servers import Server

LONG_AGO = 1_750_000_000_000
USER = "someone-who-wants-to-be-forgotten"  # its field is a digest
OTHERS = [f"u{n}" for n in range(300)]
ITEMS = [f"i{n}" for n in range(20)]


def everything(client: Any) -> bytes:
    """All keys and all values of a server."""
    readers = {
        b"string": lambda key: [client.get(key)],
        b"hash": lambda key: [each for pair in client.hgetall(key).items() for each in pair],
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": lambda key: [
            each for _, entry in client.xrange(key) for pair in entry.items() for each in pair
        ],
    }
    found: list[bytes] = []
    for key in client.scan_iter():
        found += [key, *readers[client.type(key)](key)]
    return b"\n".join(found)


def traces(user: str) -> list[bytes]:
    plain = user.encode()
    hashes = hashlib.sha256(plain), hashlib.blake2b(plain, digest_size=16)
    return [plain, field(user), *(form for each in hashes for form in _forms(each.digest()))]


def _forms(value: bytes) -> list[bytes]:
    return [value, value.hex().encode()]


def assert_no_trace(client: Any, folder: Path, user: str) -> None:
    held = everything(client) + b"".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    )
    assert held and not [trace for trace in traces(user) if trace in held]


@pytest.mark.parametrize("user", [USER, "ü1"])
def test_the_command_deletes_a_user_and_leaves_no_trace(
    own_server: Server, tmp_path: Path, user: str
) -> None:
    namespace, keys, folder = Namespace("shop"), Streams("shop"), tmp_path / "events"
    with redis.Redis.from_url(own_server.url) as client:
        names = ["20260101T000000Z-0001", "20260102T000000Z-0002"]
        for name in names:
            publish_by_hand(client, namespace, name, [user, *OTHERS], ITEMS)
        old = [event(1, user), event(2, session="s0"), event(3, user, session="s0")]
        write(client, keys, old, LONG_AGO)
        client.xadd(keys.events, {"user": user, "type": "?"}, id=f"{LONG_AGO + 9000}-0")
        export(client, "shop", folder)
        write(client, keys, [event(4, user, session="s1"), event(5, item=user)])
        for actor in (Actor.user(user), Actor.session("s1")):
            client.zadd(keys.recent(actor), {"click:i1": 5})
        client.zadd(keys.lasting(Actor.session("s0")), {"hide:i1": 5})
        client.zadd(keys.recent(Actor.user("u1")), {"click:i1": 5})
        client.xdel(keys.events, client.xrevrange(keys.events, count=1)[0][0])  # an item of that id
        publish_click_model(client, Clicks("shop"), users={user: b'{"price":1}', "u1": b"{}"})
        assert user.encode() in everything(client)

        shown = servers.run(
            *("users", "delete", user, "--events", str(folder), "--json"),
            *("--cache-url", own_server.url, "--namespace", "shop"),
        )

        assert shown.returncode == 0, shown.stderr
        counts = {"generations": 2, "models": 1, "events": 1, "recents": 3, "files": 1}
        assert json.loads(shown.stdout) == {"user": user, "deleted": counts, "pending": []}
        assert_no_trace(client, tmp_path, user)
        assert rows(folder) == ["e2"] and client.exists(keys.recent(Actor.user("u1")))
        assert client.xrevrange(keys.events, count=1)[0][1] == {b"clear": b"1"}

        generations = Generations(client, namespace)
        assert generations.roll_back().generation == names[0]
        found = read_back(client, namespace, generations.all()[0], OTHERS, ITEMS)
        assert len(found.users) == len(OTHERS) and all(found.users.values())


def test_files_that_are_not_named_lose_the_user_at_the_next_export(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    keys = Streams(namespace.name)
    write(client, keys, [event(1, USER), event(2)], LONG_AGO)
    export(client, keys.name, tmp_path)
    write(client, keys, [event(3, USER)])
    done = delete_user(client, keys, USER, None)
    assert (done.events, done.files, done.pending) == (1, 0, True)
    assert list(client.hgetall(keys.deleted)) == [digest(USER).encode()]
    assert delete_user(client, keys, USER, None).events == 0
    assert export(client, keys.name, tmp_path).deleted == 1
    assert rows(tmp_path) == ["e2"] and not client.exists(keys.deleted)


def test_what_a_user_does_after_the_deletion_stays(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    keys = Streams(namespace.name)
    broken = {**event(1, USER).encode(), "value": "much"}
    write(client, keys, [event(1, USER), event(2)], LONG_AGO)
    client.xadd(keys.events, broken, id=f"{LONG_AGO + 5000}-0")
    export(client, keys.name, tmp_path)
    assert api.forget(client, keys, USER) == Forgotten(0, 0, True)
    client.xadd(keys.events, broken)
    write(client, keys, [event(3, USER)])
    assert export(client, keys.name, tmp_path).deleted == 1
    assert rows(tmp_path) == ["e2", "e3"]
    old, new = sorted((tmp_path / "_rejects").iterdir())
    assert not old.read_text() and USER in new.read_text()

    delete_user(client, keys, USER, None)
    write(client, keys, [event(4, USER)])
    delete_user(client, keys, "another", tmp_path)
    assert export(client, keys.name, tmp_path).deleted == 1
    assert rows(tmp_path) == ["e2", "e4"]


def test_who_is_deleted_again_while_an_export_runs_is_not_forgotten_to_be(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    keys = Streams(namespace.name)
    write(client, keys, [event(1, USER)], LONG_AGO)
    export(client, keys.name, tmp_path)
    delete_user(client, keys, USER, None)
    before = wanted(client, keys)
    write(client, keys, [event(2, USER)])
    delete_user(client, keys, USER, None)
    done(client, keys, before)
    assert list(wanted(client, keys)) == list(before)
    done(client, keys, wanted(client, keys))
    assert not client.exists(keys.deleted)


def test_sessions_that_only_the_files_know_are_forgotten_by_the_export(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    keys = Streams(namespace.name)
    write(client, keys, [event(1, USER, session="s1"), event(2, session="s2")], LONG_AGO)
    export(client, keys.name, tmp_path)
    mine, other = (keys.recent(Actor.session(name)) for name in ("s1", "s2"))
    for key in (mine, other):
        client.zadd(key, {"click:i1": 5})
    assert api.forget(client, keys, USER) == Forgotten(0, 0, True)
    export(client, keys.name, tmp_path)
    assert not client.exists(mine) and client.exists(other)
    assert [told for _, told in client.xrange(keys.events)] == [{b"clear": b"1"}]


def visits(numbers: range, *, session: str = "s1", user: str = "") -> list[Event]:
    return [event(number, user, session=session) for number in numbers]


@pytest.mark.parametrize("forget_in", ["the API", "the command", "the command, with files"])
def test_what_a_session_of_theirs_did_without_a_name_goes_too(
    client: Any, namespace: Namespace, tmp_path: Path, forget_in: str
) -> None:
    """In files, and in the stream before and after the visitor said who it is."""
    keys = Streams(namespace.name)
    others = [event(3, "u2", session="s1"), event(4, "", session="s2")]
    write(client, keys, [*visits(range(3)), *others], LONG_AGO)
    export(client, keys.name, tmp_path)
    write(client, keys, [*visits(range(5, 7)), event(7, USER, session="s1"), *visits(range(8, 9))])
    if forget_in == "the API":
        assert api.forget(client, keys, USER) == Forgotten(4, 0, True)
    else:
        done = delete_user(client, keys, USER, tmp_path if "files" in forget_in else None)
        assert (done.events, done.files) == (4, 1 if "files" in forget_in else 0)
    write(client, keys, visits(range(9, 10)))  # the next visitor at the same browser
    assert export(client, keys.name, tmp_path).deleted == ("files" not in forget_in)
    assert rows(tmp_path) == ["e3", "e4", "e9"] and not client.exists(keys.deleted)


def test_what_a_session_did_that_only_the_files_know_is_never_exported(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    keys = Streams(namespace.name)
    write(client, keys, [event(1, USER, session="s1"), event(2)], LONG_AGO)
    export(client, keys.name, tmp_path)
    write(client, keys, [event(3, "", session="s1")])
    assert api.forget(client, keys, USER) == Forgotten(0, 0, True)
    for _ in range(2):
        done = export(client, keys.name, tmp_path)
        assert (done.events, done.files, rows(tmp_path)) == (0, 0, ["e2"])
    assert client.xlen(keys.events) == 0


def test_another_folder_than_the_one_that_is_exported_into_leaves_it_to_be_done(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    keys = Streams(namespace.name)
    write(client, keys, [event(1, USER)], LONG_AGO)
    export(client, keys.name, tmp_path / "old")
    export(client, keys.name, tmp_path / "new", take_over=True)
    done = delete_user(client, keys, USER, tmp_path / "old")
    assert (done.files, done.pending) == (1, True)
    assert export(client, keys.name, tmp_path / "new").deleted == 1
    with pytest.raises(BadSettings, match="is no folder of events"):
        delete_user(client, keys, USER, tmp_path / "none")


def test_where_nothing_was_ever_exported_nothing_is_left_to_do(
    client: Any, namespace: Namespace
) -> None:
    keys = Streams(namespace.name)
    write(client, keys, [event(1, USER)])
    assert not delete_user(client, keys, USER, None).pending
    assert api.forget(client, keys, USER) == Forgotten(0, 0, False)
    assert not client.exists(keys.deleted)


def test_an_item_of_the_same_id_is_not_meant(client: Any, namespace: Namespace) -> None:
    keys = Streams(namespace.name)
    write(client, keys, [event(1, item=USER)])
    assert delete_user(client, keys, USER, None).events == 0


def test_nobody_is_deleted_beside_a_refresh(
    server: Server, client: Any, namespace: Namespace
) -> None:
    with hold(client, namespace):
        done = servers.run_here(
            *("users", "delete", "u1", "--cache-url", server.url, "--namespace", namespace.name)
        )
    assert done.returncode == Locked.exit_code and "is being refreshed by" in done.stderr


def test_a_deleted_user_is_missed_by_no_one_else(client: Any, namespace: Namespace) -> None:
    manifest = publish_by_hand(client, namespace, "20260101T000000Z-0001", OTHERS, ITEMS)
    before = read_back(client, namespace, manifest, OTHERS[1:], ITEMS)
    assert forget(client, namespace, OTHERS[0]) == 1
    assert forget(client, namespace, OTHERS[0]) == 0
    assert forget(client, namespace, "a stranger") == 0
    assert read_back(client, namespace, manifest, OTHERS[1:], ITEMS) == before
    assert not client.hexists(*manifest.user_place(namespace, OTHERS[0]))
