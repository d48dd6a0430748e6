"""Some users' lists of a generation, read back from the cache as the API would."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from app.contracts.recommendations import (
    Manifest,
    Namespace,
    decode_record,
    decode_sample,
    document,
    document_place,
    split_value,
    unmark,
)
from batch.generations.connect import Client, cache_errors

EXAMPLES = 5
REACHED = 10
_AT_A_TIME = 200


@dataclass(frozen=True, slots=True)
class UserList:
    """What one user is served: index and score of each item, best first."""

    user: str
    is_personal: bool
    entries: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Sample:
    """The lists of up to 1,000 users, and the JSON documents of the items that are named."""

    lists: Sequence[UserList] = ()
    documents: Mapping[int, str] = field(default_factory=dict)

    def reach(self) -> list[tuple[int, int]]:
        """The items that are in most of the lists, and in how many."""
        found = Counter(item for each in self.lists for item, _ in each.entries)
        return found.most_common(REACHED)

    def examples(self) -> Sequence[UserList]:
        """Lists to show whole."""
        return self.lists[:EXAMPLES]


def read(client: Client, namespace: Namespace, manifest: Manifest) -> Sample:
    """The lists of the users that the generation has as its sample.

    Raises CacheUnavailable, BrokenRecord.
    """
    with cache_errors():
        found = client.get(namespace.sample(manifest.generation))
        users = decode_sample(found) if found else []
        sample = Sample(list(_lists(client, namespace, manifest, users)))
        named = {item for item, _ in sample.reach()}
        named |= {item for each in sample.examples() for item, _ in each.entries}
        documents = dict(_documents(client, namespace, manifest, sorted(named)))
    return replace(sample, documents=documents)


def _lists(
    client: Client, namespace: Namespace, manifest: Manifest, users: Iterable[str]
) -> Iterator[UserList]:
    remaining = iter(users)
    while some := list(islice(remaining, _AT_A_TIME)):
        pipeline = client.pipeline(transaction=False)
        for user in some:
            pipeline.hget(*manifest.user_place(namespace, user))
        for user, value in zip(some, pipeline.execute(), strict=True):
            if value is not None:  # else deleted meanwhile
                stored, *_ = split_value(value, manifest.factors, manifest.history)
                record, is_popular = unmark(stored)
                yield UserList(user, not is_popular, decode_record(record)[: manifest.k])


def _documents(
    client: Client, namespace: Namespace, manifest: Manifest, items: Iterable[int]
) -> Iterator[tuple[int, str]]:
    chunks: dict[int, bytes] = {}
    for item in items:
        number, position = document_place(item)
        if number not in chunks:
            chunks = {number: client.get(namespace.chunk(manifest.generation, number)) or b""}
        yield item, document(chunks[number], position).decode()
