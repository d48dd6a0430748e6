"""What the whole walk costs over the library's own work: ``make bench-refresh``.

Every ratio has its floor measured in the same run, alternating with what it is the floor of:

* refresh (read, fit, top-k, similar items, publish; no evaluation) over implicit's fit + recommend;
* top-k without seen items over the bare float32 matrix product of the same factors, and how many
  of the products no walk in order of norms could do without;
* similar items over the walk through all products, which every tenth item stands for;
* peak memory of the refresh process over the size of its arrays and factors.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from app.contracts.recommendations import Namespace, encode_document
from batch.command.output.bars import Lines
from batch.command.output.table import table
from batch.generations.connect import Client, connect
from batch.generations.publish import turn
from batch.interactions.pairs import Interactions
from batch.recommendations.descent import Falling
from batch.recommendations.engines.factors import Factors
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.one_machine import LocalCandidate
from batch.recommendations.pipeline import refresh
from batch.recommendations.similar import most_similar, unit_rows
from batch.recommendations.terms import Gate, Holdout, Terms
from batch.recommendations.topk import BLOCK, Lists, best_unseen, together
from tests.bench import data
from tests.bench.clock import seconds
from tests.servers import Server

K = 10


def main() -> None:
    """Print a table of seconds, ratios and targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decklists", type=Path, help="Parquet of events: user_id, item_id")
    parser.add_argument("--users", type=int, default=100_000, help="to generate")
    parser.add_argument("--items", type=int, default=10_000, help="to generate")
    parser.add_argument("--per-user", type=int, default=20, help="interactions to generate")
    parser.add_argument("--factors", type=int, default=ImplicitALS().factors)
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        if arguments.decklists:
            path = data.decklists(arguments.decklists, Path(folder))
        else:
            path = data.generated(
                arguments.users, arguments.items, arguments.per_user, Path(folder)
            )
        client = connect(server.url)
        engine = ImplicitALS(factors=arguments.factors)
        rows = [_memory(path, client, engine)]
        rows += _times(path, client, engine, arguments.rounds)
        print(table(["", "ours", "floor", "ratio", "target"], rows))


def _memory(path: Path, client: Client, engine: ImplicitALS) -> list[str]:
    """Peak memory of a process that does one refresh, over its factors and 20 bytes a pair."""
    child = os.fork()
    if not child:
        _refresh(path, client, engine)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit("the refresh failed; its message is above")
    interactions = data.loaded(path)
    rows = len(interactions.users) + len(interactions.items)
    floor = len(interactions) * 20 + rows * engine.factors * 4
    print(
        f"{path.name}: {len(interactions):,} pairs, {len(interactions.users):,} users, "
        f"{len(interactions.items):,} items; {engine}"
    )
    return _row("peak memory, MB", usage.ru_maxrss / 1024, floor / 2**20, "")


def _times(path: Path, client: Client, engine: ImplicitALS, rounds: int) -> list[list[str]]:
    interactions = data.loaded(path)
    fitted = engine.fit(interactions.matrix(), lambda done: None)
    factors = Factors(fitted.users, fitted.scorer.factors)
    seen = interactions.matrix()
    return [
        _ratio(
            "refresh without evaluation, s",
            lambda: _refresh(path, client, engine),
            lambda: _raw_implicit(interactions, engine),
            rounds,
            "<= 0.85",
        ),
        _ratio(
            "top-k of unseen items, s",
            lambda: _top_k(seen, factors),
            lambda: _products(factors),
            rounds,
            "<= 0.35",
        ),
        _needed(seen, factors),
        _similar(factors),
    ]


def _refresh(path: Path, client: Client, engine: ImplicitALS) -> None:
    interactions = data.loaded(path)
    terms = Terms(K, Holdout(share=0), Gate(force=True), keep=2)
    with turn(client, Namespace("bench"), terms.keep) as ours:
        documents = map(encode_document, interactions.items)
        refresh(ours, LocalCandidate(interactions, engine), documents, terms, Lines())


def _raw_implicit(interactions: Interactions, settings: ImplicitALS) -> None:
    seen = settings.confidences(interactions.matrix())
    model = settings.library(settings.penalty(seen.nnz, *seen.shape))
    with threadpool_limits(1, user_api="blas"):
        model.fit(seen, show_progress=False)
        users = np.arange(len(interactions.users))
        model.recommend(users, seen, N=K, filter_already_liked_items=True)


def _top_k(seen: csr_matrix, factors: Factors) -> Lists:
    blocks = (slice(first, first + BLOCK) for first in range(0, len(factors.users), BLOCK))
    return together(
        [best_unseen(factors.users[block], factors.items, seen[block], K) for block in blocks]
    )


def _needed(seen: csr_matrix, factors: Factors) -> list[str]:
    """Products of users and items whose norms would allow a place in the list that was found."""
    lists = _top_k(seen, factors)
    full = lists.lengths == K
    norms = np.linalg.norm(factors.users, axis=1).astype(np.float64)
    ends = Falling.of(factors.items).ends(lists.scores[:, -1] * full, norms)
    return _row("products needed, millions", ends.sum() / 1e6, np.prod(seen.shape) / 1e6, "")


def _similar(factors: Factors) -> list[str]:
    unit = unit_rows(factors.items)
    every = np.arange(len(unit))
    some = every[::10]
    itself = csr_matrix(
        (np.ones(len(some)), some, np.arange(len(some) + 1)), (len(some), len(unit))
    )
    ours = seconds(lambda: most_similar(unit, every, K))
    tenth = seconds(lambda: best_unseen(unit[some], unit, itself, K))
    return _row("similar items, s", ours, tenth * len(every) / len(some), "<= 1")


def _products(factors: Factors) -> None:
    """The same scores by as many threads, in the blocks of 1,000 that suit the product best."""
    items = np.ascontiguousarray(factors.items.T)
    scores = np.empty((1000, len(factors.items)), np.float32)
    for first in range(0, len(factors.users), 1000):
        block = factors.users[first : first + 1000]
        np.dot(block, items, out=scores[: len(block)])


def _ratio(
    name: str, ours: Callable[[], object], floor: Callable[[], object], rounds: int, target: str
) -> list[str]:
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(seconds(ours))
        theirs.append(seconds(floor))
    return _row(name, statistics.median(mine), statistics.median(theirs), target)


def _row(name: str, ours: float, floor: float, target: str) -> list[str]:
    return [name, f"{ours:,.2f}", f"{floor:,.2f}", f"{ours / floor:.2f}", target]


if __name__ == "__main__":
    main()
