"""What a generation of decisions holds, as the cache keeps it: one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from app.contracts.decisions import MODEL, Decisions, Manifest, Policy
from batch.errors import UnknownGeneration
from batch.generations.connect import Client, cache_errors
from batch.generations.parts import Strings
from batch.generations.publish import code_version
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


def manifest_of(
    generation: str,
    started: datetime,
    policy: Policy,
    model: bytes,
    position: str,
    events: int,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Manifest:
    """The manifest of a model that is to be published; see ``Manifest``."""
    digest = sha256(model).hexdigest()
    return Manifest(
        generation=generation,
        state="writing",
        policy=policy.name,
        arguments=policy.arguments,
        position=position,
        events=events,
        bytes=len(model),
        hash=digest,
        vowpal=version("vowpalwabbit"),
        settings=dict(settings),
        metrics=dict(metrics),
        fingerprint=digest[:16],
        forced=False,
        code_version=code_version(),
        started_at=started.isoformat(timespec="seconds"),
    )


def read_model(client: Client, space: Decisions, manifest: Manifest) -> bytes:
    """The model of a generation. Raises CacheUnavailable, or UnknownGeneration for a broken one."""
    key = space.part(manifest.generation, MODEL)
    with cache_errors():
        model: bytes = client.get(key) or b""
    if sha256(model).hexdigest() != manifest.hash:
        raise UnknownGeneration(f"{manifest.generation} is not whole any more: see {key}")
    return model
