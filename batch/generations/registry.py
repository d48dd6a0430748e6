"""The generations of a namespace: list them, point at one, delete one exactly."""

import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Generic, TypeVar

from app.contracts.generations import (
    POINT,
    PUBLISHED,
    BrokenRecord,
    Manifest,
    Space,
    generation_name,
)
from batch.errors import LostLock, Overtaken, UnknownGeneration
from batch.generations.connect import Client, control_errors
from batch.generations.lock import lost_lock
from batch.generations.parts import lacks

log = logging.getLogger("larder.generations")

_COMMIT = """
local noted = redis.call('HGET', KEYS[2], ARGV[2])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if not noted or cjson.decode(noted).state ~= 'writing' then return 0 end
if ARGV[4] and (redis.call('GET', KEYS[3]) or '') ~= ARGV[4] then return -1 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('SET', KEYS[3], ARGV[2])
return 1
"""

# A server without free memory refuses HSET, unless the script has written before: what is replaced
# is deleted first, so that freeing memory works then too.
_CONDEMN = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

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
        name = self._pointer()
        return name.decode(errors="replace") if name is not None else None

    def _pointer(self) -> bytes | None:
        with control_errors(self._space):
            name: bytes | None = self._client.get(self._space.live)
        return name

    def all(self) -> list[M]:
        """Every generation that can be read, oldest first, unfinished ones included."""
        with control_errors(self._space):
            entries: dict[bytes, bytes] = self._client.hgetall(self._space.generations)
        manifests = []
        for name in sorted(entries):
            try:
                manifests.append(self._read(name.decode(errors="replace"), entries[name]))
            except BrokenRecord as error:
                log.warning("left alone, for it cannot be read: generation %r: %s", name, error)
        return manifests

    def published(self) -> list[M]:
        """Those that are whole, oldest first."""
        return [each for each in self.all() if each.state in PUBLISHED]

    def find(self, name: str) -> M | None:
        """The manifest of that generation, or None."""
        with control_errors(self._space):
            text: bytes | None = self._client.hget(self._space.generations, name)
        return self._read(name, text) if text is not None else None

    def _read(self, name: str, text: bytes) -> M:
        manifest = self._space.read(text)
        if manifest.generation != name:
            raise BrokenRecord(f"it has the manifest of {manifest.generation!r}")
        return manifest

    def live_manifest(self) -> M | None:
        """The manifest of the live generation; None when nothing readable is live."""
        name = self.live()
        try:
            return self.find(name) if name is not None else None
        except BrokenRecord:
            return None

    def next_name(self, now: datetime) -> str:
        """Name a generation that sorts behind all that are there."""
        known = [each.generation for each in self.all()]
        return generation_name(now, secrets.token_hex(2), known)

    def begin(self, manifest: M) -> None:
        """Note a generation down before its first key, so that what is left of it can be found."""
        with control_errors(self._space):
            self._client.hset(self._space.generations, manifest.generation, manifest.to_json())

    def prove(self, manifest: Manifest) -> None:
        """Raise LostLock when another run has deleted what is being written."""
        noted = self.find(manifest.generation)
        if noted is None or noted.state != "writing":
            raise lost_lock(manifest.generation)

    def commit(self, manifest: Manifest, token: str, built_on: str | None = None) -> None:
        """Note the generation as complete and point at it, in one step.

        built_on: what must still be live, "" for nothing, None for whatever is. Raises LostLock
        when it is not, or when the lock is no longer the token's; then nothing has changed.
        """
        space, expected = self._space, () if built_on is None else (built_on,)
        with control_errors(space):
            done = self._client.eval(
                _COMMIT,
                3,
                space.lock,
                space.generations,
                space.live,
                token,
                manifest.generation,
                manifest.to_json(),
                *expected,
            )
        if done == -1:
            raise LostLock(
                f"generation {manifest.generation} was not published: somebody moved the pointer "
                f"from {built_on or 'nothing'} meanwhile; run it again"
            )
        if not done:
            raise lost_lock(manifest.generation)

    def roll_back(self, name: str | None = None) -> M:
        """Point at that generation, or at the newest good one older than the live one.

        The live one is marked as withdrawn: later runs do not roll back to it unless it is named.
        Raises UnknownGeneration when there is none to point at that is whole, Overtaken when
        another process moved the pointer meanwhile.
        """
        pointer = self._pointer() or b""
        live = pointer.decode(errors="replace")
        target = self._whole_before(live) if name is None else self._whole(name)
        if target is None:
            raise UnknownGeneration(
                _none_older(self.published(), live, self._space)
                if name is None
                else _none_named(self.published(), name)
            )
        changed = [replace(target, state="complete")]
        left = self.live_manifest()
        if left is not None and left.generation == live != target.generation:
            changed.append(replace(left, state="withdrawn"))
        self._point(pointer, target, changed)
        return changed[0]

    def _whole(self, name: str) -> M | None:
        """The published generation of that name. Raises UnknownGeneration when keys are gone."""
        found = self.find(name)
        if found is None or found.state not in PUBLISHED:
            return None
        if missing := lacks(self._client, self._space, found):
            raise UnknownGeneration(
                f"cannot roll back to {name}, which is not whole any more: {missing}"
            )
        return found

    def _whole_before(self, live: str) -> M | None:
        """The newest good generation that is older; steps over those whose keys are gone."""
        for each in reversed(self.all()):
            if each.state == "complete" and each.generation < live:
                if not (missing := lacks(self._client, self._space, each)):
                    return each
                log.warning("%s is not whole any more: %s", each.generation, missing)
        return None

    def _point(self, pointer: bytes, target: M, changed: list[M]) -> None:
        """Move the pointer from where it was, and note what changed, in one step."""
        space = self._space
        texts = [text for each in changed for text in (each.generation, each.to_json())]
        keys = space.generations, space.live
        with control_errors(space):
            refused = self._client.eval(POINT, 2, *keys, pointer, target.generation, *texts)
        if refused and refused[0] == b"live":
            raise Overtaken(
                f"nothing was changed, for another process made {refused[1].decode()!r} live "
                f"just now: look at what is published, then roll back again or not"
            )
        if refused:
            raise UnknownGeneration(f"generation {target.generation} was deleted just now")

    def prune(self, keep: int, *spared: str | None) -> list[str]:
        """Delete what is unfinished, and all but ``keep`` published generations and the live one.

        Those that stay are the newest of those that nobody withdrew; withdrawn ones take what is
        left of the number. What a rollback would go to always stays. spared: more to keep, such as
        one for the readers that have not followed the pointer yet. Only for the holder of the lock:
        the unfinished generation of a running refresh looks like that of a dead one. Returns the
        names of what was deleted.
        """
        everything, live = self.all(), self.live()
        published = sorted((each for each in everything if each.state in PUBLISHED), key=_worth)
        good = [each.generation for each in published if each.state == "complete"]
        older = [name for name in good if live is not None and name < live]
        kept = {*(each.generation for each in published[-keep:]), *older[-1:], *spared}
        deleted = []
        for each in everything:
            if each.generation not in kept and self.delete(each):
                deleted.append(each.generation)
        return deleted

    def delete(self, manifest: M) -> bool:
        """Delete every key of a generation without blocking the server, unless it is live.

        It is marked first and forgotten last: nothing can point at it in between, and what was
        interrupted is done again by the next ``prune``.
        """
        space = self._space
        condemned = replace(manifest, state="deleting")
        with control_errors(space):
            done = self._client.eval(
                _CONDEMN, 2, space.generations, space.live, manifest.generation, condemned.to_json()
            )
            if not done:
                return False
            unlink(self._client, manifest.keys(space))
            self._client.hdel(space.generations, manifest.generation)
        return True


def _none_named(published: Sequence[Manifest], name: str) -> str:
    names = ", ".join(each.generation for each in published)
    there = "the only one is" if len(published) == 1 else "published are:"
    return f"there is no generation {name!r} to roll back to; {there} {names or 'none'}"


def _none_older(published: Sequence[Manifest], live: str, space: Space[Any]) -> str:
    """Why each that is there is none to go back to unless it is named."""
    sentence = f"cannot roll back to an older good generation; live is {live or 'nothing'}"
    others = [each for each in published if each.generation != live]
    if not others:
        return sentence + (", and no other is published" if published else ", published are: none")
    told = ", ".join(f"{each.generation} {_unfit(each, live)}" for each in others)
    command = f"larder {space.infix.replace(':', ' ')}rollback GENERATION"
    return f"{sentence}, {told}: '{command}' takes any that is whole"


def _unfit(manifest: Manifest, live: str) -> str:
    if manifest.state == "withdrawn":
        return "was rolled back from"
    return "is newer" if manifest.generation > live else "is not whole any more"


def unlink(client: Client, keys: Iterable[str]) -> None:
    """Delete keys without blocking the server."""
    remaining = iter(keys)
    while batch := list(islice(remaining, _DELETES_AT_A_TIME)):
        pipeline = client.pipeline(transaction=False)
        for key in batch:
            pipeline.unlink(key)
        pipeline.execute()


def _worth(manifest: Manifest) -> tuple[bool, str]:
    return manifest.state == "complete", manifest.generation
