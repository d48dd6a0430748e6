"""Every generation that the cache keeps, for who looks at them all; no list is answered from here.

Whoever calls these takes the client's errors on itself.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from app.cache.buckets import fetch
from app.cache.connect import Client
from app.contracts.generations import POINT, PUBLISHED, BrokenRecord
from app.contracts.recommendations import (
    Manifest,
    Namespace,
    chunk_part,
    decode_record,
    decode_sample,
    document,
    document_place,
    split_value,
    unmark,
)
from app.contracts.refreshes import KEPT, ROLLBACK, Refresh, refreshes_key
from app.errors import Overtaken, UnknownGeneration
from app.recommendations.lookup import by_bucket, records_of
from app.recommendations.memory.near_cache import Entries

_AT_A_TIME = 500
_CHUNKS_AT_A_TIME = 16

log = logging.getLogger("larder.cache")


def live_name(client: Client, namespace: Namespace) -> str:
    """What the pointer names; "" for nothing."""
    return (client.get(namespace.live) or b"").decode(errors="replace")


def manifests(client: Client, namespace: Namespace) -> list[Manifest]:
    """Those of all generations that can be read, the newest first."""
    found = []
    for name, text in sorted(client.hgetall(namespace.generations).items(), reverse=True):
        try:
            found.append(Manifest.from_json(text))
        except BrokenRecord as error:
            log.warning("generation %r cannot be read: %s", name, error)
    return found


def refreshes(client: Any, namespace: Namespace) -> list[Refresh]:
    """How the last runs ended, the newest first."""
    found = []
    for text in client.lrange(refreshes_key(namespace.name), 0, KEPT - 1):
        try:
            found.append(Refresh.from_json(text))
        except BrokenRecord as error:
            log.warning("%s", error)
    return found


def sample(client: Client, namespace: Namespace, manifest: Manifest) -> list[str]:
    """Some users of a generation; none where the cache has lost them. Raises BrokenRecord."""
    found: bytes | None = client.get(namespace.sample(manifest.generation))
    return [] if found is None else decode_sample(found)


def lists(
    client: Client, namespace: Namespace, manifest: Manifest, users: Iterable[str]
) -> dict[str, Entries]:
    """What is published for these users, k entries at most; without whom nobody knows there.

    Raises BrokenRecord.
    """
    places = {user: manifest.user_place(namespace, user) for user in users}
    asked = by_bucket(places.values())
    records = records_of(asked, fetch(client, asked))
    return {
        user: _entries(manifest, records[place])
        for user, place in places.items()
        if place in records
    }


def _entries(manifest: Manifest, value: bytes) -> Entries:
    record, *_ = split_value(value, manifest.factors, manifest.history)
    return decode_record(unmark(record)[0])[: manifest.k]


def documents(
    client: Client, namespace: Namespace, manifest: Manifest, items: Iterable[int]
) -> dict[int, dict[str, Any]]:
    """The documents of items by their indices. Raises BrokenRecord."""
    places = {item: document_place(item) for item in items}
    wanted = iter(sorted({chunk for chunk, _ in places.values()}))
    chunks: dict[int, bytes] = {}
    while some := list(islice(wanted, _CHUNKS_AT_A_TIME)):
        pipeline = client.pipeline(transaction=False)
        for chunk in some:
            pipeline.get(namespace.part(manifest.generation, chunk_part(chunk)))
        chunks |= {chunk: found or b"" for chunk, found in zip(some, pipeline.execute())}
    return {
        item: json.loads(document(chunks[chunk], position))
        for item, (chunk, position) in places.items()
    }


def roll_back(client: Any, namespace: Namespace, name: str, by: str) -> Manifest:
    """Make a generation live again, mark the one that was as withdrawn, and note down by whom.

    Raises UnknownGeneration, or Overtaken where somebody else was first.
    """
    started = datetime.now(UTC)
    known = {each.generation: each for each in manifests(client, namespace)}
    pointer = client.get(namespace.live) or b""
    target = _whole(client, namespace, known.get(name), name)
    changed = [replace(target, state="complete")]
    left = known.get(pointer.decode(errors="replace"))
    if left and left is not target:
        changed.append(replace(left, state="withdrawn"))
    texts = [text for each in changed for text in (each.generation, each.to_json())]
    keys = namespace.generations, namespace.live
    refused = client.eval(POINT, 2, *keys, pointer, name, *texts)
    if refused:
        raise Overtaken("nothing was changed, for somebody else changed what is live: look again")
    log.warning("generation %s is live again, rolled back to by %s", name, by)
    at = started.isoformat(timespec="seconds")
    record = Refresh(at, 0.0, 0, f"by {by}", name, ROLLBACK)
    client.lpush(refreshes_key(namespace.name), record.to_json())
    client.ltrim(refreshes_key(namespace.name), 0, KEPT - 1)
    return changed[0]


def _whole(client: Any, namespace: Namespace, found: Manifest | None, name: str) -> Manifest:
    if found is None or found.state not in PUBLISHED:
        raise UnknownGeneration(f"there is no generation {name[:70]!r} to roll back to")
    keys = iter(found.keys(namespace))
    while some := list(islice(keys, _AT_A_TIME)):
        pipeline = client.pipeline(transaction=False)
        for key in some:
            pipeline.exists(key)
        if sum(pipeline.execute()) < len(some):
            raise UnknownGeneration(f"{name} is not whole any more: the cache has lost keys of it")
    return found
