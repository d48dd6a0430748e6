"""The versions of the rules that the cache holds."""

from collections.abc import Iterator
from typing import Any

from app.contracts.generations import BrokenRecord
from app.contracts.rules import KEPT_VERSIONS, Version
from app.recommendations.rules.in_force import NONE


def read(client: Any, key: str, number: int) -> Version:
    """That version. Raises BrokenRecord when it is not there any more, and as the client does."""
    text: bytes | None = client.hget(key, str(number)) if number else b""
    return Version.from_json(number, text or b"") if number else NONE


def latest(client: Any, key: str) -> Version:
    """The version in force. Raises as ``read``."""
    return read(client, key, client.hlen(key))


def kept(client: Any, key: str) -> Iterator[Version]:
    """Those that can be read, the newest first. Raises as the client does."""
    last: int = client.hlen(key)
    numbers = range(last, max(last - KEPT_VERSIONS, 0), -1)
    texts = client.hmget(key, [str(number) for number in numbers]) if last else []
    for number, text in zip(numbers, texts, strict=True):
        try:
            yield Version.from_json(number, text or b"")
        except BrokenRecord:
            continue


def write(client: Any, key: str, version: Version) -> bool:
    """Put it in force, unless another writer took its number. Raises as the client does."""
    if not client.hsetnx(key, str(version.number), version.to_json()):
        return False
    if (old := version.number - KEPT_VERSIONS) > 0:
        client.hset(key, str(old), "")
    return True
