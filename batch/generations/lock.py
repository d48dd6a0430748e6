"""One refresh at a time: a lock in the cache that says who holds it and expires by itself."""

import json
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread, current_thread, main_thread
from typing import Any

from app.contracts.generations import Space
from batch.errors import Locked, LostLock
from batch.generations.connect import CACHE_ERRORS, Client, control_errors

LEASE_SECONDS = 30.0

# DEL first: a server without free memory refuses SET, unless the script has written before. Whoever
# prunes to free some needs the lock.
_KEEP = """
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if holder then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class Lease:
    """The lock as its holder has it.

    lost: another run has taken it; settled: what it was needed for is done.
    """

    _again = _KEEP

    def __init__(self, client: Client, space: Space[Any], token: str, seconds: float) -> None:
        self.token = token
        self.seconds = seconds
        self.lost = self.settled = self._taken = False
        self._client, self._space = client, space

    def keep(self) -> bool:
        """Take the lock, renew it, or take it again where it is free; False: another has it."""
        script, milliseconds = self._again if self._taken else _KEEP, int(self.seconds * 1000)
        held = bool(self._client.eval(script, 1, self._space.lock, self.token, milliseconds))
        self._taken = self._taken or held
        return held

    def held(self) -> bool:
        """Keep the lock, and say whether it is still ours. Raises CacheUnavailable."""
        with control_errors(self._space):
            self.lost = self.lost or not self.keep()
        return not self.lost

    def prove(self, generation: str) -> None:
        """Keep the lock. Raises LostLock, saying that the generation was not published."""
        if not self.held():
            raise lost_lock(generation)

    def release(self) -> None:
        """Give the lock back, if it is still ours."""
        self._client.eval(_RELEASE, 1, self._space.lock, self.token)


class Unbroken(Lease):
    """A lock that is lost once its lease ran out: another may have come, published and gone."""

    _again = _RENEW


class _Interrupted(BaseException):
    """Nothing on the way may take it for an error of its own."""


@contextmanager
def hold(
    client: Client,
    space: Space[Any],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    lease_seconds: float = LEASE_SECONDS,
    doing: str = "refreshed",
    kind: type[Lease] = Lease,
) -> Iterator[Lease]:
    """Hold the namespace's lock while the block runs.

    doing: what then is being done to the namespace, for whoever has to wait; kind: ``Unbroken`` for
    a run that goes on from what was live when it began.

    A thread renews the lease, and takes the lock again when the lease ran out but nobody has taken
    it (a machine that stood still, a cache that was away). When somebody has, the block is
    interrupted at once, and LostLock is raised in its place. After a run that died, the lease ends
    by itself. Raises Locked, naming the holder.
    """
    lease = kind(client, space, _token(now()), lease_seconds)
    released = Event()
    try:
        with control_errors(space):
            if not lease.keep():
                raise Locked(_who(client, space, doing))
        with _interruptible(lease, released) as interrupt:
            renewing = Thread(target=_renew, args=(lease, released, interrupt), daemon=True)
            renewing.start()
            try:
                yield lease
            finally:
                released.set()
                renewing.join()
    except BaseException as error:
        if lease.lost and not lease.settled and not isinstance(error, LostLock):
            raise lost_lock() from error
        raise
    finally:
        _release(lease)


def lost_lock(generation: str = "") -> LostLock:
    """The error of a run that another one has overtaken, before or when it was to publish."""
    unpublished = f"generation {generation} was not published: " if generation else ""
    return LostLock(
        f"{unpublished}this run lost its lock before it was done, perhaps because the machine or "
        "the cache stood still; run it again"
    )


def _token(now: datetime) -> str:
    return json.dumps(
        {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": now.isoformat(timespec="seconds"),
            "nonce": secrets.token_hex(8),
        }
    )


@contextmanager
def _interruptible(lease: Lease, released: Event) -> Iterator[Callable[[], None]]:
    """Yield what interrupts this thread, be it waiting for a cluster, once the lease is lost.

    Only the main thread can be; another one learns of it when it next proves the lease.
    """
    if current_thread() is not main_thread():
        yield lambda: None
        return

    def interrupt(number: int, frame: object) -> None:
        if lease.lost and not lease.settled and not released.is_set():
            raise _Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield lambda: signal.pthread_kill(main_thread().ident or 0, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def _renew(lease: Lease, released: Event, interrupt: Callable[[], None]) -> None:
    while not released.wait(lease.seconds / 3):
        try:
            lease.lost = not lease.keep()
        except CACHE_ERRORS:
            continue  # a short outage; if the lease does not outlive it, the lock may still be free
        if lease.lost:
            interrupt()
            return


def _release(lease: Lease) -> None:
    """Twice, as a signal may have left the connection unusable; else the lease ends by itself."""
    for _ in range(2):
        try:
            lease.release()
        except CACHE_ERRORS:
            continue
        return


def _who(client: Client, space: Space[Any], doing: str) -> str:
    holder: bytes = client.get(space.lock) or b"a run that has just ended"
    left = client.pttl(space.lock) / 1000
    end = f"{left:.0f} seconds until its lock expires" if left > 0 else f"delete {space.lock}"
    return (
        f"namespace {space.name!r} is being {doing} by {_named(holder)}; wait for it, or, "
        f"when it is dead, {end}"
    )


def _named(holder: bytes) -> str:
    try:
        who = json.loads(holder)
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (ValueError, TypeError, KeyError):  # set by hand, to keep every run away
        return repr(holder.decode(errors="replace"))
