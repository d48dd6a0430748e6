"""Read one user's list back from the cache, through the contract, as it was published."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.contracts.recommendations import (
    Manifest,
    Namespace,
    decode_record,
    document,
    document_place,
    split_value,
    unmark,
)
from batch.errors import BadSettings, CacheUnavailable, UnknownGeneration
from batch.generations.connect import Client, cache_errors
from batch.generations.registry import Generations


@dataclass(frozen=True, slots=True)
class Shown:
    """A list as the API would answer it, had the user done nothing since.

    source: "personal", "popular" or "exhausted"; entries: the JSON of each item's document and
    its score, best first.
    """

    user: str
    generation: str
    source: str
    entries: Sequence[tuple[str, float]]


def show(client: Client, namespace: Namespace, user: str, n: int | None = None) -> Shown:
    """The first n items of the user's list, or all k that are served.

    Raises UnknownGeneration when nothing is live, CacheUnavailable, BrokenRecord, or BadSettings
    when the user is no Unicode text.
    """
    manifest = Generations(client, namespace).live_manifest()
    if manifest is None:
        raise UnknownGeneration(f"nothing is live in namespace {namespace.name!r}: run refresh")
    name = manifest.generation
    try:
        place = manifest.user_place(namespace, user)
    except UnicodeEncodeError as error:
        raise BadSettings(f"a user id is UTF-8, not {user!r}") from error
    with cache_errors():
        record: bytes | None = client.hget(*place)
        if record is not None:
            record, *_ = split_value(record, manifest.factors, manifest.history)
        source = "popular" if record is None else "personal" if record else "exhausted"
        if record is None:
            record = client.get(namespace.popular(name))
        if record is None:
            raise CacheUnavailable(
                f"generation {name} is live but not there any more; does the cache evict keys "
                f"(maxmemory-policy)? run refresh"
            )
        record, is_popular = unmark(record)
        entries = [
            (_document(client, namespace, manifest, item), score)
            for item, score in decode_record(record)[: min(n or manifest.k, manifest.k)]
        ]
    return Shown(user, name, "popular" if is_popular else source, entries)


def _document(client: Client, namespace: Namespace, manifest: Manifest, item: int) -> str:
    number, position = document_place(item)
    chunk: bytes = client.get(namespace.chunk(manifest.generation, number)) or b""
    return document(chunk, position).decode()
