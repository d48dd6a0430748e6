"""Generations made by hand, so that a test knows every list of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.contracts.generations import Space
from app.contracts.recommendations import (
    CHUNK_SIZE,
    Manifest,
    Namespace,
    bucket_count,
    bucket_size,
    chunk_count,
    decode_record,
    document,
    encode_document,
    split_value,
)
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.recommendations.engines.engine import Scale
from batch.recommendations.lists import LocalContents
from batch.recommendations.live import Live
from batch.recommendations.recommend import with_vectors
from batch.recommendations.topk import Lists

MANIFEST = Manifest(
    generation="20260101T000000Z-0001",
    state="writing",
    users=0,
    items=0,
    interactions=0,
    k=3,
    user_buckets=1,
    similar_buckets=1,
    chunks=1,
    engine="by hand",
    settings={},
    metrics={},
    fingerprint="",
    forced=False,
    code_version="0",
    started_at="2026-01-01T00:00:00+00:00",
)


def contents(
    namespace: Namespace, users: list[str], items: list[str], k: int = 3
) -> tuple[Manifest, LocalContents]:
    """User u's list is items u, u+1, u+2 ... (modulo), item i's neighbours i+1, i+2 ...

    The popular list is the first k items. Scores fall from 1.0 by 0.125.
    """
    k = min(k, len(items))
    scores = 1.0 - np.arange(k) / 8

    def lists(first: Any) -> Lists:
        shape = (len(first), k)
        return Lists(
            ((np.asarray(first)[:, np.newaxis] + np.arange(k)) % len(items)).astype(np.int32),
            np.broadcast_to(scores, shape).astype(np.float32),
            np.full(len(first), k, np.int32),
        )

    manifest = replace(
        MANIFEST,
        users=len(users),
        items=len(items),
        k=k,
        user_buckets=bucket_count(len(users)),
        similar_buckets=bucket_count(len(items)),
        chunks=chunk_count(len(items)),
    )
    documents = [
        encode_document(item, f'{{"title":"Title of {n}"}}') for n, item in enumerate(items)
    ]
    return manifest, LocalContents(
        namespace,
        users=users,
        items=items,
        user_lists=lists,
        similar_lists=lambda first: lists(first + 1),
        popular=lists(np.zeros(1, np.int64)),
        documents=documents,
    )


def live_contents(
    namespace: Namespace,
    users: list[str],
    items: list[str],
    k: int = 3,
    stored: int = 6,
    width: int = 4,
) -> tuple[Manifest, LocalContents]:
    """The same as a live generation: lists of ``stored``, with factors and vectors by chance."""
    plain, made = contents(namespace, users, items, k)
    _, longer = contents(namespace, users, items, stored)
    rng = np.random.default_rng(1)
    mine, theirs = (
        rng.standard_normal((len(ids), width)).astype(np.float32) for ids in (users, items)
    )
    manifest = replace(
        plain,
        stored=stored,
        factors=width,
        user_buckets=bucket_count(len(users), bucket_size(stored, len(items), width)),
    )
    return manifest, replace(
        made,
        user_lists=lambda first: with_vectors(longer.user_lists(first), mine[first]),
        popular=longer.popular,
        live=Live(theirs, mine.mean(axis=0, dtype=np.float64), Scale(confidence=6.0, penalty=2.0)),
    )


def publish_by_hand(
    client: Any,
    namespace: Namespace,
    generation: str = "20260101T000000Z-0001",
    users: list[str] | None = None,
    items: list[str] | None = None,
    k: int = 3,
    **told: Any,
) -> Manifest:
    """Publish such a generation; by default users u0-u99 and items i0-i9.

    told: what its manifest says in place of what it would.
    """
    manifest, made = contents(
        namespace,
        users if users is not None else [f"u{n}" for n in range(100)],
        items if items is not None else [f"i{n}" for n in range(10)],
        k,
    )
    manifest = replace(manifest, generation=generation, **told)
    with hold(client, namespace) as lease:
        return publish(client, namespace, manifest, made, lease)


Entries = list[tuple[int, float]]


@dataclass
class Found:
    """What a reader finds of a generation, through the contract alone."""

    users: dict[str, Entries]
    similar: dict[str, Entries]
    popular: Entries
    documents: list[bytes]


def read_back(
    client: Any,
    namespace: Namespace,
    manifest: Manifest,
    users: Sequence[str],
    items: Sequence[str],
) -> Found:
    """Read all that is published of these users and items; what is not there raises."""
    name = manifest.generation

    def record(key: str, member: bytes, factors: int = 0, history: int = 0) -> Entries:
        stored = client.hget(key, member)
        assert stored is not None, f"{member!r} is not in {key}"
        listed, *_ = split_value(stored, factors, history)
        return decode_record(listed)

    chunks = [client.get(namespace.chunk(name, number)) for number in range(manifest.chunks)]
    return Found(
        users={
            user: record(*manifest.user_place(namespace, user), manifest.factors, manifest.history)
            for user in users
        },
        similar={item: record(*manifest.item_place(namespace, item)) for item in items},
        popular=decode_record(client.get(namespace.popular(name))),
        documents=[
            document(chunks[number // CHUNK_SIZE], number % CHUNK_SIZE)
            for number in range(len(items))
        ],
    )


def keys_of(client: Any, namespace: Space[Any]) -> set[str]:
    """Every key that the server holds for the namespace."""
    patterns = (f"larder:1:{namespace.name}:*", f"larder:1:{{{namespace.name}}}:*")
    return {key.decode() for pattern in patterns for key in client.scan_iter(pattern, count=1000)}
