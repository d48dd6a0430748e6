"""A user is taken out of every generation that is kept, the one that is served included."""

import secrets
from typing import Any

from app.cache.connect import Client
from app.contracts.recommendations import Manifest, Namespace, blank, take_out


def delete(client: Client, namespace: Namespace, user: str) -> int:
    """How many generations had a list of the user; none has now.

    The rest of a generation stays as it is and verifies as before. Every worker then forgets what
    it holds. A run that writes one now may know the user still. A generation whose manifest cannot
    be read is left alone. Raises what the client raises.
    """
    server: Any = client
    kept, _ = namespace.readable(server.hgetall(namespace.generations))
    had = sum([_delete(server, namespace, manifest, user) for manifest in kept])
    server.setrange(namespace.deletion, 0, secrets.token_hex(8))
    return had


def _delete(client: Any, namespace: Namespace, manifest: Manifest, user: str) -> bool:
    bucket, name = manifest.user_place(namespace, user)
    sample = namespace.sample(manifest.generation)
    if place := blank(client.get(sample) or b"", user):
        client.setrange(sample, *place)
    return take_out(client, bucket, name)
