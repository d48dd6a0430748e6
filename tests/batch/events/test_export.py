"""Every event that the server took is in the files once, whatever happens to the exporter."""

import errno
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from app.contracts.events import Event, Streams, digest
from app.contracts.recommendations import Namespace
from batch.errors import BadSettings, DiskUnavailable, Locked, LostLock
from batch.events import columns
from batch.events import export as exporter
from batch.events import folder as folders
from batch.events.export import Events, Exported, alone, export
from batch.events.inputs import MARK
from batch.generations.connect import connect
from tests.batch.events.streams import event, rows, write
from tests.servers import Server

# Python 3.12 and later warn of a fork beside threads; these children only export and die.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

LONG_AGO = 1_750_000_000_000
DAY = 86_400_000
NO_EVENT: dict[Any, Any] = {
    "id": "x",
    "type": "click",
    "time": "1",
    "user": "u9",
    "item": "i",
    "value": "much",
}


@pytest.fixture
def keys(namespace: Namespace) -> Streams:
    return Streams(namespace.name)


def left(client: Any, keys: Streams) -> list[bytes]:
    return [stream_id for stream_id, _ in client.xrange(keys.events)]


def test_events_become_rows_of_their_day(client: Any, keys: Streams, tmp_path: Path) -> None:
    shown = Event("e9", "impression", 5, "", "s1", items=("a", "b'\"ü"), list="g/a", position=2)
    custom = event(2, kind="scroll", value=2.5, properties='{"a":1}')
    write(client, keys, [event(1), custom], LONG_AGO)
    write(client, keys, [shown], LONG_AGO + DAY)

    done = export(client, keys.name, tmp_path / "events")

    assert (done.events, done.rejects, done.files) == (3, 0, 2)
    names = "user, session, item, items, value, list, position, properties"
    assert rows(tmp_path / "events", f"stream_id, id, type, time, {names}") == [
        (f"{LONG_AGO}-0", "e1", "click", 1_700_000_001_000, "u1", "", "i1", [], 1, "", -1, ""),
        (f"{LONG_AGO + 1000}-0", "e2", "scroll", 1_700_000_002_000)
        + ("u1", "", "i1", [], 2.5, "", -1, '{"a":1}'),
        (f"{LONG_AGO + DAY}-0", "e9", "impression", 5)
        + ("", "s1", "", ["a", "b'\"ü"], 1, "g/a", 2, ""),
    ]
    assert sorted(path.name for path in (tmp_path / "events").iterdir()) == [
        MARK,
        "day=2025-06-15",
        "day=2025-06-16",
    ]
    assert left(client, keys) == []
    until = f"{LONG_AGO + DAY}-0"
    assert client.hget(keys.exported, "until").decode() == until == done.until
    assert export(client, keys.name, tmp_path / "events") == Exported(0, 0, 0, 0, until, 0)


def test_the_time_is_never_after_that_of_the_stream(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    for number, time in enumerate([10**30, -5, LONG_AGO - 1]):
        client.xadd(keys.events, Event(f"e{number}", "click", time, "u", item="i").encode())
    export(client, keys.name, tmp_path)
    first, second, third = rows(tmp_path, "time")
    assert LONG_AGO < first < 10**13 and (second, third) == (0, LONG_AGO - 1)


def test_the_last_minute_stays_for_those_who_still_read_it(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    write(client, keys, [event(number) for number in range(100)], LONG_AGO)
    export(client, keys.name, tmp_path, now=lambda: LONG_AGO / 1000 + 90)
    assert left(client, keys)[0] == f"{LONG_AGO + 30_000}-0".encode()
    write(client, keys, [event(100)])
    assert export(client, keys.name, tmp_path).events == 1
    assert rows(tmp_path) == [f"e{number}" for number in range(101)]
    assert len(left(client, keys)) == 1


def test_all_of_a_long_stream_is_trimmed(client: Any, keys: Streams, tmp_path: Path) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in range(25_000):
        pipeline.xadd(keys.events, event(number).encode(), id=f"{LONG_AGO + number}-0")
    pipeline.execute()
    assert export(client, keys.name, tmp_path).events == 25_000
    assert left(client, keys) == [] and len(set(rows(tmp_path))) == 25_000


def test_a_piece_is_bounded_by_its_bytes(
    client: Any, keys: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "PIECE_BYTES", 10)
    monkeypatch.setattr("batch.events.stream.AT_A_TIME", 2)
    write(client, keys, [event(number) for number in range(6)], LONG_AGO)
    assert export(client, keys.name, tmp_path).files == 3
    assert rows(tmp_path) == [f"e{number}" for number in range(6)]


def test_what_is_no_event_is_told_and_kept_and_never_met_again(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    client.xadd(keys.events, NO_EVENT)
    client.xadd(keys.events, {"clear": "1"})
    client.xadd(keys.events, {b"\xff": b"\xfe", b"id": b"1"})
    write(client, keys, [event(1)])
    client.xadd(keys.events, {**NO_EVENT, "items": "[1]"})
    done = export(client, keys.name, tmp_path)
    assert (done.events, done.rejects, rows(tmp_path)) == (1, 3, ["e1"])
    (kept,) = (tmp_path / "_rejects").iterdir()
    lines = kept.read_text().splitlines()
    assert len(lines) == 3 and '"reason": ' in lines[0] and "much" in lines[0]
    assert export(client, keys.name, tmp_path).rejects == 0

    client.xadd(keys.events, NO_EVENT)  # alone, it has a file without rows, which ends the loop
    assert export(client, keys.name, tmp_path).rejects == 1
    assert export(client, keys.name, tmp_path).rejects == 0
    assert len(list((tmp_path / "_rejects").iterdir())) == 2


def test_notes_to_the_api_make_no_file_and_go_when_they_were_read(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    client.xadd(keys.events, {"clear": "1"}, id=f"{LONG_AGO}-0")
    fresh = client.xadd(keys.events, {"clear": "1"})
    assert export(client, keys.name, tmp_path).files == 0
    assert rows(tmp_path) == [] and not [*tmp_path.glob("day=*")]
    assert [name for name, _ in client.xrange(keys.events)] == [fresh]
    write(client, keys, [event(1)])
    assert export(client, keys.name, tmp_path).files == 1


class Killed:
    """Kills its process before the step of that number: a write, a rename, a command."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                self.steps -= 1
                if self.steps == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return work(*given, **named)

        return step


def _export_until_killed(url: str, name: str, folder: Path, steps: int) -> None:
    killed = Killed(steps)
    with pytest.MonkeyPatch.context() as patch:
        for where, what in (
            ("os.replace", os.replace),
            ("os.fsync", os.fsync),
            ("redis.Redis.execute_command", redis.Redis.execute_command),
            ("batch.events.folder.copy", folders.copy),
        ):
            patch.setattr(where, killed.around(what))
        patch.setattr("batch.events.export.PIECE_BYTES", 10)
        patch.setattr("batch.events.stream.AT_A_TIME", 2)
        export(connect(url), name, folder)


def test_killed_before_any_step_it_loses_nothing_and_doubles_nothing(
    tmp_path: Path, namespace: Namespace
) -> None:
    folder, keys = tmp_path / "events", Streams(namespace.name)
    with Server(tmp_path / "server", appendonly="yes", appendfsync="always") as server:
        client = redis.Redis.from_url(server.url)
        expected: list[str] = []
        for steps in range(1, 200):
            if rows(folder) == expected:
                number, start = 2 * steps, LONG_AGO + steps * DAY
                write(client, keys, [event(number), event(number + 1)], start)
                client.xadd(keys.events, NO_EVENT, id=f"{start + 1500}-0")
                expected += [f"e{number}", f"e{number + 1}"]
            run = multiprocessing.get_context("fork").Process(
                target=_export_until_killed,
                args=(server.url, namespace.name, folder, steps),
                daemon=True,
            )
            run.start()
            run.join()
            client.delete(Events(namespace.name).lock)  # as if its lease had ended
            if run.exitcode == 0:
                break
            assert run.exitcode == -signal.SIGKILL
            if steps % 10 == 0:
                server.kill()
                server.start()
                client = redis.Redis.from_url(server.url)
        assert steps > 20, "there are fewer steps than there must be"
        export(client, namespace.name, folder)
        assert rows(folder) == expected and left(client, keys) == []
        assert not list(folder.rglob(".*"))
        client.close()


def test_two_exporters_at_once_do_not_meet(
    client: Any, keys: Streams, tmp_path: Path, server: Server
) -> None:
    write(client, keys, [event(1)])
    with alone(client, keys.name), pytest.raises(Locked, match="is being exported by process"):
        export(client, keys.name, tmp_path)
    assert export(client, keys.name, tmp_path).events == 1


def test_an_exporter_that_lost_its_lock_writes_nothing(
    client: Any, keys: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client, keys, [event(1)], LONG_AGO)
    lay = columns.lay

    def slow(*given: Any) -> Any:
        client.set(Events(keys.name).lock, "another run")
        return lay(*given)

    monkeypatch.setattr(columns, "lay", slow)
    with pytest.raises(LostLock, match="another export took over"):
        export(client, keys.name, tmp_path)
    assert rows(tmp_path) == [] and len(left(client, keys)) == 1


def test_the_folder_of_another_namespace_is_refused(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    export(client, keys.name, tmp_path)
    with pytest.raises(BadSettings, match="holds the events of namespace"):
        export(client, "another", tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "orders.csv").write_text("user,item\n")
    with pytest.raises(BadSettings, match="is no folder of events"):
        export(client, keys.name, other)


def test_a_second_folder_has_to_take_over(client: Any, keys: Streams, tmp_path: Path) -> None:
    export(client, keys.name, tmp_path / "one")
    write(client, keys, [event(1)])
    with pytest.raises(BadSettings, match="--take-over"):
        export(client, keys.name, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    assert export(client, keys.name, tmp_path / "two", take_over=True).events == 1
    assert export(client, keys.name, tmp_path / "two").events == 0
    with pytest.raises(BadSettings, match="--take-over"):
        export(client, keys.name, tmp_path / "one")


def test_a_server_that_lost_its_data_is_read_from_the_start(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    write(client, keys, [event(1)], LONG_AGO + DAY)
    export(client, keys.name, tmp_path)
    client.delete(keys.events, keys.exported)
    write(client, keys, [event(2)], LONG_AGO)
    write(client, keys, [event(3)], LONG_AGO + 2 * DAY)
    assert export(client, keys.name, tmp_path).events == 2
    assert rows(tmp_path) == ["e2", "e1", "e3"] and left(client, keys) == []
    assert export(client, keys.name, tmp_path).events == 0


def test_a_stream_that_ends_before_the_files_do_keeps_its_entries(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    write(client, keys, [event(1)], LONG_AGO + DAY)
    export(client, keys.name, tmp_path / "old")
    client.delete(keys.events)
    write(client, keys, [event(2)], LONG_AGO)
    for is_known in (True, False):
        if not is_known:
            client.delete(keys.exported)
        with pytest.raises(BadSettings, match="before the files .* do, .*--take-over"):
            export(client, keys.name, tmp_path / "old")
        assert len(left(client, keys)) == 1
    assert export(client, keys.name, tmp_path / "new", take_over=True).events == 1
    assert rows(tmp_path / "new") == ["e2"]


def test_who_writes_a_file_does_not_rename_what_another_is_writing(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"

    def slowly(beside: Path) -> None:
        folders.write_text(beside, "one")
        folders.replace(file, lambda other: folders.write_text(other, "another"))
        assert file.read_text() == "another"

    folders.replace(file, slowly)
    assert file.read_text() == "one" and list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_told_as_such_and_loses_nothing(
    client: Any, keys: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client, keys, [event(1)], LONG_AGO)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    export(client, "other-" + keys.name, tmp_path / "other")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskUnavailable, match="stays in the stream"):
            export(client, keys.name, tmp_path / "events")
    assert len(left(client, keys)) == 1
    assert export(client, keys.name, tmp_path / "events").events == 1


def test_a_file_that_may_not_grow_is_no_lost_event(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    write(client, keys, [event(n, properties="x" * 4000) for n in range(50)], LONG_AGO)
    export_to = tmp_path / "events"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(Exception, match="cannot be written|disk is full"):
            export(client, keys.name, export_to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert export(client, keys.name, export_to).events == 50


def test_a_full_server_is_emptied(own_server: Server, tmp_path: Path) -> None:
    keys = Streams("full")
    with redis.Redis.from_url(own_server.url) as client:
        write(client, keys, [event(number) for number in range(2000)], LONG_AGO)
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            write(client, keys, [event(1)])
        assert export(client, "full", tmp_path).events == 2000
        assert client.xlen(keys.events) == 0


def test_users_who_were_deleted_go_from_old_files_and_into_no_new_one(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    write(client, keys, [event(1), event(2, user="gone"), event(3)], LONG_AGO)
    client.xadd(keys.events, {**NO_EVENT, "user": "gone"}, id=f"{LONG_AGO + 9000}-0")
    export(client, keys.name, tmp_path)
    write(client, keys, [event(4, user="gone"), event(5)], LONG_AGO + DAY)
    client.hset(keys.deleted, digest("gone"), left(client, keys)[-1])

    done = export(client, keys.name, tmp_path)

    assert (done.deleted, done.events, rows(tmp_path)) == (1, 1, ["e1", "e3", "e5"])
    assert not client.exists(keys.deleted)
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and b"gone" in path.read_bytes()
    ]
