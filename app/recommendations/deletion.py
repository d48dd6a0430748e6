"""A user is taken out of every generation that is kept, the one that is served included."""

import secrets
from typing import Any

from app.cache.connect import Client
from app.contracts.recommendations import Namespace


def delete(client: Client, namespace: Namespace, user: str) -> int:
    """How many generations had a list of the user; none has now.

    The rest of a generation stays as it is and verifies as before. Every worker then forgets what
    it holds. A run that writes one now may know the user still. A generation whose manifest cannot
    be read is left alone. Raises what the client raises.
    """
    server: Any = client
    kept, _ = namespace.readable(server.hgetall(namespace.generations))
    had = sum([manifest.take_out(server, namespace, user) for manifest in kept])
    server.setrange(namespace.deletion, 0, secrets.token_hex(8))
    return had
