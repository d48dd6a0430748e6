"""What a deployment will need, before it is made: cache memory, API cores and memory, network.

Each figure is a formula over measured constants; batch/README.md names what measures them.
"""

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.contracts.recommendations import (
    INDEX_BYTES,
    PLAIN_ID_BYTES,
    factors_overhead,
    field,
    history_bytes,
    value_bytes,
)
from batch.errors import CacheUnavailable

log = logging.getLogger("larder")

DIGEST_BYTES = len(field("x" * (PLAIN_ID_BYTES + 1)))
PACKED_LIMIT = 64
"""Longest value that a server packs by default (hash-max-listpack-value)."""

PACKED_OVERHEAD = 5.5
"""Bytes that a server adds to id and record in a packed bucket, its share of the key included."""
LOOSE_OVERHEAD = 57.0
"""The same in a bucket that is not packed, because records are longer than the limit."""
DOCUMENT_OVERHEAD = 6.0
"""Bytes that a document costs beside its own."""
CACHE_HEADROOM = 1.25
"""For buffers of connections, fragmentation, and the copy on write of a snapshot."""

MARGIN = 1.25
"""How far the estimate of a generation may be from what it takes."""

COLD_CPU_US = 200.0
"""Processor time of the API for a request with one round trip (make bench-serving, CPU us)."""
UTILIZATION = 0.5
"""Of a core, so that a burst or a lost instance does not queue."""
FILE_BYTES = 8 + INDEX_BYTES
"""What a document costs beside its own in the file that workers share."""
WORKER_MB = 45.0
"""Resident memory of an API worker without documents."""
MAX_REMEMBERED_BYTES = 8192
"""Longer answers are not kept (``app.recommendations.generation``)."""
NEAR_ANSWER_OVERHEAD = 400.0
"""Bytes of a near answer beside its text, and beside what is stored of a live user."""

HEADER_BYTES = 420.0
"""Headers of a request and its answer, both ways."""
ENTRY_TEXT_BYTES = 18.0
"""What the score and the punctuation add to each document in an answer."""
ROUND_TRIP_BYTES = 110.0
"""Of a lookup in the cache beside the record, both ways."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is to be served. ``id_bytes`` and ``document_bytes`` are averages of UTF-8 and JSON.

    generations: kept at once, the one being written included; copies: of the cache's data, replicas
    included; near_users: kept in each worker's near cache; similar: whether each item has a list;
    stored, factors, history: of a live generation, how many items a user's list stores, how long a
    vector is, and how many items of their own are stored of a user on average; 0 for a plain one.
    """

    users: int
    items: int
    k: int = 10
    requests_per_second: float = 180.0
    id_bytes: float = 10.0
    document_bytes: float = 100.0
    generations: int = 4
    copies: int = 2
    near_users: int = 10_000
    similar: bool = True
    stored: int = 0
    factors: int = 0
    history: int = 0

    @property
    def user_bytes(self) -> float:
        """Memory of a user in the cache."""
        own = history_bytes(self.history, self.items)
        return member_bytes(self.id_bytes, self.stored or self.k, self.factors, own)

    @property
    def item_bytes(self) -> float:
        """Memory of an item in the cache: its list, its document, its factors."""
        listed = member_bytes(self.id_bytes, self.k) * self.similar
        return listed + self.document_bytes + DOCUMENT_OVERHEAD + self.factor_bytes

    @property
    def factor_bytes(self) -> int:
        """Memory of an item's factors in the cache, its place among them included."""
        return 2 * self.factors + 4 if self.factors else 0


@dataclass(frozen=True, slots=True)
class Figure:
    """One need: what, how much, in which unit, and how it comes about."""

    name: str
    amount: float
    unit: str
    formula: str


def member_bytes(id_bytes: float, k: int, factors: int = 0, own: int = 0) -> float:
    """Memory of one list of k in the cache, in bytes, under a server's default settings.

    factors: how long the vector behind the list is; own: the bytes of the history behind that.
    """
    name = id_bytes if id_bytes <= PLAIN_ID_BYTES else DIGEST_BYTES
    value = value_bytes(k, factors) + own
    return name + value + (PACKED_OVERHEAD if value <= PACKED_LIMIT else LOOSE_OVERHEAD)


def generation_bytes(needed: Deployment) -> float:
    """Memory of one generation in the cache: lists, similar items, documents, factors."""
    return needed.users * needed.user_bytes + needed.items * needed.item_bytes


def check_room(needed: Deployment, free: int | None) -> None:
    """Warn when one generation may not fit into so many bytes of the cache; None: nobody knows.

    Raises CacheUnavailable when it will surely not.
    """
    need = generation_bytes(needed)
    if free is None or need * MARGIN <= free:
        return
    told = (
        f"the cache has room for {free / 1e6:,.1f} MB, and this generation will take about "
        f"{need / 1e6:,.1f} MB (larder size): raise its maxmemory, or free some with "
        f"'larder prune --keep 2'"
    )
    if need / MARGIN > free:
        raise CacheUnavailable(f"{told}. Nothing was trained")
    log.warning(told)


def figures(needed: Deployment) -> Iterator[Figure]:
    """Yield every need of the plan, each with its formula."""
    yield from _of_the_cache(needed)
    yield from _of_the_api(needed)
    yield from _of_the_network(needed)


def _of_the_cache(needed: Deployment) -> Iterator[Figure]:
    listed = member_bytes(needed.id_bytes, needed.k) * needed.similar
    factors = f" + {needed.factor_bytes}" * bool(needed.factors)
    generation = generation_bytes(needed)
    yield Figure(
        "one generation in the cache",
        generation / 1e6,
        "MB",
        f"{needed.users:,} users x {needed.user_bytes:.1f} B + {needed.items:,} items x "
        f"({listed:.1f} + {needed.document_bytes:.0f} + {DOCUMENT_OVERHEAD:.0f}{factors}) B",
    )
    yield Figure(
        "cache memory (maxmemory)",
        generation * needed.generations * CACHE_HEADROOM / 1e6,
        "MB",
        f"{needed.generations} generations x {CACHE_HEADROOM} headroom",
    )
    yield Figure(
        "cache memory, all copies",
        generation * needed.generations * CACHE_HEADROOM * needed.copies / 1e6,
        "MB",
        f"x {needed.copies} copies (primary and replicas)",
    )


def _of_the_api(needed: Deployment) -> Iterator[Figure]:
    cores = needed.requests_per_second * COLD_CPU_US / 1e6 / UTILIZATION
    workers = max(2, math.ceil(cores))
    yield Figure(
        "API cores",
        cores,
        "cores",
        f"{needed.requests_per_second:,.0f} requests/s x {COLD_CPU_US:.0f} us / "
        f"{UTILIZATION:.0%} busy, none answered near",
    )
    yield Figure("API workers", workers, "processes", "one a core, 2 at least")
    near = min(_answer_bytes(needed), MAX_REMEMBERED_BYTES) + NEAR_ANSWER_OVERHEAD
    if needed.stored:
        near += value_bytes(needed.stored, needed.factors)
        near += history_bytes(needed.history, needed.items)
    near_users = min(needed.near_users, needed.users)
    yield Figure(
        "memory of one API worker",
        WORKER_MB + near_users * near / 1e6,
        "MB",
        f"{WORKER_MB:.0f} MB + {near_users:,} near answers; documents are in the file",
    )
    more = needed.factor_bytes + factors_overhead(needed.factors)
    yield Figure(
        "documents on each machine",
        2 * needed.items * (needed.document_bytes + FILE_BYTES + more) / 1e6,
        "MB",
        f"2 (old and new while changing) x {needed.items:,} items x "
        f"({needed.document_bytes:.0f} + {FILE_BYTES}{f' + {more}' * bool(more)}) B, "
        f"mapped by all its workers",
    )


def _of_the_network(needed: Deployment) -> Iterator[Figure]:
    answer = _answer_bytes(needed)
    yield Figure(
        "network to callers",
        needed.requests_per_second * (answer + HEADER_BYTES) * 8 / 1e6,
        "Mbit/s",
        f"{needed.requests_per_second:,.0f} x ({answer:,.0f} + {HEADER_BYTES:.0f}) B",
    )
    own = history_bytes(needed.history, needed.items)
    trip = value_bytes(needed.stored or needed.k, needed.factors) + own + ROUND_TRIP_BYTES
    yield Figure(
        "network to the cache",
        needed.requests_per_second * trip * 8 / 1e6,
        "Mbit/s",
        f"{needed.requests_per_second:,.0f} x {trip:,.0f} B, none answered near",
    )


def _answer_bytes(needed: Deployment) -> float:
    return needed.k * (needed.document_bytes + ENTRY_TEXT_BYTES)


def text(needs: Iterable[Figure]) -> str:
    """What a deployment needs, each figure with its formula."""
    rows = [[each.name, f"{each.amount:,.1f} {each.unit}", each.formula] for each in needs]
    width = max(len(row[1]) for row in rows)
    return "\n".join(f"{name:28}{amount:>{width}}   = {how}" for name, amount, how in rows)


def as_json(needs: Iterable[Figure]) -> str:
    """The same for programs: the name of each figure, in small letters and underscores, first."""
    named = {
        re.sub("[^a-z]+", "_", each.name.lower()).strip("_"): {
            "amount": round(each.amount, 4),
            "unit": each.unit,
            "formula": each.formula,
        }
        for each in needs
    }
    return json.dumps(named)
