"""One refresh at a time: a lock in the cache that says who holds it and expires by itself."""

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from redis.exceptions import LockError
from redis.lock import Lock

from app.contracts.generations import Space
from batch.errors import Locked
from batch.generations.connect import CACHE_ERRORS, Client, cache_errors

LEASE_SECONDS = 30.0

# DEL first: a server without free memory refuses SET, unless the script has written before. Whoever
# prunes to free some needs the lock.
_ACQUIRE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class _Lock(Lock):
    def do_acquire(self, token: str) -> bool:
        assert self.timeout is not None
        return bool(self.redis.eval(_ACQUIRE, 1, self.name, token, int(self.timeout * 1000)))


@contextmanager
def hold(
    client: Client,
    space: Space[Any],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    lease_seconds: float = LEASE_SECONDS,
) -> Iterator[str]:
    """Hold the namespace's lock and yield the token that proves it.

    A thread renews the lease while the block runs; after a run that died, the lease ends by itself.
    The lease may still be lost (a machine that stood still, a cache that was away), so whoever
    moves the pointer must prove the token at that moment. Raises Locked, naming the holder.
    """
    token = json.dumps(
        {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": now().isoformat(timespec="seconds"),
            "nonce": secrets.token_hex(8),
        }
    )
    lock = _Lock(client, space.lock, timeout=lease_seconds, thread_local=False)
    lock.local.token = token.encode()  # a signal may come once the server has it, before we know
    released = Event()
    renewing = Thread(target=_renew, args=(lock, released, lease_seconds / 3), daemon=True)
    try:
        with cache_errors():
            if not lock.acquire(blocking=False, token=token):
                raise Locked(_who(client, space))
        renewing.start()
        yield token
    finally:
        released.set()
        if renewing.ident is not None:
            renewing.join()
        _release(lock)


def _renew(lock: Lock, released: Event, every_seconds: float) -> None:
    while not released.wait(every_seconds):
        try:
            lock.reacquire()
        except LockError:
            return  # another run has it; the proof at the pointer will fail and say so
        except CACHE_ERRORS:
            continue  # the lease may outlive a short outage


def _release(lock: Lock) -> None:
    """Twice, as a signal may have left the connection unusable; else the lease ends by itself."""
    for _ in range(2):
        try:
            lock.release()
        except LockError:
            return  # lost
        except CACHE_ERRORS:
            continue
        return


def _who(client: Client, space: Space[Any]) -> str:
    holder: bytes = client.get(space.lock) or b"a run that has just ended"
    left = client.pttl(space.lock) / 1000
    end = f"{left:.0f} seconds until its lock expires" if left > 0 else f"delete {space.lock}"
    return (
        f"namespace {space.name!r} is being refreshed by {_named(holder)}; wait for it, or, "
        f"when it is dead, {end}"
    )


def _named(holder: bytes) -> str:
    try:
        who = json.loads(holder)
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (ValueError, TypeError, KeyError):  # set by hand, to keep every run away
        return repr(holder.decode(errors="replace"))
