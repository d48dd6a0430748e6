"""The generations of a namespace: list them, point at one, delete one exactly."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Generic, TypeVar

from app.contracts.generations import BrokenRecord, Manifest, Space
from batch.errors import LostLock, UnknownGeneration
from batch.generations.connect import Client, cache_errors

log = logging.getLogger("larder.generations")

_COMMIT = """
local noted = redis.call('HGET', KEYS[2], ARGV[2])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if not noted or cjson.decode(noted).state ~= 'writing' then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('SET', KEYS[3], ARGV[2])
return 1
"""

# A server without free memory refuses SET and HSET, unless the script has written before: what is
# replaced is deleted first, so that rolling back and freeing memory work then too.
_POINT = """
local noted = redis.call('HGET', KEYS[1], ARGV[1])
if not noted or cjson.decode(noted).state == 'deleting' then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""

_CONDEMN = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

PUBLISHED = ("complete", "withdrawn")
"""The states of generations that are whole; ``withdrawn`` are those that were rolled back from."""

_DELETES_AT_A_TIME = 500

M = TypeVar("M", bound=Manifest)


class Generations(Generic[M]):
    """What is published of one kind in one namespace.

    Each step that could meet another process's step is one script on keys of one slot, so the
    pointer never names a generation that is being deleted. All methods raise CacheUnavailable.
    """

    def __init__(self, client: Client, space: Space[M]) -> None:
        self._client = client
        self._space = space

    def live(self) -> str | None:
        """The name of the live generation."""
        with cache_errors():
            name: bytes | None = self._client.get(self._space.live)
        return name.decode(errors="replace") if name is not None else None

    def all(self) -> list[M]:
        """Every generation that can be read, oldest first, unfinished ones included."""
        with cache_errors():
            entries: dict[bytes, bytes] = self._client.hgetall(self._space.generations)
        manifests = []
        for name in sorted(entries):
            try:
                manifests.append(self._space.read(entries[name]))
            except BrokenRecord as error:
                log.warning("left alone, for it cannot be read: generation %r: %s", name, error)
        return manifests

    def find(self, name: str) -> M | None:
        """The manifest of that generation, or None."""
        with cache_errors():
            text: bytes | None = self._client.hget(self._space.generations, name)
        return self._space.read(text) if text is not None else None

    def live_manifest(self) -> M | None:
        """The manifest of the live generation; None when nothing readable is live."""
        name = self.live()
        try:
            return self.find(name) if name is not None else None
        except BrokenRecord:
            return None

    def begin(self, manifest: M) -> None:
        """Note a generation down before its first key, so that what is left of it can be found."""
        with cache_errors():
            self._client.hset(self._space.generations, manifest.generation, manifest.to_json())

    def prove(self, manifest: Manifest, token: str) -> None:
        """Raise LostLock when the lock is no longer the token's: another run may have pruned."""
        with cache_errors():
            holder: bytes | None = self._client.get(self._space.lock)
        if holder != token.encode():
            raise _lost(manifest)

    def commit(self, manifest: Manifest, token: str) -> None:
        """Note the generation as complete and point at it, in one step.

        Raises LostLock when the lock is no longer the token's; then nothing has changed.
        """
        space = self._space
        with cache_errors():
            done = self._client.eval(
                _COMMIT,
                3,
                space.lock,
                space.generations,
                space.live,
                token,
                manifest.generation,
                manifest.to_json(),
            )
        if not done:
            raise _lost(manifest)

    def roll_back(self, name: str | None = None) -> M:
        """Point at that generation, or at the newest good one older than the live one.

        The live one is marked as withdrawn: later runs do not roll back to it unless it is named.
        Raises UnknownGeneration when there is none to point at.
        """
        target = self._older_than_live() if name is None else self.find(name)
        if target is None or target.state not in PUBLISHED:
            published = [each.generation for each in self.all() if each.state in PUBLISHED]
            raise UnknownGeneration(
                f"cannot roll back to {name or 'an older good generation'}; live is "
                f"{self.live() or 'nothing'}, published are: {', '.join(published) or 'none'}"
            )
        live = self.live_manifest()
        changed = [replace(target, state="complete")]
        if live is not None and live.generation != target.generation:
            changed.append(replace(live, state="withdrawn"))
        texts = [text for each in changed for text in (each.generation, each.to_json())]
        space = self._space
        with cache_errors():
            done = self._client.eval(
                _POINT, 2, space.generations, space.live, target.generation, *texts
            )
        if not done:
            raise UnknownGeneration(f"generation {target.generation} was deleted just now")
        return changed[0]

    def _older_than_live(self) -> M | None:
        live = self.live()
        older = [
            each
            for each in self.all()
            if each.state == "complete" and live is not None and each.generation < live
        ]
        return older[-1] if older else None

    def prune(self, keep: int, spared: str | None = None) -> list[str]:
        """Delete what is unfinished, and all but the newest ``keep`` and the live generation.

        spared: one more to keep, for the readers that have not followed the pointer yet. Only for
        the holder of the lock: the unfinished generation of a running refresh looks like that of a
        dead one. Returns the names of what was deleted.
        """
        everything = self.all()
        published = [each.generation for each in everything if each.state in PUBLISHED]
        kept = {*published[max(len(published) - keep, 0) :], spared}
        deleted = []
        for each in everything:
            if each.generation not in kept and self.delete(each):
                log.info("deleted generation %s", each.generation)
                deleted.append(each.generation)
        return deleted

    def delete(self, manifest: M) -> bool:
        """Delete every key of a generation without blocking the server, unless it is live.

        It is marked first and forgotten last: nothing can point at it in between, and what was
        interrupted is done again by the next ``prune``.
        """
        space = self._space
        condemned = replace(manifest, state="deleting")
        with cache_errors():
            done = self._client.eval(
                _CONDEMN,
                2,
                space.generations,
                space.live,
                manifest.generation,
                condemned.to_json(),
            )
            if not done:
                return False
            unlink(self._client, manifest.keys(space))
            self._client.hdel(space.generations, manifest.generation)
        return True


def unlink(client: Client, keys: Iterable[str]) -> None:
    """Delete keys without blocking the server."""
    remaining = iter(keys)
    while batch := list(islice(remaining, _DELETES_AT_A_TIME)):
        pipeline = client.pipeline(transaction=False)
        for key in batch:
            pipeline.unlink(key)
        pipeline.execute()


def _lost(manifest: M) -> LostLock:
    return LostLock(
        f"generation {manifest.generation} was not published: this run lost its lock, "
        f"perhaps because the machine or the cache stood still; run it again"
    )
