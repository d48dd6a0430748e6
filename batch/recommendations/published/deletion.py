"""Take one user out of everything that is published, so that every generation stays whole."""

import secrets

from app.contracts.recommendations import Namespace
from batch.generations.connect import Client, cache_errors
from batch.generations.registry import Generations


def forget(client: Client, namespace: Namespace, user: str) -> int:
    """Take a user out of the lists and the sample of each generation; return how many had a list.

    A field that is nobody's stands in, so that a generation still holds as many as its manifest
    says, and can be rolled back to. Workers of the API then forget what they hold. Only for the
    holder of the lock: a refresh would write the user anew. Raises CacheUnavailable, or
    UnicodeEncodeError for a user that is no text.
    """
    found = Generations(client, namespace).all()
    with cache_errors():
        had = sum([manifest.take_out(client, namespace, user) for manifest in found])
        client.setrange(namespace.deletion, 0, secrets.token_hex(8))
        return had
