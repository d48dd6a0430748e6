"""A click model on its way from the cache, in parts; never in a request."""

from typing import Any

from app.clicks.scorer import Scorer
from app.contracts.clicks import BODY_PART_BYTES, Clicks, Manifest, body_part
from app.contracts.generations import BrokenRecord


def load(client: Any, space: Clicks, name: str) -> Scorer:
    """The model of that generation, ready to answer.

    No more parts are read than the manifest counts, and none after one that is not whole. Raises
    BrokenRecord and the errors of the client.
    """
    text = client.hget(space.generations, name)
    if text is None:
        raise BrokenRecord(f"click model {name} is live but has no manifest")
    manifest = space.read(text)
    if manifest.generation != name:
        raise BrokenRecord(f"click model {name} has the manifest of {manifest.generation}")
    found = Scorer(manifest, _body(client, space, manifest))
    found.warm_up()
    return found


def _body(client: Any, space: Clicks, manifest: Manifest) -> bytes:
    body = bytearray()
    for number in range(manifest.body_parts):
        part = client.get(space.part(manifest.generation, body_part(number))) or b""
        if len(part) != min(BODY_PART_BYTES, manifest.body_bytes - len(body)):
            raise BrokenRecord(f"click model {manifest.generation} has lost a part of its body")
        body += part
    return bytes(body)
