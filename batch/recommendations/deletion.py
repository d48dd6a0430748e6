"""Take one user out of everything that is published, so that every generation stays whole."""

from app.contracts.recommendations import Manifest, Namespace, nobody, without
from batch.generations.connect import Client, cache_errors
from batch.generations.registry import Generations


def forget(client: Client, namespace: Namespace, user: str) -> int:
    """Take a user out of the lists and the sample of each generation; return how many had them.

    A field that is nobody's stands in, so that a generation still holds as many as its manifest
    says, and can be rolled back to. Only for the holder of the lock: a refresh would write the user
    anew. Raises CacheUnavailable, or UnicodeEncodeError for a user that is no text.
    """
    found = Generations(client, namespace).all()
    return sum([_forget(client, namespace, manifest, user) for manifest in found])


def _forget(client: Client, namespace: Namespace, manifest: Manifest, user: str) -> bool:
    bucket, name = manifest.user_place(namespace, user)
    key = namespace.sample(manifest.generation)
    with cache_errors():
        had = bool(client.hexists(bucket, name))
        if had:  # in this order a bucket is never too small, nor empty and so gone
            client.hset(bucket, nobody(), b"")
            client.hdel(bucket, name)
        sample: bytes = client.get(key) or b""
        left = without(sample, user) if sample else sample
        if left != sample:
            client.set(key, left)
    return had or left != sample
