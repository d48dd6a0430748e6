"""What has happened to the lists of a namespace: a record at the end of each run."""

from app.contracts.refreshes import KEPT, Refresh, refreshes_key
from batch.generations.connect import Client, cache_errors


def note(client: Client, namespace: str, record: Refresh) -> None:
    """Add a record, the newest first. Raises CacheUnavailable."""
    key = refreshes_key(namespace)
    with cache_errors():
        client.lpush(key, record.to_json())
        client.ltrim(key, 0, KEPT - 1)
