"""One refresh at a time: a lock in the cache that says who holds it and expires by itself."""

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread

from redis.exceptions import LockError
from redis.lock import Lock

from app.contracts.recommendations import Namespace
from batch.cache import CACHE_ERRORS, Client, translated
from batch.errors import Locked

LEASE_SECONDS = 30.0


@contextmanager
def hold(
    client: Client,
    namespace: Namespace,
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
    lock = Lock(client, namespace.lock, timeout=lease_seconds, thread_local=False)
    with translated():
        if not lock.acquire(blocking=False, token=token):
            raise Locked(_who(client, namespace))
    released = Event()
    renewing = Thread(target=_renew, args=(lock, released, lease_seconds / 3), daemon=True)
    renewing.start()
    try:
        yield token
    finally:
        released.set()
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
    try:
        lock.release()
    except (LockError, *CACHE_ERRORS):
        return  # lost or out of reach: the lease ends by itself


def _who(client: Client, namespace: Namespace) -> str:
    holder = client.get(namespace.lock)
    left = max(client.pttl(namespace.lock), 0) / 1000
    who = json.loads(holder) if holder else {}
    return (
        f"namespace {namespace.name!r} is being refreshed by process {who.get('pid', '?')} on "
        f"{who.get('host', '?')} since {who.get('since', '?')}; wait for it, or, when it is dead, "
        f"{left:.0f} seconds until its lock expires"
    )
