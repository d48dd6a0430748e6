"""Take one user's columns out of every click model that is published."""

from typing import Any

from app.cache.connect import Client
from app.contracts.clicks import Clicks, Manifest
from app.contracts.recommendations import take_out


def delete(client: Client, space: Clicks, user: str) -> int:
    """How many models had columns of the user; none has now.

    The rest of a generation stays as it is, and verifies as before. One whose manifest cannot be
    read is left alone. Raises what the client raises.
    """
    server: Any = client
    kept, _ = space.readable(server.hgetall(space.generations))
    return sum([_delete(server, space, manifest, user) for manifest in kept])


def _delete(client: Any, space: Clicks, manifest: Manifest, user: str) -> bool:
    has_users = bool(manifest.user_buckets)
    return has_users and take_out(client, *manifest.user_place(space, user))
