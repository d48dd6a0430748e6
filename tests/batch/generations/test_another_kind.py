"""A generation of another kind is published, rolled back and deleted by the same code."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest

from app.contracts.generations import BrokenRecord, Manifest, Parts, Space
from app.contracts.recommendations import Namespace
from batch.generations.connect import Client
from batch.generations.parts import Strings
from batch.generations.publish import turn
from batch.generations.registry import Generations
from batch.progress import Advance
from tests.generations import keys_of, publish_by_hand


@dataclass(frozen=True, slots=True)
class Model(Manifest):
    """The manifest of a model of so many trees; it has one part."""

    generation: str
    trees: int
    state: str = "writing"
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    forced: bool = False
    code_version: str = "0"
    started_at: str = ""
    published_at: str = ""
    checksum: str = ""
    schema: int = 1

    def parts(self) -> Iterator[Parts]:
        yield Parts("string", ["model"], None)


@dataclass(frozen=True, slots=True)
class Models(Space[Model]):
    infix: ClassVar[str] = "models:"

    def read(self, manifest: str | bytes) -> Model:
        return Model.from_json(manifest)


class Written(Strings):
    def completed(self, client: Client, manifest: Model) -> Model:
        return replace(manifest, trees=7)


@dataclass(frozen=True, slots=True)
class Contents:
    space: Models

    def write(self, client: Client, manifest: Model, advance: Advance) -> Written:
        written = Written()
        written.write(client, [(self.space.part(manifest.generation, "model"), b"seven trees")])
        advance(1)
        return written


def test_it_lives_beside_the_lists_of_its_namespace(client: Any, namespace: Namespace) -> None:
    lists, models = publish_by_hand(client, namespace), Models(namespace.name)
    known = Generations(client, models)
    for name in ("20260101T000000Z-0001", "20260102T000000Z-0002", "20260103T000000Z-0003"):
        with turn(client, models, keep=1) as ours:
            ours.publish(Model(name, trees=0), Contents(models), lambda done: None)
    newest, left = known.all()[::-1]
    assert (newest.trees, newest.state, known.live()) == (7, "complete", newest.generation)
    assert known.roll_back().generation == left.generation == "20260102T000000Z-0002"
    assert client.get(f"larder:1:{namespace.name}:models:{left.generation}:model") == b"seven trees"
    assert Generations(client, namespace).live_manifest() == lists
    for each in known.all():
        assert known.delete(each) == (each.generation != left.generation)
    assert {key for key in keys_of(client, namespace) if ":models:" in key} == {
        models.live,
        models.generations,
        *left.keys(models),
    }


def test_its_manifest_is_that_of_its_kind_only(namespace: Namespace) -> None:
    with pytest.raises(BrokenRecord, match="lacks a field"):
        namespace.read(Model("20260101T000000Z-0001", trees=1).to_json())
