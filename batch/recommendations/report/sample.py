"""Some users' lists of a generation, read back from the cache as the API would."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from dataclasses import replace

from app.contracts.recommendations import Manifest, Namespace, decode_sample, field
from batch.generations.connect import Client, cache_errors
from batch.recommendations.published.read import Reader

EXAMPLES = 5
REACHED = 10


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
    documents: Mapping[int, str] = default(default_factory=dict)

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
    users = {field(user): user for user in (decode_sample(found) if found else [])}
    reader = Reader(client, namespace, manifest, manifest.k)
    _, block = reader.users_named(list(users))
    told = zip(block.names, (~block.popular).tolist(), block.entries(), strict=True)
    sample = Sample([UserList(users[name], *each) for name, *each in told])
    named = {item for item, _ in sample.reach()}
    named |= {item for each in sample.examples() for item, _ in each.entries}
    return replace(sample, documents=reader.documents(named))
