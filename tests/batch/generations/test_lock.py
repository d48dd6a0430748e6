"""One refresh at a time: who holds the lock is named, and a dead holder's lock expires."""

import json
import os
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.contracts.recommendations import Namespace
from batch.errors import CacheUnavailable, Locked, LostLock
from batch.generations.lock import hold
from tests.servers import PATIENCE_SECONDS, Server, wait_at_most, wait_until


def test_the_second_is_told_who_holds_the_lock_since_when_and_for_how_long(
    client: Any, namespace: Namespace
) -> None:
    moment = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    with hold(client, namespace, now=lambda: moment, lease_seconds=120):
        with pytest.raises(Locked) as refused, hold(client, namespace):
            pytest.fail("two hold one lock")
    said = str(refused.value)
    assert f"namespace {namespace.name!r} is being refreshed by process {os.getpid()}" in said
    assert f"on {socket.gethostname()} since 2026-05-04T03:02:01+00:00" in said
    seconds = re.search(r"(\d+) seconds until its lock expires", said)
    assert seconds is not None and 100 <= int(seconds[1]) <= 120
    assert refused.value.exit_code == 75


def test_the_lock_is_free_after_use(client: Any, namespace: Namespace) -> None:
    for _ in range(2):
        with hold(client, namespace) as lease:
            assert client.get(namespace.lock) == lease.token.encode()
            assert json.loads(lease.token)["pid"] == os.getpid()
    assert not client.exists(namespace.lock)


def test_the_lock_is_free_after_an_error(client: Any, namespace: Namespace) -> None:
    with pytest.raises(ZeroDivisionError), hold(client, namespace):
        raise ZeroDivisionError
    assert not client.exists(namespace.lock)


def test_two_namespaces_do_not_wait_for_each_other(client: Any, namespace: Namespace) -> None:
    with hold(client, namespace), hold(client, Namespace(f"{namespace.name}-b")):
        pass


def test_the_lease_is_renewed_while_the_work_lasts(client: Any, namespace: Namespace) -> None:
    with hold(client, namespace, lease_seconds=300) as lease:
        assert 250_000 < client.pttl(namespace.lock) <= 300_000
    with hold(client, namespace, lease_seconds=3) as lease:
        for _ in range(2):
            wait_until_renewed(client, namespace, 3000)
        assert client.get(namespace.lock) == lease.token.encode()


def wait_until_renewed(client: Any, namespace: Namespace, lease_ms: int) -> None:
    """Give the lock an hour, which its renewal makes a lease again."""
    client.pexpire(namespace.lock, 3_600_000)
    wait_until(lambda: bool(client.pttl(namespace.lock) <= lease_ms))
    assert client.pttl(namespace.lock) > 0


def test_the_lock_of_a_dead_run_expires(client: Any, namespace: Namespace) -> None:
    client.set(namespace.lock, '{"host":"gone","pid":7,"since":"2026-01-01"}', px=60_000)
    with pytest.raises(Locked, match="process 7 on gone since 2026-01-01"):
        hold(client, namespace).__enter__()
    client.pexpire(namespace.lock, 1)  # as if that minute had passed
    wait_until(lambda: not client.exists(namespace.lock))
    with hold(client, namespace):
        pass


@pytest.mark.parametrize("text", ["maintenance", "1", "[]", "{}", b"\xff"])
def test_a_lock_set_by_hand_keeps_every_run_away(
    client: Any, namespace: Namespace, text: str | bytes
) -> None:
    client.set(namespace.lock, text)
    with pytest.raises(Locked, match="refreshed by '.*when it is dead, delete larder:1:") as told:
        hold(client, namespace).__enter__()
    assert str(told.value).endswith(namespace.lock)


def test_whoever_lost_the_lock_to_another_is_stopped_at_once_and_leaves_it_alone(
    client: Any, namespace: Namespace
) -> None:
    with (
        pytest.raises(LostLock, match="^this run lost its lock before it was done"),
        hold(client, namespace, lease_seconds=0.3),
    ):
        client.set(namespace.lock, "another", px=3_600_000)
        wait_until(lambda: False)
    assert client.get(namespace.lock) == b"another"
    assert client.pttl(namespace.lock) > 3_000_000
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_nothing_on_the_way_takes_the_interruption_for_an_error_of_its_own(
    client: Any, namespace: Namespace
) -> None:
    with pytest.raises(LostLock), hold(client, namespace, lease_seconds=0.3):
        client.set(namespace.lock, "another")
        try:
            wait_until(lambda: False)
        except Exception as error:
            pytest.fail(f"the wait ended with {error!r}")


def test_a_thread_that_cannot_be_interrupted_learns_of_a_lost_lock_when_it_proves_it(
    client: Any, namespace: Namespace
) -> None:
    def work() -> str:
        with pytest.raises(LostLock) as lost, hold(client, namespace, lease_seconds=0.3) as lease:
            client.set(namespace.lock, "another")
            wait_until(lambda: lease.lost)
            client.delete(namespace.lock)  # too late: another may have deleted what we wrote
            lease.prove("G1")
        return str(lost.value)

    with ThreadPoolExecutor(1) as threads:
        assert "generation G1 was not published" in threads.submit(work).result()
    assert not client.exists(namespace.lock)


def test_a_lease_that_ran_out_is_taken_again_while_nobody_else_wants_it(
    client: Any, namespace: Namespace
) -> None:
    with hold(client, namespace, lease_seconds=0.3) as lease:
        for _ in range(2):
            client.delete(namespace.lock)  # as if it had expired
            wait_until(lambda: client.get(namespace.lock) == lease.token.encode())
        client.delete(namespace.lock)
        lease.prove("G1")
        assert client.get(namespace.lock) == lease.token.encode()
    assert not client.exists(namespace.lock)


def test_the_lock_is_given_back_although_a_connection_was_cut(
    server: Server, client: Any, namespace: Namespace
) -> None:
    once = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(server.url, retry=once, client_name="cut") as own:
        with hold(own, namespace):
            for each in client.client_list():
                if each["name"] == "cut":
                    client.client_kill_filter(_id=each["id"])
        assert not client.exists(namespace.lock)


def test_a_reply_that_was_lost_does_not_lock_a_run_out(client: Any, namespace: Namespace) -> None:
    class Forgetful(redis.Redis):
        """Sends each acquisition twice, as a retry after a lost reply does."""

        def eval(self, *arguments: Any) -> Any:
            super().eval(*arguments)
            return super().eval(*arguments)

    with Forgetful.from_url(f"redis://{_address(client)}") as twice, hold(twice, namespace):
        assert client.exists(namespace.lock)


def _address(client: Any) -> str:
    where = client.connection_pool.connection_kwargs
    return f"{where['host']}:{where['port']}"


def test_a_full_server_can_still_be_locked(own_server: Server, namespace: Namespace) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("maxmemory", 1)
        with hold(client, namespace):
            assert client.pttl(namespace.lock) > 0
        assert not client.exists(namespace.lock)


class Noting(redis.Redis):
    """A client that notes what went wrong."""

    errors: list[redis.RedisError]

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            self.errors.append(error)
            raise


def test_an_outage_shorter_than_the_lease_is_survived(
    own_server: Server, namespace: Namespace
) -> None:
    once = Retry(NoBackoff(), 0)
    client: Noting
    with (
        redis.Redis.from_url(own_server.url) as patient,
        Noting.from_url(own_server.url, retry=once) as client,
    ):
        client.errors = []
        with hold(client, namespace, lease_seconds=3) as lease:
            patient.pexpire(namespace.lock, 3_600_000)
            own_server.freeze()
            wait_at_most(0.2, client)
            wait_until(lambda: bool(client.errors))  # a renewal failed
            own_server.thaw()
            wait_at_most(PATIENCE_SECONDS, client)
            wait_until_renewed(patient, namespace, 3000)
            assert patient.get(namespace.lock) == lease.token.encode()


def test_a_server_that_is_gone_at_the_end_is_not_waited_for(
    own_server: Server, namespace: Namespace
) -> None:
    with redis.Redis.from_url(own_server.url) as client, hold(client, namespace):
        own_server.kill()


def test_a_server_that_is_away_cannot_be_locked(own_server: Server, namespace: Namespace) -> None:
    own_server.kill()
    with redis.Redis.from_url(own_server.url) as client:
        with pytest.raises(CacheUnavailable), hold(client, namespace):
            pytest.fail("locked nothing")


def test_a_cluster_is_locked_too(cluster_client: Any, namespace: Namespace) -> None:
    with hold(cluster_client, namespace):
        with pytest.raises(Locked), hold(cluster_client, namespace):
            pytest.fail("two hold one lock")
    with hold(cluster_client, namespace, lease_seconds=3):
        wait_until_renewed(cluster_client, namespace, 3000)
    assert not cluster_client.exists(namespace.lock)


def test_a_signal_between_taking_and_knowing_leaves_no_lock(
    client: Any, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = client.eval

    def interrupted(*script: Any) -> None:
        ask(*script)
        raise SystemExit(143)

    monkeypatch.setattr(client, "eval", interrupted)
    with pytest.raises(SystemExit), hold(client, namespace):
        pass
    assert not client.exists(namespace.lock)
