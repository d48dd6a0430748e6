"""The versions of the rules that the cache holds."""

from typing import Any

from app.contracts.rules import KEPT_VERSIONS, Version, kept_numbers, readable


def read(client: Any, key: str, number: int) -> Version:
    """That version. Raises BrokenRecord when it is not there any more, and as the client does."""
    return Version.from_json(number, client.hget(key, str(number)))


def latest(client: Any, key: str) -> Version:
    """The version in force. Raises as ``read``."""
    return read(client, key, client.hlen(key))


def kept(client: Any, key: str) -> list[Version]:
    """Those that can be read, the newest first. Raises as the client does."""
    numbers = kept_numbers(client.hlen(key))
    return list(readable(numbers, client.hmget(key, numbers) if numbers else ()))


def write(client: Any, key: str, version: Version) -> bool:
    """Put it in force, unless another writer took its number. Raises as the client does."""
    if not client.hsetnx(key, str(version.number), version.to_json()):
        return False
    if (old := version.number - KEPT_VERSIONS) > 0:
        client.hset(key, str(old), "")
    return True
