"""Take one user's columns out of every click model that is published."""

from typing import Any

from app.cache.connect import Client
from app.contracts.clicks import Clicks


def delete(client: Client, space: Clicks, user: str) -> int:
    """How many models had columns of the user; none has now.

    The rest of a generation stays as it is, and verifies as before. One whose manifest cannot be
    read is left alone. Raises what the client raises.
    """
    server: Any = client
    kept, _ = space.readable(server.hgetall(space.generations))
    return sum([manifest.take_out(server, space, user) for manifest in kept])
