"""What a generation costs in the cache: ``make bench-cache``.

Bytes per user, by what the server says it uses, for a million users whose ids are numbers or
UUIDs; and the speed of publishing ready lists over a plain pipelined HSET of the same bytes.
"""

import argparse
import statistics
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import redis
from numpy.typing import NDArray

from app.contracts.recommendations import Namespace, bucket_count, bucket_of, field
from batch.command.output.table import table
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.recommendations.lists import encode_lists
from batch.recommendations.topk import Lists
from tests.generations import contents
from tests.servers import Server

K = 10
ITEMS = 1000


def main() -> None:
    """Print bytes per user and users per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rng = np.random.default_rng(42)
    kinds = {
        "numbers": [str(number) for number in range(1_000_000, 1_000_000 + arguments.users)],
        "UUIDs": [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(arguments.users)],
    }
    rows = []
    for kind, users in kinds.items():
        ours, floor = [], []
        for _ in range(arguments.rounds):
            seconds, size = _publish(users)
            ours.append(len(users) / seconds)
            floor.append(len(users) / _plain(users))
        mine, plain = statistics.median(ours), statistics.median(floor)
        speeds = [f"{mine:,.0f}", f"{plain:,.0f}", f"{mine / plain:.2f}"]
        rows.append([f"{len(users):,} {kind}", f"{size:.1f}", *speeds])
    print(table(["ids", "bytes/user", "users/s", "plain HSET", "ratio"], rows))
    print("targets: <= 100 bytes/user; >= 300,000 users/s or a ratio >= 0.5")


def _publish(users: Sequence[str]) -> tuple[float, float]:
    """Seconds and bytes per user of publishing ready lists."""
    space = Namespace("bench")
    manifest, made = contents(space, list(users), [f"item {number}" for number in range(ITEMS)], K)
    ready = made.user_lists(np.arange(len(users)))
    with Server() as server, redis.Redis.from_url(server.url) as client:
        before = client.info("memory")["used_memory"]
        with hold(client, space) as lease:
            started = time.perf_counter()
            publish(client, space, manifest, replace(made, user_lists=_Ready(ready)), lease)
            seconds = time.perf_counter() - started
        return seconds, (client.info("memory")["used_memory"] - before) / len(users)


class _Ready:
    """Lists that were made before the clock started."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists

    def __call__(self, users: NDArray[np.int64]) -> Lists:
        lists = self._lists
        return Lists(lists.items[users], lists.scores[users], lists.lengths[users])


def _plain(users: Sequence[str]) -> float:
    """Seconds of a plain pipelined HSET of the same fields and records, made before the clock."""
    _, made = contents(
        Namespace("bench"), list(users), [f"item {number}" for number in range(ITEMS)], K
    )
    records = encode_lists(made.user_lists(np.arange(len(users))))
    names = [field(user) for user in users]
    count = bucket_count(len(users))
    buckets: dict[int, dict[bytes, bytes]] = {}
    for name, record in zip(names, records, strict=True):
        buckets.setdefault(bucket_of(name, count), {})[name] = record
    with Server() as server, redis.Redis.from_url(server.url) as client:
        started = time.perf_counter()
        pipeline = client.pipeline(transaction=False)
        for number, entries in enumerate(buckets.values()):
            pipeline.hset(f"plain:{number}", mapping=dict(entries))
            if number % 100 == 99:
                pipeline.execute()
        pipeline.execute()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
