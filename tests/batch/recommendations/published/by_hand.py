"""Generations whose lists a test says one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.contracts.recommendations import Manifest, Namespace
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.recommendations.topk import Lists
from tests.generations import contents


def publish_lists(
    client: Any,
    namespace: Namespace,
    generation: str,
    lists: Mapping[str, Sequence[str]],
    items: list[str],
    k: int = 3,
    popular: frozenset[str] = frozenset(),
    **told: Any,
) -> Manifest:
    """lists: user -> items, best first, with scores of 1, 1/2, 1/3; popular: whose are that."""
    users = list(lists)
    manifest, made = contents(namespace, users, items, k)
    table = np.zeros((len(users), k), np.int32)
    for row, each in enumerate(lists.values()):
        table[row, : len(each)] = [items.index(item) for item in each]
    every = Lists(
        table,
        np.broadcast_to(1 / np.arange(1, k + 1), table.shape).astype(np.float32),
        np.array([len(each) for each in lists.values()], np.int32),
        np.array([user in popular for user in users], bool),
    )

    def of(rows: Any) -> Lists:
        assert every.popular is not None
        return replace(every.rows(rows), popular=every.popular[rows])

    manifest = replace(manifest, generation=generation, **told)
    with hold(client, namespace) as lease:
        return publish(client, namespace, manifest, replace(made, user_lists=of), lease)
