"""The trainer: every decision is learned once, whatever dies, is away, or changes meanwhile."""

import errno
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from app.contracts.decisions import (
    DAY_MS,
    MODEL,
    Configuration,
    Decisions,
    Manifest,
    Order,
    Policy,
    Ranked,
    Rewarded,
    Slot,
)
from app.contracts.events import Entry
from app.contracts.learning.policies import DEFAULT
from app.contracts.recommendations import Namespace
from batch.decisions import contents, logs, merged
from batch.decisions.desk import Desk
from batch.decisions.dsjson import line
from batch.decisions.learner import Learner
from batch.decisions.loop import log, mark, trainer, training
from batch.decisions.loop.log import Log
from batch.decisions.loop.training import REJECTS
from batch.decisions.terms import Joined
from batch.errors import BadSettings, DiskUnavailable, Locked, LostLock
from batch.generations.lock import Unbroken, hold
from batch.generations.registry import Generations
from tests.batch.decisions.logged import START, context, entries, entry, ranked, taste, write
from tests.batch.decisions.rows import joined
from tests.servers import PATIENCE_SECONDS, Server, wait_until

SETTINGS = Configuration(wait_ms=2000, export_ms=1, retention_days=-1, retrain_days=100_000)
PIECE = 120
"""Entries that the trainers of tests read at a time; they publish after each piece."""


def _read_in_pieces(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log, "AT_A_TIME", PIECE)
    patch.setattr(trainer, "AT_A_TIME", PIECE)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    _read_in_pieces(monkeypatch)
    monkeypatch.setattr(trainer, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(trainer, "_AGAIN_SECONDS", 0.1)


@pytest.fixture
def space(namespace: Namespace, client: Any) -> Decisions:
    made = Decisions(namespace.name)
    configure(client, made)
    return made


def configure(client: Any, space: Decisions, **changed: Any) -> None:
    client.hset(space.desk, "configuration", replace(SETTINGS, **changed).to_json())


def want(client: Any, space: Decisions, order: Order, **changed: Any) -> None:
    """Change something at the desk, and order what belongs to it."""
    configure(client, space, **changed)
    client.rpush(space.orders, order.to_json())


def live(client: Any, space: Decisions) -> Manifest:
    found = Generations(client, space).live_manifest()
    assert found is not None
    return found


def model(client: Any, space: Decisions) -> bytes:
    found: bytes = client.get(space.part(live(client, space).generation, MODEL))
    return found


@contextmanager
def training_of(
    client: Any, space: Decisions, folder: Path | None = None
) -> Iterator[trainer.Trainer]:
    with hold(client, space, kind=Unbroken) as lease:
        yield trainer.Trainer(client, Log(client, space), space, folder, 3, lease)


def once(client: Any, space: Decisions, folder: Path | None = None) -> Manifest:
    """Learn all there is in one go; returns what is live then."""
    trainer.once(client, Log(client, space), space, folder, keep=3)
    return live(client, space)


def drive(client: Any, space: Decisions, folder: Path) -> None:
    """Learn all there is, publishing after each piece."""
    with training_of(client, space, folder) as ours:
        more = True
        while more:
            more = ours.round()
            ours.publish_if_due()


def test_all_that_has_closed_is_learned_once(client: Any, space: Decisions, tmp_path: Path) -> None:
    log_of = taste(300)
    write(client, space, log_of)
    first = once(client, space, tmp_path)
    rows = [*logs.read(tmp_path)]
    assert first.events == sum(row.counts for row in rows) > 200
    assert first.position == log_of[-1][0].decode()
    assert 0 < client.xlen(space.log) < 100
    assert once(client, space, tmp_path) == first
    assert [*logs.read(tmp_path)] == rows
    learner = Learner.fresh(DEFAULT.arguments)
    for row in rows:
        if row.counts:
            learner.teach(line(row))
    assert learner.save() == model(client, space)


PLACES: list[tuple[Any, str, str]] = [
    (log.Log, "behind", "after"),
    (training.Training, "take", "after"),
    (logs, "append", "before"),
    (logs, "append", "after"),
    (contents.Contents, "write", "after"),
    (Generations, "commit", "before"),
    (Generations, "commit", "after"),
    (Generations, "prune", "before"),
    (mark, "note", "before"),
    (log.Log, "trim", "before"),
    (log.Log, "trim", "after"),
    (Desk, "done", "before"),
    (Desk, "done", "after"),
]
"""Where a trainer may die, and whether before or after what it calls there."""


class Undisturbed(NamedTuple):
    """What comes of a log when nobody dies."""

    model: bytes
    events: int
    rows: list[Joined]


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder, space = tmp_path_factory.mktemp("logs"), Decisions("undisturbed")
    with redis.Redis.from_url(server.url) as client, pytest.MonkeyPatch.context() as patch:
        _read_in_pieces(patch)
        write(client, space, taste(200))
        want(client, space, Order("retrain"))
        drive(client, space, folder)
        found = live(client, space)
        assert len(Generations(client, space).all()) == 3
        return Undisturbed(model(client, space), found.events, [*logs.read(folder)])


@pytest.mark.parametrize(
    "owner, name, when", PLACES, ids=[f"{when} {name}" for _, name, when in PLACES]
)
def test_a_trainer_that_is_killed_loses_and_doubles_nothing(
    server: Server,
    client: Any,
    space: Decisions,
    tmp_path: Path,
    undisturbed: Undisturbed,
    owner: Any,
    name: str,
    when: str,
) -> None:
    write(client, space, taste(200))
    want(client, space, Order("retrain"))
    with a_process(partial(_die, server.url, space, tmp_path, owner, name, when)) as process:
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == -signal.SIGKILL
    client.delete(space.lock)  # else it would end by itself
    drive(client, space, tmp_path)
    assert model(client, space) == undisturbed.model
    assert live(client, space).events == undisturbed.events
    assert [*logs.read(tmp_path)] == undisturbed.rows


@contextmanager
def a_process(work: Callable[[], None]) -> Iterator[ForkProcess]:
    """Run it in another process, which ends with the block."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _die(url: str, space: Decisions, folder: Path, owner: Any, name: str, when: str) -> None:
    """Train until the second call at that place, or the only one."""
    real, calls = getattr(owner, name), []

    def deadly(*given: Any, **more: Any) -> Any:
        calls.append(1)
        last = len(calls) == (1 if name == "done" else 2)
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*given, **more)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)
    drive(redis.Redis.from_url(url), space, folder)


def follow(url: str, space: Decisions, folder: Path, log_url: str = "") -> None:
    """What ``larder decisions train --follow`` does, in a process of its own."""
    trainer.LEASE_SECONDS = 1.0  # of this process alone
    client = redis.Redis.from_url(url, retry=None)
    server = redis.Redis.from_url(log_url or url, retry=None)
    trainer.follow(client, Log(server, space), space, folder, keep=3)


def test_a_second_trainer_waits_and_takes_over(
    server: Server, client: Any, space: Decisions, tmp_path: Path
) -> None:
    configure(client, space, wait_ms=1)
    known = Generations(client, space)
    work = partial(follow, server.url, space, tmp_path)
    with a_process(work) as one, a_process(work) as other:
        client.xadd(space.log, ranked("x").encode())
        wait_until(lambda: known.live() is not None and live(client, space).events == 1)
        wait_until(lambda: client.exists(space.lock) == 1)  # a slow machine may lose a lease
        holder = json.loads(client.get(space.lock))["pid"]
        next(each for each in (one, other) if each.pid == holder).kill()
        client.xadd(space.log, ranked("y").encode())
        wait_until(lambda: live(client, space).events == 2)
    assert [row.id for row in logs.read(tmp_path)] == ["x", "y"]


def test_a_log_that_is_away_is_waited_for(
    server: Server, client: Any, space: Decisions, tmp_path: Path
) -> None:
    configure(client, space, wait_ms=1)
    with Server(tmp_path, appendonly="yes", appendfsync="always") as away:
        with redis.Redis.from_url(away.url) as there, a_process(
            partial(follow, server.url, space, tmp_path / "logs", away.url)
        ):
            there.xadd(space.log, ranked("x").encode())
            wait_until(lambda: client.exists(space.live) == 1)
            away.kill()
            wait_until(lambda: client.exists(space.lock) == 0)
            away.start()
            there.xadd(space.log, ranked("y").encode())
            wait_until(lambda: live(client, space).events == 2)


def test_a_cache_that_lost_what_it_held_is_mended_by_the_logs(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    log_of = taste(300)
    write(client, space, log_of[:250])
    older, key = once(client, space, tmp_path), client.dump(space.generations)
    kept = space.part(older.generation, MODEL), model(client, space)
    write(client, space, log_of[250:])
    newest, learned = once(client, space, tmp_path), model(client, space)
    rows = [*logs.read(tmp_path)]
    client.restore(space.generations, 0, key, replace=True)
    client.mset({space.live: older.generation, kept[0]: kept[1]})
    assert once(client, space, tmp_path).events == newest.events > older.events
    assert model(client, space) == learned and [*logs.read(tmp_path)] == rows
    client.delete(space.live, space.generations)
    again = once(client, space, tmp_path)
    assert (again.events, again.position) == (newest.events, newest.position)
    assert model(client, space) == learned and [*logs.read(tmp_path)] == rows


def test_files_whose_entries_are_gone_stay_whatever_is_lost(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(client, space, taste(200))
    first = once(client, space, tmp_path)
    rows = [*logs.read(tmp_path)]
    client.delete(space.live, space.generations, space.log)
    (tmp_path / mark.MARK).unlink()
    assert once(client, space, tmp_path).position == first.position
    assert [*logs.read(tmp_path)] == rows


def test_a_folder_of_another_namespace_is_refused(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(client, space, taste(50))
    once(client, space, tmp_path)
    rows = [*logs.read(tmp_path)]
    with pytest.raises(BadSettings, match=f"of namespace '{space.name}', not of 'other'"):
        trainer.once(client, Log(client, space), Decisions("other"), tmp_path, 3)
    assert [*logs.read(tmp_path)] == rows and client.exists(Decisions("other").lock) == 0
    (tmp_path / mark.MARK).write_text("{}")
    with pytest.raises(BadSettings, match="cannot be read"):
        once(client, space, tmp_path)


@pytest.mark.parametrize("other", ["runs", "has gone"])
def test_a_trainer_that_slept_past_its_lease_writes_and_publishes_nothing(
    client: Any, space: Decisions, tmp_path: Path, other: str
) -> None:
    write(client, space, taste(200))
    with pytest.raises(LostLock), training_of(client, space, tmp_path) as sleeper:
        while sleeper.round():
            pass
        client.delete(space.lock)
        write(client, space, [entry(n, ranked(f"m{n}"), 60_000 + n) for n in (9998, 9999)])
        after = once(client, space, tmp_path)
        rows = [*logs.read(tmp_path)]
        if other == "runs":
            client.set(space.lock, "the other")
        sleeper.publish()
    client.delete(space.lock)
    assert once(client, space, tmp_path) == after and [*logs.read(tmp_path)] == rows


def test_a_model_of_each_hour_stays_and_what_was_rolled_back_from(
    client: Any, space: Decisions
) -> None:
    write(client, space, taste(50))
    made, known = once(client, space), Generations(client, space)
    names = [f"202611{1 + n // 24:02}T{n % 24:02}{m}00.000Z-beef" for n in range(30) for m in "25"]
    for name in names:
        state = "withdrawn" if name == names[-10] else "complete"
        known.begin(replace(made, generation=name, state=state))
    configure(client, space, exploration=0.5)
    newest = once(client, space)
    kept = {each.generation for each in known.all()}
    assert {*names[17::2], names[-10], newest.generation} <= kept
    assert not {*names[:14], *names[16:-10:2], *names[-8::2]} & kept


def test_a_rollback_in_the_last_moment_is_not_overtaken(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    log_of = taste(300)
    write(client, space, log_of[:300])
    once(client, space, tmp_path)
    write(client, space, log_of[300:])
    with pytest.raises(LostLock, match="somebody moved the pointer"):
        with training_of(client, space, tmp_path) as ours:
            while ours.round():
                ours.publish()
            Generations(client, space).roll_back()
            before = live(client, space)
            ours.publish()
    assert live(client, space) == before


def test_only_one_may_train(client: Any, space: Decisions) -> None:
    with hold(client, space), pytest.raises(Locked, match="is being trained by process"):
        once(client, space)


def test_a_rollback_holds_and_what_comes_is_learned_by_the_older_model(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    log_of = taste(300)
    write(client, space, log_of[:300])
    with training_of(client, space, tmp_path) as ours:
        while ours.round():
            ours.publish()
        ours.publish()
        before, bad = Generations(client, space).published()[-2:]
        assert ours.live == bad.generation
        Generations(client, space).roll_back()
        write(client, space, log_of[300:])
        assert not ours.publish_if_due() and live(client, space) == before
        assert ours.ours.position == bad.position and ours.ours.events == before.events
        while ours.round():
            pass
        ours.publish()
        learned = len([e for e in logs.read(tmp_path) if e.counts])
        late = [e for e in logs.read(tmp_path) if e.counts and e.position > bad.position]
        assert live(client, space).events == before.events + len(late) < learned
    assert once(client, space, tmp_path).events == before.events + len(late)


def test_orders_are_done_in_turn(client: Any, space: Decisions, tmp_path: Path) -> None:
    write(client, space, taste(200))
    first = once(client, space, tmp_path)
    learned = model(client, space)
    client.rpush(space.orders, "no order", Order("reset").to_json())
    reset = once(client, space, tmp_path)
    assert (reset.events, reset.position, client.llen(space.orders)) == (0, first.position, 0)
    assert model(client, space) == Learner.fresh(DEFAULT.arguments).save()
    want(client, space, Order("retrain"), retrain_days=0)
    assert once(client, space, tmp_path).events == 0
    want(client, space, Order("retrain", days=100_000), retrain_days=0)
    assert once(client, space, tmp_path).events == first.events
    assert model(client, space) == learned
    client.set(space.imported, Learner.fresh("--cb_explore_adf --squarecb -q ::").save())
    want(client, space, Order("import"))
    brought = once(client, space, tmp_path)
    assert (brought.policy, brought.events) == ("imported", 0)
    assert "--squarecb" in brought.arguments
    assert Desk(client, space).policy() == Policy("imported", brought.arguments)
    want(client, space, Order("delete_logs"))
    once(client, space, tmp_path)
    assert not [*logs.read(tmp_path)]


def test_another_policy_and_other_rules_learn_the_logs_anew(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(client, space, taste(200))
    first = once(client, space, tmp_path)
    assert json.loads(client.hget(space.desk, "previous") or b"null") is None
    client.hset(space.desk, "policy", Policy("mine", "--cb_explore_adf --epsilon 0.1").to_json())
    want(client, space, Order("retrain"), default_reward=-1.0, exploration=0.3)
    second = once(client, space, tmp_path)
    assert (second.policy, second.arguments) == ("mine", "--cb_explore_adf --epsilon 0.3")
    assert (second.events, second.position) == (first.events, first.position)
    assert second.settings["default_reward"] == -1
    expected = Learner.fresh(second.arguments)
    rows = [row for row in logs.read(tmp_path) if row.counts]
    for row in rows:
        expected.teach(line(row if row.observed else row._replace(rewards=(-1.0,))))
    assert any(not row.observed for row in rows)
    assert expected.save() == model(client, space)
    previous = json.loads(client.hget(space.desk, "previous"))
    assert previous["generation"] == first.generation
    assert previous["policy"] == {"name": first.policy, "arguments": first.arguments}


def test_what_was_brought_stays_when_the_logs_are_learned_anew(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    made = Learner.fresh("--cb_explore_adf --epsilon 0.2 -q ::")
    for number in range(50):
        made.teach(line(joined(number)))
    client.set(space.imported, made.save())
    want(client, space, Order("import"))
    brought, learned = once(client, space, tmp_path), model(client, space)
    want(client, space, Order("retrain"), default_reward=-1.0)
    after = once(client, space, tmp_path)
    assert after.generation != brought.generation and after.settings["default_reward"] == -1
    assert model(client, space) == learned
    write(client, space, entries((0, ranked("x")), (1, Rewarded("x", 1.0))))
    want(client, space, Order("retrain"))
    assert once(client, space, tmp_path).events == 1
    want(client, space, Order("retrain"))
    assert once(client, space, tmp_path).events == 1
    (row,) = logs.read(tmp_path)
    made.teach(line(row))
    assert model(client, space) == made.save()
    client.hdel(space.desk, "policy")
    want(client, space, Order("retrain"))
    assert once(client, space, tmp_path).policy == "default"
    assert model(client, space) != learned


def test_exploration_alone_is_published_without_learning_anew(
    client: Any, space: Decisions
) -> None:
    write(client, space, taste(100))
    first = once(client, space)
    configure(client, space, exploration=0.5)
    second = once(client, space)
    assert second.generation > first.generation and "--epsilon 0.5" in second.arguments
    assert (second.events, second.position) == (first.events, first.position)


def test_a_policy_that_vowpal_wabbit_refuses_changes_nothing(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    bad = Policy("bad", "--cb_explore_adf --no_such").to_json()
    write(client, space, taste(100))
    first = once(client, space, tmp_path)
    client.hset(space.desk, "policy", bad)
    want(client, space, Order("retrain"))
    assert once(client, space, tmp_path) == first
    told = json.loads(client.hget(space.desk, "trainer"))
    assert "Vowpal Wabbit refuses" in told["problem"] and client.llen(space.orders) == 0
    client.delete(space.live, space.generations)
    assert once(client, space, tmp_path).policy == "default"


@pytest.mark.parametrize("broken", [b"", b"garbage"])
def test_a_model_that_cannot_be_read_is_learned_anew(
    client: Any, space: Decisions, tmp_path: Path, broken: bytes
) -> None:
    write(client, space, taste(100))
    first = once(client, space, tmp_path)
    learned = model(client, space)
    client.set(space.part(first.generation, MODEL), broken)
    second = once(client, space, tmp_path)
    assert (second.events, second.position) == (first.events, first.position)
    assert second.generation > first.generation and model(client, space) == learned


def test_a_file_of_logs_that_is_broken_does_not_stop_the_trainer(
    client: Any, space: Decisions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(client, space, taste(100))
    first = once(client, space, tmp_path)
    (file,) = (tmp_path / "decisions").glob("*/*.parquet")
    file.write_bytes(b"no Parquet")
    want(client, space, Order("retrain"))
    assert once(client, space, tmp_path).events == first.events, "nothing is better than it"
    assert file.name in caplog.text and client.llen(space.orders) == 0


def test_what_cannot_be_learned_is_kept_aside(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    found: list[Entry] = [
        (f"{START}-0".encode(), {b"id": b"x", b"value": b"nan"}),
        entry(1, ranked("y", context=b'{"_multi":[{"\xc3\xa9":{"a":1}},{},{}]}')),
        entry(2, ranked("z")),
    ]
    write(client, space, found)
    assert once(client, space, tmp_path).events == 1
    (file,) = (tmp_path / REJECTS).iterdir()
    told = [json.loads(each) for each in file.read_text().splitlines()]
    assert [each["position"] for each in told] == [f"{START}-0", f"{START}-1"]
    assert "no finite number" in told[0]["why"] and "the name 'é'" in told[1]["why"]
    assert [row.id for row in logs.read(tmp_path)] == ["z"]


def test_decisions_of_slots_are_logged_though_the_policy_is_for_one(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    slots = Slot("top", (1, 2, 3), (0.8, 0.1, 0.1)), Slot("side", (2, 3), (0.9, 0.1), 2)
    made = Ranked("x", context(3, "top", "side"), slots)
    write(client, space, entries((0, made), (1, Rewarded("x", 1.0, "side")), (2, ranked("y"))))
    assert once(client, space, tmp_path).events == 1
    assert [row.rewards for row in logs.read(tmp_path)] == [(0.0, 1.0), (0.0,)]


def test_what_was_deleted_before_it_was_learned_is_told(
    client: Any, space: Decisions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log_of = taste(100)
    write(client, space, log_of[:150])
    first = once(client, space, tmp_path)
    client.xtrim(space.log, maxlen=0)
    write(client, space, log_of[170:])
    once(client, space, tmp_path)
    assert f"the log lacks {first.position}" in caplog.text
    assert f"{log_of[170][0].decode()} was deleted" in caplog.text


def test_a_clock_that_went_back_is_told_and_nothing_closes(
    client: Any, space: Decisions, caplog: pytest.LogCaptureFixture
) -> None:
    client.xadd(space.log, ranked("x").encode(), id="9999999999999-0")
    with training_of(client, space) as ours:
        ours.round()
        assert not ours.ours.position and "the log's clock is behind" in caplog.text


def test_a_full_disk_is_waited_for(
    client: Any, space: Decisions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(client, space, taste(100))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskUnavailable, match="No space left"):
            once(client, space, tmp_path)
        assert client.exists(space.live) == 0 and client.xlen(space.log) > 150
    assert once(client, space, tmp_path).events == len(
        [row for row in logs.read(tmp_path) if row.counts]
    )


def test_small_files_of_a_day_that_is_over_are_merged(
    client: Any,
    space: Decisions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def goes_on() -> list[Joined]:
        """A day passes, and as many hours as files have to rest."""
        for path in tmp_path.rglob("*.parquet"):
            os.utime(path, (0, 0))
        write(client, space, [entry(0, ranked("x"), next(days) * DAY_MS)])
        once(client, space, tmp_path)
        return [row for row in logs.read(tmp_path) if row.id != "x"]

    days = count(2)
    write(client, space, taste(200))
    drive(client, space, tmp_path)
    rows, small = [*logs.read(tmp_path)], len(logs.files(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(merged, "copy", full)
        assert goes_on() == rows
    assert "nothing is lost" in caplog.text and len(logs.files(tmp_path)) == small + 1 > 3
    for _ in range(8):
        assert goes_on() == rows
    assert len([*tmp_path.glob("decisions/day=2023-11-14/*")]) == 1
    assert len([*tmp_path.glob("late/day=2023-11-14/*")]) == 1
    assert not [*tmp_path.glob("_merged/**/*.parquet")]


def test_a_log_that_has_filled_the_cache_is_learned_and_trimmed(tmp_path: Path) -> None:
    space = Decisions("full")
    with Server(tmp_path, maxmemory="10mb", **{"maxmemory-policy": "noeviction"}) as server:
        with redis.Redis.from_url(server.url) as client:
            configure(client, space)
            write(client, space, taste(50))
            before = once(client, space, tmp_path)
            with pytest.raises(redis.OutOfMemoryError):
                for number in count():
                    made = ranked("x", context=context(3, user=os.urandom(20_000).hex()))
                    client.xadd(space.log, made.encode(), id=f"{START + 60_000 + number}-0")
            full = client.xlen(space.log)
            assert once(client, space, tmp_path).position > before.position
            assert client.xlen(space.log) == 1 and full > 100
            client.xadd(space.log, ranked("y").encode())


def test_what_would_keep_the_policy_busy_for_long_is_kept_aside(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    wide = {f"f{number}": 1 for number in range(2_000)}
    client.hset(space.desk, "policy", Policy("wide", "--cb_explore_adf --cubic :::").to_json())
    write(client, space, entries((0, ranked("x", context=context(3, **wide))), (1, ranked("y"))))
    assert once(client, space, tmp_path).events == 1
    (file,) = (tmp_path / REJECTS).iterdir()
    assert "too many features for the policy" in file.read_text()


def test_a_model_that_says_no_numbers_is_not_published(client: Any, space: Decisions) -> None:
    arguments = "--cb_explore_adf --squarecb -q :: --cubic :::"
    client.hset(space.desk, "policy", Policy("square", arguments).to_json())
    write(client, space, taste(50))
    good, learned = once(client, space), model(client, space)
    huge = context(3, age=1e20)
    bad = [(50_000 + n, ranked(f"bad{n}", context=huge)) for n in range(4)]
    write(client, space, entries(*bad))
    after = once(client, space)
    assert (after.events, model(client, space)) == (good.events, learned)
    assert after.position > good.position
    assert "had spoiled the model" in json.loads(client.hget(space.desk, "trainer"))["problem"]


def test_an_apprentice_is_measured(client: Any, space: Decisions) -> None:
    def said(number: int, imitated: bool, value: float) -> list[tuple[int, Any]]:
        name = f"e{number}"
        made = ranked(name, mode="Apprentice", imitated=imitated)
        return [(number * 10_000, made), (number * 10_000 + 1, Rewarded(name, value))]

    write(client, space, entries(*said(0, True, 1.0), *said(1, False, 0.5), *said(2, True, 0.25)))
    once(client, space)
    write(client, space, entries(*[(ms + 90_000, each) for ms, each in said(3, True, 4.0)]))
    once(client, space)
    told = json.loads(client.hget(space.desk, "apprentice"))
    assert told.pop("batch") == {
        "events": 1,
        "imitated": 1,
        "rewards": 4.0,
        "imitated_rewards": 4.0,
    }
    assert told == {
        "start": "2023-11-14T22:13:20.000+00:00",
        "last": "2023-11-14T22:15:20.000+00:00",
        "events": 4,
        "imitated": 3,
        "rewards": 5.75,
        "imitated_rewards": 5.25,
    }


def test_the_manifest_and_the_desk_tell_how_it_goes(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(client, space, taste(300))
    drive(client, space, tmp_path)
    manifest, told = live(client, space), json.loads(client.hget(space.desk, "trainer"))
    history = manifest.metrics["history"]
    assert sum(each["events"] for each in history) == manifest.events == told["learned"]
    assert history[-1]["events"] == manifest.measured("events")
    assert told["position"] == manifest.position and told["problem"] == ""
    span = json.loads(client.hget(space.desk, "logs"))
    assert span["from"].startswith("2023-11-14T22:13:20") and span["from"] < span["to"]
    assert len(Generations(client, space).published()) == 3
