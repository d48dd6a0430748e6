"""A user is taken out of every generation that is kept, the one that is served included."""

import logging
from collections.abc import Iterator
from typing import Any

from app.cache.connect import Client
from app.contracts.recommendations import Manifest, Namespace, nobody, without

log = logging.getLogger("larder.cache")


def delete(client: Client, namespace: Namespace, user: str) -> int:
    """How many generations had a list of the user; none has now.

    The rest of a generation stays as it is and verifies as before. A run that writes one now may
    know the user still. Raises BrokenRecord and what the client raises.
    """
    return sum(_delete(client, namespace, each, user) for each in _kept(client, namespace))


def _kept(client: Any, namespace: Namespace) -> Iterator[Manifest]:
    for text in client.hvals(namespace.generations):
        yield Manifest.from_json(text)


def _delete(client: Any, namespace: Namespace, manifest: Manifest, user: str) -> bool:
    bucket, name = manifest.user_place(namespace, user)

    def replace(pipeline: Any) -> bool:
        had = bool(pipeline.hexists(bucket, name))
        pipeline.multi()
        if had:
            pipeline.hset(bucket, nobody(), b"")
            pipeline.hdel(bucket, name)
        return had

    def thin(pipeline: Any) -> None:
        sample = pipeline.get(namespace.sample(manifest.generation))
        pipeline.multi()
        if sample is not None and (kept := without(sample, user)) != sample:
            pipeline.set(namespace.sample(manifest.generation), kept)

    client.transaction(thin, namespace.sample(manifest.generation))
    return bool(client.transaction(replace, bucket, value_from_callable=True))
