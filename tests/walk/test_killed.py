"""Killed with -9 at any moment, a publish leaves the live generation alone and little to clean up.

The moments are counted in commands that the server has taken from the run, so that each test kills
at the same place every time; in the middle of a pipeline, the server has its first half only.
"""

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis

from app.contracts.clicks import Clicks
from app.contracts.generations import Space
from app.contracts.recommendations import Manifest, Namespace
from batch.clicks.contents import read_model
from batch.errors import Locked
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.generations.registry import Generations
from tests import clicks
from tests.generations import keys_of, live_contents, publish_by_hand, read_back
from tests.servers import Server, wait_until

# Python 3.12 and later warn of a fork beside threads; these children only publish and die.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

OLD, DEAD, NEXT = "20260101T000000Z-0001", "20260102T000000Z-0002", "20260103T000000Z-0003"
POINTS = 20
USERS = [f"u{n}" for n in range(20_000)]
ITEMS = [f"i{n}" for n in range(2_000)]


class Mortal(redis.Redis):
    """A client whose process is killed when the server has taken so many of its commands."""

    commands_left = 10**9
    pid = 0

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        answer = super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        self.spend(1)
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:
        return MortalPipeline(self)

    def spend(self, commands: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the renewal of the lock comes by the clock
        self.commands_left -= commands
        if self.commands_left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalPipeline(redis.client.Pipeline):
    """A pipeline that the server may get the first commands of only."""

    def __init__(self, client: Mortal) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, False, None)
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        del self.command_stack[self._client.commands_left :]
        sent = len(self.command_stack)
        answers = super().execute(raise_on_error)
        self._client.spend(sent)
        return answers


def work(url: str, namespace: Namespace, dies_after: int = 10**9) -> int:
    """Publish DEAD as a run does, until killed; returns how many commands it took.

    It is a live generation: that has every kind of part.
    """
    manifest, made = live_contents(namespace, USERS, ITEMS)
    client: Mortal
    with Mortal.from_url(url) as client:
        client.commands_left = dies_after
        with hold(client, namespace) as lease:
            publish(client, namespace, replace(manifest, generation=DEAD), made, lease)
            return dies_after - client.commands_left


def work_on_clicks(url: str, space: Clicks, dies_after: int = 10**9) -> int:
    """The same with a click model, up to the command that moves the pointer."""
    client: Mortal
    with Mortal.from_url(url) as client:
        client.commands_left = dies_after
        users = {name: b'{"device":"desk"}' for name in USERS[:300]}
        clicks.publish_by_hand(client, space, DEAD, users=users)
        return dies_after - client.commands_left - 1  # which ends the lock


def killed(
    url: str, namespace: Space[Any], dies_after: int, work: Callable[..., int] = work
) -> int:
    """Let a process publish and be killed; returns its id."""
    run = multiprocessing.get_context("fork").Process(
        target=work, args=(url, namespace, dies_after), daemon=True
    )
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    assert run.pid is not None
    return run.pid


def read(client: Any, namespace: Namespace, manifest: Manifest) -> Any:
    return read_back(client, namespace, manifest, USERS[:100], ITEMS[:10])


def assert_the_lock_names_the_dead_and_ends(client: Any, namespace: Space[Any], pid: int) -> None:
    with pytest.raises(Locked, match=f"process {pid} on .* [0-9]+ seconds") as refused:
        hold(client, namespace).__enter__()
    seconds = re.search(r"(\d+) seconds until its lock expires", str(refused.value))
    assert seconds is not None and 0 < int(seconds[1]) <= 30
    client.pexpire(namespace.lock, 1)  # as if those seconds had passed
    wait_until(lambda: not client.exists(namespace.lock))


def assert_only(client: Any, namespace: Space[Any], manifests: list[Any]) -> None:
    parts = {key for each in manifests for key in each.keys(namespace)}
    assert Generations(client, namespace).all() == manifests
    assert keys_of(client, namespace) == parts | {namespace.live, namespace.generations}


@pytest.fixture(scope="module")
def commands(server: Server) -> int:
    """How many commands a whole publish takes, up to the one that moves the pointer."""
    return work(server.url, Namespace("killed-not"))


@pytest.mark.parametrize("point", range(POINTS))
def test_killed_at_any_point_the_live_generation_is_untouched_and_the_next_run_cleans_up(
    server: Server, client: Any, namespace: Namespace, commands: int, point: int
) -> None:
    live = publish_by_hand(client, namespace, OLD)
    before = read(client, namespace, live)
    generations = Generations(client, namespace)
    assert commands > 500

    dies_after = int(np.linspace(1, commands - 1, POINTS)[point])
    pid = killed(server.url, namespace, dies_after)

    assert generations.live_manifest() == live
    assert read(client, namespace, live) == before
    assert_the_lock_names_the_dead_and_ends(client, namespace, pid)
    with hold(client, namespace):
        left = generations.prune(3)
    assert left == ([] if dies_after < 3 else [DEAD])  # the lock, a question, the first note
    assert_only(client, namespace, [live])
    newest = publish_by_hand(client, namespace, NEXT)
    assert_only(client, namespace, [live, newest])
    assert generations.live_manifest() == newest


def test_killed_right_after_the_pointer_moved_the_new_generation_is_whole(
    server: Server, client: Any, namespace: Namespace, commands: int
) -> None:
    old = publish_by_hand(client, namespace, OLD)
    pid = killed(server.url, namespace, commands)
    live = Generations(client, namespace).live_manifest()
    assert live is not None and (live.generation, live.state) == (DEAD, "complete")
    found = read_back(client, namespace, live, USERS, ITEMS)
    assert found.users["u19999"][0] == (19_999 % 2_000, 1.0)
    assert_the_lock_names_the_dead_and_ends(client, namespace, pid)
    assert_only(client, namespace, [old, live])


def test_killed_after_any_command_the_live_click_model_is_untouched(
    server: Server, client: Any, namespace: Namespace
) -> None:
    space = Clicks(namespace.name)
    live = clicks.publish_by_hand(client, space, OLD)
    commands = work_on_clicks(server.url, Clicks("killed-not"))
    assert 10 < commands < 40
    for dies_after in range(1, commands):
        pid = killed(server.url, space, dies_after, work_on_clicks)
        assert Generations(client, space).live_manifest() == live
        assert read_model(client, space, live).trees == clicks.model().trees
        assert_the_lock_names_the_dead_and_ends(client, space, pid)
        with hold(client, space):
            Generations(client, space).prune(3)
        assert_only(client, space, [live])
    pid = killed(server.url, space, commands, work_on_clicks)
    newest = Generations(client, space).live_manifest()
    assert newest is not None and newest.generation == DEAD
    read_model(client, space, newest)
    assert_the_lock_names_the_dead_and_ends(client, space, pid)
    assert_only(client, space, [live, newest])


def test_killed_while_it_deletes_the_next_run_deletes_the_rest(
    server: Server, client: Any, namespace: Namespace
) -> None:
    def prune() -> None:
        with Mortal.from_url(server.url) as mortal:
            mortal.commands_left = 60
            Generations(mortal, namespace).prune(1)

    generations = Generations(client, namespace)
    big = publish_by_hand(client, namespace, OLD, USERS, ITEMS)
    older, live = (publish_by_hand(client, namespace, name) for name in (DEAD, NEXT))
    run = multiprocessing.get_context("fork").Process(target=prune, daemon=True)
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    left = keys_of(client, namespace) & set(big.keys(namespace))
    assert 0 < len(left) < len(list(big.keys(namespace)))
    assert [each.state for each in generations.all()] == ["deleting", "complete", "complete"]
    assert generations.prune(3) == [OLD]
    assert_only(client, namespace, [older, live])
