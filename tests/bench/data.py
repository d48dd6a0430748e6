"""The data of the benchmarks: public sets, decklists if there are any, and generated pairs."""

import os
from pathlib import Path

import duckdb
import numpy as np

from batch.datasets import movielens
from batch.interactions.layout import PRESETS, Layout
from batch.interactions.load import load
from batch.interactions.pairs import Interactions

FETCHED = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "larder"


def public() -> dict[str, tuple[Path, Layout]]:
    """MovieLens in three sizes: name -> (file, layout)."""
    return {
        "ml-100k": (movielens.fetch("ml-100k", FETCHED), PRESETS["ml-100k"]),
        "ml-1m": (movielens.fetch("ml-1m", FETCHED), PRESETS["ml-100k"]),
        "ml-latest-small": (movielens.SMALL / "ratings.csv", PRESETS["ml-latest"]),
    }


def decklists(events: Path, folder: Path) -> Path:
    """The distinct (user, item) pairs of a Parquet file of events with user_id and item_id."""
    pairs = folder / "decklists.parquet"
    with duckdb.connect() as database:
        database.read_parquet(str(events)).project(
            "user_id AS user, item_id AS item"
        ).distinct().write_parquet(str(pairs))
    return pairs


def decklists_by_day(events: Path, folder: Path) -> Path:
    """The same pairs with the first day on which each was seen, as a timestamp."""
    pairs = folder / "decklists-by-day.parquet"
    with duckdb.connect() as database:
        database.read_parquet(str(events)).aggregate(
            "user_id AS user, item_id AS item, min(day) * 86400 AS timestamp", "user_id, item_id"
        ).write_parquet(str(pairs))
    return pairs


def generated(users: int, items: int, pairs_per_user: int, folder: Path) -> Path:
    """Pairs in which users of 50 tastes like items by a Zipf law of exponent 1 within the taste."""
    rng = np.random.default_rng(42)
    path = folder / f"generated-{users}-{items}.parquet"
    user = np.repeat(np.arange(users), pairs_per_user)
    taste = (user * 7919) % 50
    rank = np.exp(rng.random(len(user)) * np.log(items)).astype(np.int64)
    item = ((rank - 1) * 50 + taste) % items
    with duckdb.connect() as database:
        database.register("drawn", {"user": user, "item": item})
        database.table("drawn").distinct().write_parquet(str(path))
    return path


def loaded(path: Path, layout: Layout = PRESETS["larder"]) -> Interactions:
    """The interactions of a file that is known to be right."""
    return load(path, layout, max_rejects=0.0)
