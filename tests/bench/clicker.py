"""A click model as large as one of Criteo's columns, which scores noise, and requests to it."""

import json
from typing import Any

import lightgbm
import numpy as np

from app.contracts.clicks import Clicks, Column, row_names, value_key
from batch.clicks.model import Model, Values
from tests.clicks import publish_by_hand

COLUMNS = (
    *(Column(f"i{number}", "number") for number in range(1, 14)),
    *(Column(f"c{number}", "category") for number in range(1, 27)),
)
OF_ITEMS = 13
"""The last columns are an item's; all others are the user's and the moment's."""

VALUES = 2000
TREES, LEAVES = 300, 31
ROWS = 20_000


def publish_clicker(client: Any, namespace: str) -> None:
    """Publish the model: 300 trees of 31 leaves over 39 columns, with 52,000 values in tables."""
    rng = np.random.default_rng(1)
    matrix = rng.random((ROWS, len(row_names(COLUMNS))), np.float32)
    clicked = rng.random(ROWS) < matrix[:, :13].mean(axis=1) ** 2
    settings = {"objective": "binary", "num_leaves": LEAVES, "verbosity": -1, "num_threads": 2}
    booster = lightgbm.train(settings, lightgbm.Dataset(matrix, clicked), TREES)
    tables = [_values(column.name, rng) for column in COLUMNS if column.kind == "category"]
    made = Model(COLUMNS, 0.3, tables, booster.model_to_string(), TREES)
    publish_by_hand(client, Clicks(namespace), made=made)


def _values(name: str, rng: np.random.Generator) -> Values:
    found = [value_key(f"{name}-{number}") for number in range(VALUES)]
    keys = np.sort(np.array(found, np.uint64))
    means, shares, weights = rng.random((3, VALUES), np.float32)
    return Values(keys, means, shares, weights)


def bodies(candidates: int, count: int = 200, explain: bool = False) -> list[str]:
    """Requests of so many candidates, each with another user and other items."""
    rng = np.random.default_rng(candidates)
    return [json.dumps(_body(rng, candidates, explain)) for _ in range(count)]


def _body(rng: np.random.Generator, candidates: int, explain: bool) -> dict[str, Any]:
    items = [
        {"id": f"item-{rng.integers(10**6)}", "features": _features(rng, COLUMNS[-OF_ITEMS:])}
        for _ in range(candidates)
    ]
    body = {"features": _features(rng, COLUMNS[:-OF_ITEMS]), "items": items}
    return {**body, "explain": True} if explain else body


def _features(rng: np.random.Generator, columns: tuple[Column, ...]) -> dict[str, Any]:
    """As people write them; one value in fifty is in no table."""
    return {
        each.name: (
            round(float(rng.random()), 3)
            if each.kind == "number"
            else f"{each.name}-{int(rng.random() ** 3 * VALUES * 1.02)}"
        )
        for each in columns
    }
