"""Spark's ways to fit and to make lists, beside ``implicit``: one half of ``make bench-spark``.

On the same pairs, on the cores of this machine in one local session: the blocked solver, MLlib and
``implicit`` alone; then the lists of the same factors by executors, seen items left out, and by
MLlib's recommendForAllUsers, which keeps them. Last, what engines of both publish.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import redis
from pyspark import Broadcast
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from app.contracts.recommendations import Namespace
from batch.command.output.table import table
from batch.generations.registry import Generations
from batch.recommendations.cluster.als import BlockedALS
from batch.recommendations.cluster.blocks import View, cpus, factors
from batch.recommendations.cluster.ids import index
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.topk import BLOCK, best_unseen
from batch.spark.session import session
from tests.bench import data
from tests.bench.clock import seconds
from tests.servers import Server, run

K = 10
ENGINES = {
    "als": ["--engine", "als"],
    "spark, --als blocked": ["--engine", "spark"],
    "knn": ["--engine", "knn"],
    "spark-knn": ["--engine", "spark-knn"],
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decklists", type=Path, help="Parquet of events: user_id, item_id")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="of all but MLlib")
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.decklists:
            path = data.decklists(given.decklists, Path(folder))
        else:
            path = data.generated(60_000, 15_000, 40, Path(folder))
        conf = {"spark.master": f"local[{given.cores}]", "spark.driver.memory": "4g"}
        with session(conf) as spark, ExitStack() as stack:
            rows = _fits(spark, path, given, stack)
        print(table(["", "seconds", "of implicit", "target"], rows))
        print(
            table(["engine", "nDCG@10", "95 % interval", "seconds"], _published(path, given.cores))
        )


def _fits(
    spark: SparkSession, path: Path, given: argparse.Namespace, stack: ExitStack
) -> list[list[str]]:
    model = ImplicitALS(factors=given.factors, iterations=given.iterations, threads=given.cores)
    pairs = spark.read.parquet(str(path)).select(
        *(F.col(name).cast("string").alias(name) for name in ("user", "item")),
        F.lit(1.0).cast("float").alias("weight"),
    )
    indexed = index(pairs, stack)
    view = indexed.view(indexed.frame, stack)
    print(
        f"{path.name}: {view.frame.count():,} pairs, {view.users.size:,} users, "
        f"{view.items.size:,} items; {model.factors} factors, {model.iterations} iterations"
    )
    weights = data.loaded(path).matrix()
    blocked = BlockedALS(model)
    alone = min(seconds(lambda: model.fit(weights, lambda done: None)) for _ in range(given.rounds))
    ours = min(seconds(lambda: _fit(blocked, view)) for _ in range(given.rounds))
    als = ALS(
        userCol="user",
        itemCol="item",
        ratingCol="weight",
        implicitPrefs=True,
        rank=model.factors,
        maxIter=model.iterations,
        regParam=0.16,
        alpha=1.0,
        seed=42,
    )
    fitted: list[ALSModel] = []
    mllib = seconds(lambda: fitted.append(_mllib(als, view)))
    lists = min(
        seconds(lambda: _lists(view, fitted[0], model.factors)) for _ in range(given.rounds)
    )
    theirs = seconds(lambda: _all_users(fitted[0]))
    return [
        ["fit, implicit", f"{alone:.1f}", "1.0", ""],
        ["fit, --als blocked", f"{ours:.1f}", f"{ours / alone:.1f}", "<= 4"],
        [
            "fit, --als mllib",
            f"{mllib:.1f}",
            f"{mllib / alone:.1f}",
            f">= 5x blocked: {mllib / ours:.1f}x",
        ],
        ["lists, unseen items only", f"{lists:.1f}", "", ""],
        ["lists, recommendForAllUsers", f"{theirs:.1f}", "", f">= 3x ours: {theirs / lists:.1f}x"],
    ]


def _fit(learner: BlockedALS, view: View) -> None:
    with ExitStack() as stack:
        learner.fit(view, lambda done: None, stack)


def _mllib(als: ALS, view: View) -> ALSModel:
    model = als.fit(view.frame.select("user", "item", "weight"))
    model.userFactors.count(), model.itemFactors.count()
    return model


def _lists(view: View, fitted: ALSModel, width: int) -> None:
    """From MLlib's frames of factors to lists, as a refresh makes them; nothing is written."""
    items = factors(fitted.itemFactors, view.items.starts, width).collect()
    sent = view.frame.sparkSession.sparkContext.broadcast(items)
    users = factors(fitted.userFactors, view.users.starts, width)
    made = view.users.rows.zip(users).map(lambda found: _made(found, sent))
    assert made.sum() == view.users.size


def _made(found: Any, sent: "Broadcast[Any]") -> int:
    seen, mine = found
    items = np.concatenate(sent.value)
    blocks = [slice(first, first + BLOCK) for first in range(0, len(mine), BLOCK)]
    return sum(len(best_unseen(mine[rows], items, seen[rows], K, cpus())) for rows in blocks)


def _all_users(fitted: ALSModel) -> None:
    fitted.recommendForAllUsers(K).write.format("noop").mode("overwrite").save()


def _published(path: Path, cores: int) -> list[list[str]]:
    """What a whole refresh of each engine publishes, and how good it is."""
    rows = []
    with Server() as server, redis.Redis.from_url(server.url) as client:
        for name, more in ENGINES.items():
            conf = f"spark.master=local[{cores}] spark.driver.memory=4g"
            variables = {"LARDER_CONF": conf} if "spark" in name else {}
            started = time.perf_counter()
            done = run(
                *("refresh", str(path), "--split", "stratified", "--holdout", "0.25"),
                *("--cache-url", server.url, "--namespace", "bench", "--keep", "5", *more),
                variables=variables,
                timeout_seconds=3600,
            )
            took = time.perf_counter() - started
            if done.returncode:
                sys.exit(done.stderr)
            manifest = Generations(client, Namespace("bench")).live_manifest()
            assert manifest is not None
            model = manifest.metrics["model"]
            low, high = model["intervals"]["ndcg"]
            rows.append([name, f"{model['ndcg']:.4f}", f"{low:.4f}-{high:.4f}", f"{took:.1f}"])
    return rows


if __name__ == "__main__":
    main()
