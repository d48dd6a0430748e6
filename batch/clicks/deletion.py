"""Take one user's columns out of every click model, so that every generation stays whole."""

from app.contracts.clicks import Clicks
from batch.generations.connect import Client, cache_errors
from batch.generations.registry import Generations


def forget(client: Client, space: Clicks, user: str) -> int:
    """Return how many models had columns of the user; none has now.

    Only for the holder of the lock: a training would write the user anew. Raises CacheUnavailable,
    or UnicodeEncodeError for a user that is no text.
    """
    found = Generations(client, space).all()
    with cache_errors():
        return sum([manifest.take_out(client, space, user) for manifest in found])
