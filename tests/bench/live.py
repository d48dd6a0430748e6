"""What following users is worth: ``make bench-live [DECKLISTS=events.parquet]``.

By the code that serves, from the bytes that are published. Known users: the first seven tenths of
each user's history are trained on, the next tenth happens afterwards, the last fifth is judged on.
Newcomers: a tenth of the users is left out of the training, does n things, and is judged on the
rest. k = 10, full ranking, the defaults of ``larder refresh --live`` and of each engine.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from app.contracts.events import MAX_RECENT, Recent
from app.contracts.recommendations import MODEL, Namespace, decode_record, encode_value
from app.contracts.rules import NONE
from app.recommendations.generation import Generation
from app.recommendations.live.following import near_to, remember
from app.recommendations.live.recent import NOTHING, Recents
from app.recommendations.memory.factors import Factors, laid_out
from app.recommendations.memory.near_cache import Entries, NearCache, Remembered
from app.recommendations.model import Model
from app.recommendations.rules.in_force import InForce
from batch.command.output.table import table
from batch.datasets import movielens
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.interactions.pairs import Interactions
from batch.interactions.sources.layout import PRESETS, Layout
from batch.recommendations.engines.blend import blended
from batch.recommendations.engines.engine import Fitted
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from batch.recommendations.engines.make import shares
from batch.recommendations.histories import histories
from batch.recommendations.judge.catalogue import Catalogue
from batch.recommendations.judge.evaluate import PerUser, _hits, evaluate, ndcg
from batch.recommendations.judge.split import hold_out
from batch.recommendations.lists import encode_lists
from batch.recommendations.live import Live
from batch.recommendations.recommend import Crowd, recommend, with_vectors
from batch.recommendations.terms import BLEND, HISTORY, Holdout, popular_entries, stored_of
from batch.recommendations.topk import BLOCK, Lists, popular_list, popularity
from tests.bench import data
from tests.generations import MANIFEST, contents, live_contents
from tests.servers import Server

K = 10
STORED = stored_of(K)
CLICK = "click"
EVENTS = (1, 3, 5, 10)
USERS, WIDTH = 100_000, 128

Indices = NDArray[np.int64]
Similar = Sequence[Entries]
Way = tuple[Generation, Sequence[bytes], Sequence[Recents], Similar]
"""A generation, its values, what users did, and the similar items, which are asked for then."""


class Counted(np.ndarray[Any, Any]):
    """Rows of factors that note down how many of them were multiplied by a vector in order."""

    rows = 0

    def __matmul__(self, other: Any) -> Any:
        if not self.flags.owndata and np.ndim(other) == 1:  # a slice: what is picked is a copy
            Counted.rows += len(self)
        return np.asarray(self) @ other


class Served:
    """A live generation that was trained on some interactions, as a worker holds it."""

    def __init__(self, seen: Interactions, weights: csr_matrix, fitted: Fitted) -> None:
        self.items = seen.items
        self.fitted = fitted
        self.crowd = Crowd(popularity(weights))
        self.values: list[bytes] = []
        for first in range(0, len(seen.users), BLOCK):
            users = np.arange(first, min(first + BLOCK, len(seen.users)))
            lists = recommend(self.fitted, self.crowd, weights, users, STORED)
            self.values += encode_lists(with_vectors(lists, self.fitted.users[users]))
        self.manifest = replace(
            MANIFEST,
            items=len(seen.items),
            k=K,
            stored=STORED,
            factors=self.fitted.users.shape[1],
            similar_buckets=1,
            settings={"event_weights": {CLICK: float(np.median(seen.weight))}},
        )

    def generation(self, model: Model | None = None) -> Generation:
        (popular,) = encode_lists(popular_list(self.crowd.share, popular_entries(K, STORED)))
        find = {item: number for number, item in enumerate(self.items)}.get
        rules = InForce(NONE, self.manifest.items, find, None, model)
        return Generation(
            self.manifest, lambda item: b"", Remembered(popular), NearCache(0), find, rules, model
        )

    def model(self) -> Model | None:
        """What follows users, from the bytes that are published; None without factors."""
        if (live := Live.of(self.fitted)) is None:
            return None
        parts = dict(live.parts())
        packed = b"".join(laid_out(self.manifest, parts.pop(MODEL), parts.values()))
        made = Model(Factors.of(memoryview(packed), self.manifest))
        made._rows = made._rows.view(Counted)
        return made

    def similar(self) -> Similar:
        """What requests ask for where there is no model: the similar items of each item."""
        if self.manifest.factors:
            return ()
        nearest, items = self.fitted.scorer.nearest(), np.arange(len(self.items))
        made = (nearest(items[at : at + BLOCK], K, 0) for at in range(0, len(items), BLOCK))
        return [decode_record(record) for lists in made for record in encode_lists(lists)]


def served(seen: Interactions) -> dict[str, Served]:
    """A generation of each engine."""
    weights = seen.matrix()
    als, knn = (each.fit(weights, lambda done: None) for each in (ImplicitALS(), ItemKNN()))
    fits = {"als": als, "knn": knn, "blend": blended((als, knn), tuple(shares(BLEND).values()))}
    return {name: Served(seen, weights, fitted) for name, fitted in fits.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decklists", type=Path, help="a Parquet file with user_id, item_id, day")
    arguments = parser.parse_args()
    known, newcomers, own = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        films = movielens.SMALL / "ratings.csv"
        sets: dict[str, tuple[Path, Layout]] = {"ml-latest-small": (films, PRESETS["ml-latest"])}
        if arguments.decklists:
            pairs = data.decklists_by_day(arguments.decklists, Path(folder))
            sets["decklists"] = (pairs, PRESETS["larder"])
        for name, (path, layout) in sets.items():
            interactions = data.loaded(path, layout)
            own.append([name, *_own(interactions)])
            known += [[name, *row] for row in _known(interactions)]
            folds = 1 if name == "decklists" else 10
            newcomers += [[name, *row] for row in _newcomers(interactions, folds)]
    head = ["known users", "engine", "users", "stale", "+ exclusion", "live", "retrained"]
    head += ["recovered"]
    print(table(head, known))
    print("target: live recovers >= 70% of retrained - stale\n")
    head = ["newcomers", "engine", "events", "users", "popular", "live", "gain", "rows scanned"]
    print(table(head, newcomers))
    print("target: a gain at each\n")
    print(table(["100,000 users", "bytes/user"], _memory()) + "\n")
    head = ["history", "items a user", "bytes a user, mean", "median", "longest", "bytes an item"]
    print(table(head, own))


def _own(interactions: Interactions) -> list[str]:
    """What the users' own items take behind their lists."""
    seen = interactions.matrix()
    lengths = np.array([len(encode_value(b"", b"", own)) for own in histories(seen, None, HISTORY)])
    numbers = lengths.mean(), np.median(lengths), lengths.max()
    items = f"{seen.nnz / len(lengths):.0f}"
    return [items, *(f"{number:,.0f}" for number in numbers), f"{lengths.sum() / seen.nnz:.1f}"]


def _known(interactions: Interactions) -> list[list[str]]:
    """A row for each engine."""
    before, judged = hold_out(interactions, Holdout("chronological", 0.2))
    train, during = hold_out(before, Holdout("chronological", 0.125))
    recents = _recents(during)
    wanted = _of(judged.matrix(), np.flatnonzero(np.diff(during.matrix().indptr)))
    again, catalogue = served(before), Catalogue.of(train.matrix())
    rows = []
    for engine, stale in served(train).items():
        rows.append([engine, *_followed(stale, again[engine], recents, wanted, catalogue)])
        print(*rows[-1], file=sys.stderr, flush=True)
    return rows


def _followed(
    stale: Served,
    again: Served,
    recents: Sequence[Recents],
    wanted: csr_matrix,
    catalogue: Catalogue,
) -> list[str]:
    """What is known users' of following them, beside a refresh."""
    plain, live, similar = stale.generation(), stale.generation(stale.model()), stale.similar()
    nothing = [NOTHING] * len(recents)
    ways: list[Way] = [
        (plain, stale.values, nothing, ()),
        (plain, stale.values, recents, ()),
        (live, stale.values, recents, similar),
        (again.generation(), again.values, nothing, ()),
    ]

    def made(way: Way, users: Indices) -> Lists:
        generation, values, told, near = way
        mine = [values[user] for user in users], [told[user] for user in users]
        return _lists(generation, *mine, near)

    measured = [evaluate(partial(made, way), wanted, catalogue, K) for way in ways]
    first, _, moved, last = (each.ndcg for each in measured)
    texts = [f"{each.ndcg:.3f} ({_interval(each.intervals['ndcg'])})" for each in measured]
    return [f"{measured[0].users:,}", *texts, f"{(moved - first) / (last - first):.0%}"]


def _newcomers(interactions: Interactions, folds: int) -> list[list[str]]:
    """Each fold leaves out another tenth of the users."""
    counts = np.diff(interactions.matrix().indptr)
    chance = np.random.default_rng(42).permutation(len(counts))
    measured = [
        _strangers(interactions, chance[(chance % 10 == fold) & (counts[chance] > 2 * EVENTS[-1])])
        for fold in range(folds)
    ]
    rows = []
    for engine, count in measured[0]:
        ours, theirs, scanned = (
            np.concatenate(each) for each in zip(*(fold[engine, count] for fold in measured))
        )
        gain = ours - theirs
        rows.append(
            [
                engine,
                str(count),
                f"{len(gain):,}",
                f"{theirs.mean():.3f}",
                f"{ours.mean():.3f}",
                f"{gain.mean():+.3f} +-{1.96 * gain.std() / np.sqrt(len(gain)):.3f}",
                f"{scanned.mean():.1%}",
            ]
        )
    return rows


def _strangers(
    interactions: Interactions, some: Indices
) -> dict[tuple[str, int], tuple[PerUser, ...]]:
    """By engine and number of events: nDCG@10 of each user, that of most-popular, share scanned.

    A blend is left out, whose newcomers get what its factors alone say.
    """
    is_new = np.isin(interactions.user, some)
    found: dict[tuple[str, int], tuple[PerUser, ...]] = {}
    nobody = [None] * len(some)
    for engine, each in served(_picked(interactions, ~is_new)).items():
        if engine == "blend":
            continue
        plain, live, similar = each.generation(), each.generation(each.model()), each.similar()
        for count in EVENTS:
            first, rest = _first(_picked(interactions, is_new), count)
            recents, wanted = _recents(first), rest.matrix()[some]
            told = [recents[user] for user in some.tolist()]
            Counted.rows = 0
            ours = _per_user(_lists(live, nobody, told, similar), wanted)
            theirs = _per_user(_lists(plain, nobody, told), wanted)
            share = Counted.rows / len(some) / len(interactions.items)
            found[engine, count] = (ours, theirs, np.full(len(some), share))
    return found


def _lists(
    generation: Generation,
    values: Sequence[bytes | None],
    recents: Sequence[Recents],
    similar: Similar = (),
) -> Lists:
    """What the API would answer to each."""
    items = np.zeros((len(values), K), np.int32)
    lengths = np.zeros(len(values), np.int32)
    for row, (value, told) in enumerate(zip(values, recents, strict=True)):
        wanted = near_to(generation, value, told).values() if similar else ()
        near = {item: similar[item] for item in wanted}
        found = remember(generation, value, told, (CLICK,), near)
        entries = _entries(found or generation.popular)[:K]
        items[row, : len(entries)] = [item for item, _ in entries]
        lengths[row] = len(entries)
    return Lists(items, np.zeros_like(items, np.float32), lengths)


def _entries(found: Remembered) -> Entries:
    return decode_record(found.record) if found.own is None else found.own


def _recents(during: Interactions) -> list[Recents]:
    """What each user did, the latest first."""
    assert during.timestamp is not None
    starts = during.matrix().indptr
    found = []
    for first, last in zip(starts[:-1], starts[1:]):
        order = np.argsort(during.timestamp[first:last], kind="stable")[::-1][:MAX_RECENT]
        items = [during.items[item] for item in during.item[first:last][order]]
        told = [Recent(CLICK, item, len(items) - n) for n, item in enumerate(items)]
        found.append(Recents(tuple(told)))
    return found


def _first(interactions: Interactions, count: int) -> tuple[Interactions, Interactions]:
    """The first so many of each user, and the rest."""
    assert interactions.timestamp is not None
    order = np.lexsort((interactions.timestamp, interactions.user))
    starts = interactions.matrix().indptr
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - starts[interactions.user[order]]
    return _picked(interactions, place < count), _picked(interactions, place >= count)


def _picked(interactions: Interactions, which: NDArray[np.bool_]) -> Interactions:
    assert interactions.timestamp is not None
    return replace(
        interactions,
        user=interactions.user[which],
        item=interactions.item[which],
        weight=interactions.weight[which],
        timestamp=interactions.timestamp[which],
    )


def _of(wanted: csr_matrix, users: Indices) -> csr_matrix:
    """Only what these users want."""
    kept = np.zeros(wanted.shape[0], np.float32)
    kept[users] = 1
    left = csr_matrix(wanted.multiply(kept[:, np.newaxis]))
    left.eliminate_zeros()
    return left


def _per_user(lists: Lists, wanted: csr_matrix) -> NDArray[np.float64]:
    """nDCG@10 of each."""
    return ndcg(_hits(lists, wanted, K), np.diff(wanted.indptr).astype(np.int64))


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:.3f}-{ends[1]:.3f}"


def _memory() -> list[list[str]]:
    """Bytes of a user in the cache, plain and live."""
    users = [str(number) for number in range(1_000_000, 1_000_000 + USERS)]
    items, space = [f"item {number}" for number in range(1000)], Namespace("bench")
    rows = []
    for label, made, limit in (
        ("plain", contents(space, users, items, K), 64),
        ("--live", live_contents(space, users, items, K, STORED, WIDTH), 64),
        ("--live, packed", live_contents(space, users, items, K, STORED, WIDTH), 600),
    ):
        with Server() as server, redis.Redis.from_url(server.url) as client:
            client.config_set("hash-max-listpack-value", limit)
            before = client.info("memory")["used_memory"]
            with hold(client, space) as lease:
                publish(client, space, *made, lease)
            used = client.info("memory")["used_memory"] - before
        rows.append([f"{label} (hash-max-listpack-value {limit})", f"{used / USERS:.0f}"])
    return rows


if __name__ == "__main__":
    main()
