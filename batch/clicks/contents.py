"""What a generation of click models holds, as the cache keeps it: the body in parts, users."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from app.contracts.clicks import (
    BODY_PART_BYTES,
    Clicks,
    Linear,
    Manifest,
    body_part,
    decode_tables,
    row_names,
    user_part,
)
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import EMPTY_BUCKET, bucket_of
from app.contracts.trees import unpacked
from batch.clicks.fit import trees
from batch.clicks.model import Model
from batch.errors import UnknownGeneration
from batch.generations.connect import Client, cache_errors
from batch.generations.parts import Hashes, Strings
from batch.progress import Advance


@dataclass(slots=True)
class Written:
    """What was written of a generation."""

    body: Strings = field(default_factory=Strings)
    users: Hashes = field(default_factory=Hashes)

    @property
    def checksum(self) -> int:
        return self.body.checksum + self.users.checksum

    def verify(self, client: Client) -> None:
        self.body.verify(client)
        self.users.verify(client)

    def completed(self, client: Client, manifest: Manifest) -> Manifest:
        return manifest


@dataclass(frozen=True, slots=True)
class Contents:
    """sections: see ``Model.sections``; users: by field, the columns of each as a JSON object."""

    space: Clicks
    sections: Mapping[str, bytes]
    users: Mapping[bytes, bytes] = field(default_factory=dict)

    def write(self, client: Client, manifest: Manifest, advance: Advance) -> Written:
        written, name, body = Written(), manifest.generation, b"".join(self.sections.values())
        for number in range(manifest.body_parts):
            part = body[number * BODY_PART_BYTES : (number + 1) * BODY_PART_BYTES]
            written.body.write(client, [(self.space.part(name, body_part(number)), part)])
            advance(len(part))
        for key, bucket in self._buckets(manifest):
            written.users.write(client, [(key, bucket)])
            advance(sum(map(len, bucket.values())))
        return written

    @property
    def size(self) -> int:
        """Bytes of all values, as far as ``write`` advances."""
        return sum(map(len, self.sections.values())) + sum(map(len, self.users.values()))

    def _buckets(self, manifest: Manifest) -> Iterator[tuple[str, Mapping[bytes, bytes]]]:
        buckets: list[dict[bytes, bytes]] = [{} for _ in range(manifest.user_buckets)]
        for name, columns in self.users.items():
            buckets[bucket_of(name, len(buckets))][name] = columns
        for number, bucket in enumerate(buckets):
            yield self.space.part(manifest.generation, user_part(number)), bucket or EMPTY_BUCKET


def expect_usable(model: Model) -> None:
    """Raise BrokenRecord unless a worker can answer from what is published of a model."""
    sections, width = model.sections(), len(row_names(model.columns))
    decode_tables(sections["tables"], len(model.tables))
    if model.linear:
        numbers = sum(each.kind == "number" for each in model.columns)
        Linear.decode(sections["linear"], numbers)
    text = unpacked(sections["trees"], width)
    if not np.isfinite(trees.log_odds(text, np.zeros((1, width), np.float32))).all():
        raise BrokenRecord("the trees give a score that is no number")


def read_model(client: Client, space: Clicks, manifest: Manifest) -> Model:
    """The model of a generation.

    Raises CacheUnavailable, UnknownGeneration when a part is gone, and BrokenRecord.
    """
    keys = [space.part(manifest.generation, body_part(n)) for n in range(manifest.body_parts)]
    with cache_errors():
        parts = [client.get(key) for key in keys]
    for key, part in zip(keys, parts, strict=True):
        if part is None:
            raise UnknownGeneration(f"{manifest.generation} is not whole any more: {key} is gone")
    return Model.of(manifest, b"".join(parts))


def read_users(client: Client, space: Clicks, manifest: Manifest) -> Iterator[tuple[bytes, bytes]]:
    """The field and the columns of each user, a bucket at a time. Raises CacheUnavailable."""
    for number in range(manifest.user_buckets):
        with cache_errors():
            bucket = client.hgetall(space.part(manifest.generation, user_part(number)))
        yield from ((name, value) for name, value in bucket.items() if name)
