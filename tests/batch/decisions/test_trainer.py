"""The trainer: every decision is learned once, whatever dies, is away, or is changed meanwhile."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.contracts.decisions import MODEL, Configuration, Decisions, Manifest
from app.contracts.recommendations import Namespace
from batch.decisions import logs, trainer
from batch.decisions.log import Log
from batch.generations.registry import Generations
from tests.batch.decisions.logged import taste, write

SETTINGS = Configuration(wait_ms=2000, export_ms=1, retention_days=-1)


@pytest.fixture
def space(namespace: Namespace, client: Any) -> Decisions:
    made = Decisions(namespace.name)
    configure(client, made)
    return made


def configure(client: Any, space: Decisions, **changed: Any) -> None:
    client.hset(space.desk, "configuration", replace(SETTINGS, **changed).to_json())


def once(client: Any, space: Decisions, folder: Path | None = None, keep: int = 3) -> Manifest:
    """Learn all there is; returns what is live then."""
    trainer.once(client, Log(client, space), space, folder, keep)
    live = Generations(client, space).live_manifest()
    assert live is not None
    return live


def model(client: Any, space: Decisions, manifest: Manifest) -> bytes:
    found: bytes = client.get(space.part(manifest.generation, MODEL))
    return found


def test_all_that_has_closed_is_learned_once(client: Any, space: Decisions, tmp_path: Path) -> None:
    write(client, space, taste(300))
    first = once(client, space, tmp_path)
    rows = [*logs.read(tmp_path)]
    assert first.events == sum(row.counts for row in rows) > 250
    assert client.xlen(space.log) < 100
    assert once(client, space, tmp_path) == first
    assert [*logs.read(tmp_path)] == rows
