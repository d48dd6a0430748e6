"""A shop of 100,000 items with columns, so that filters and rules have something to do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from app.contracts.recommendations import Namespace
from app.contracts.rules import Version, rules_key
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.interactions.filters import FilterColumn, Packed
from batch.recommendations.engines.engine import Scale
from batch.recommendations.live import Live
from tests.generations import live_contents

ITEMS, USERS, WIDTH, GENRES = 100_000, 500, 64, 20
SHARES = (50, 10, 1)
"""Percent of the items that a filter leaves: ``share:..<percent>``."""
RULES: Mapping[str, Mapping[str, Any]] = {
    "shop": {},
    "capped": {"cap": {"column": "genre", "most": 2}},
    "varied": {"diversity": 0.3},
}


def publish_shop(client: Any, name: str) -> None:
    """A live generation, whose factors are as long as by a power law, under the RULES of a name."""
    rng, namespace = np.random.default_rng(7), Namespace(name)
    users, items = [f"u{n}" for n in range(USERS)], [f"i{n}" for n in range(ITEMS)]
    manifest, made = live_contents(namespace, users, items, k=10, stored=50, width=WIDTH)
    lengths = rng.pareto(3.0, (ITEMS, 1)) + 0.2
    factors = (rng.standard_normal((ITEMS, WIDTH)) * lengths).astype(np.float32)
    people = rng.standard_normal((USERS, WIDTH)).astype(np.float32)
    genres, shares = rng.integers(0, GENRES, ITEMS), rng.uniform(0, 100, ITEMS)
    columns = Packed.of(
        [
            FilterColumn("genre", "category", {i: [str(g)] for i, g in zip(items, genres)}),
            FilterColumn("share", "number", dict(zip(items, shares.tolist()))),
        ],
        items,
    )
    live = Live(factors, people.mean(axis=0, dtype=np.float64), Scale(confidence=6.0, penalty=2.0))
    manifest = replace(manifest, columns=[each.entry() for each in columns.columns])
    with hold(client, namespace) as lease:
        publish(client, namespace, manifest, replace(made, live=live, columns=columns), lease)
    version = Version(1, "", "", "", dict(RULES[name]))
    client.hset(rules_key(name), "1", version.to_json())
