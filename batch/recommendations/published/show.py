"""Read one user's list back from the cache, through the contract, as it was published."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.contracts.recommendations import Namespace, field
from batch.errors import BadSettings
from batch.generations.connect import Client
from batch.recommendations.published.read import Reader, manifest_of


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
    manifest = manifest_of(client, namespace, None)
    reader = Reader(client, namespace, manifest, manifest.k)
    try:
        name = field(user)
    except UnicodeEncodeError as error:
        raise BadSettings(f"a user id is UTF-8, not {user!r}") from error
    is_known, block = reader.users_named([name])
    if not is_known[0]:
        block = reader.popular()
    (entries,), (is_popular,) = block.entries(), block.popular.tolist()
    own = "personal" if entries else "exhausted"
    source = own if is_known[0] and not is_popular else "popular"
    entries = entries[:n]
    documents = reader.documents(item for item, _ in entries)
    told = [(documents[item], score) for item, score in entries]
    return Shown(user, manifest.generation, source, told)
