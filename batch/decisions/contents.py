"""What a generation of decisions holds, as the cache keeps it: one model."""

from dataclasses import dataclass
from hashlib import sha256

from app.contracts.decisions import MODEL, Decisions, Manifest
from batch.errors import UnknownGeneration
from batch.generations.connect import Client, cache_errors
from batch.generations.parts import Strings
from batch.progress import Advance


class Written(Strings):
    """What was written of a generation."""

    def completed(self, client: Client, manifest: Manifest) -> Manifest:
        return manifest


@dataclass(frozen=True, slots=True)
class Contents:
    """model: as ``Learner.save`` returns it."""

    space: Decisions
    model: bytes

    def write(self, client: Client, manifest: Manifest, advance: Advance) -> Written:
        written = Written()
        written.write(client, [(self.space.part(manifest.generation, MODEL), self.model)])
        advance(len(self.model))
        return written


def read_model(client: Client, space: Decisions, manifest: Manifest) -> bytes:
    """The model of a generation. Raises CacheUnavailable, or UnknownGeneration for a broken one."""
    key = space.part(manifest.generation, MODEL)
    with cache_errors():
        model: bytes = client.get(key) or b""
    if sha256(model).hexdigest() != manifest.hash:
        raise UnknownGeneration(f"{manifest.generation} is not whole any more: see {key}")
    return model
