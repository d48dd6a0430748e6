"""The walk: split, train, evaluate, gate, train on everything, topk, publish."""

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from app.contracts.recommendations import (
    MAX_K,
    Manifest,
    Namespace,
    bucket_count,
    chunk_count,
    generation_name,
)
from batch.cache import Client
from batch.engines import Engine, Factors
from batch.errors import BadSettings, NotGoodEnough
from batch.evaluate import Metrics, evaluate, gate
from batch.generations import Generations
from batch.interactions import Interactions
from batch.lock import hold
from batch.publish import Contents, publish
from batch.split import hold_out
from batch.topk import Lists, most_popular, most_similar, popularity, recommend, unit_rows

log = logging.getLogger("larder.pipeline")


class Progress(Protocol):
    """Shows how far a step of the walk is."""

    def step(
        self, name: str, total: int, unit: str
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a step; the function it gives takes how much more was done."""


@dataclass(frozen=True, slots=True)
class Holdout:
    """How to judge: what share is held out by which rule (``batch.split``); 0 judges nothing."""

    split: str = "random"
    share: float = 0.2
    after: float | None = None
    seed: int = 42

    @property
    def settings(self) -> dict[str, str | float | int]:
        """What was held out, as the manifest records it."""
        if self.after is not None:
            return {"after": self.after}
        return {"split": self.split, "holdout": self.share, "holdout_seed": self.seed}


@dataclass(frozen=True, slots=True)
class Gate:
    """What a model must reach to be published, unless forced."""

    min_ndcg: float = 0.0
    max_drop: float = 0.1
    force: bool = False


@dataclass(frozen=True, slots=True)
class Quality:
    """The model and most-popular, judged on the same held-out interactions."""

    model: Metrics
    popular: Metrics


def refresh(
    interactions: Interactions,
    documents: Iterable[bytes],
    engine: Engine,
    client: Client,
    namespace: Namespace,
    progress: Progress,
    k: int = 10,
    holdout: Holdout = Holdout(),
    limits: Gate = Gate(),
    keep: int = 3,
    report: Callable[[Quality], None] = lambda quality: None,
) -> Manifest:
    """Judge the engine on held-out interactions, refit it on all of them and publish its lists.

    documents: one JSON object per item of the interactions, in order. Raises a Terminal error for
    bad data or a bad model, a Transient one when the cache cannot take it; nothing is published
    then.
    """
    check_k(k)
    check_holdout(holdout, limits)
    started = datetime.now(UTC)
    generations = Generations(client, namespace)
    with hold(client, namespace) as token:
        generations.prune(keep)
        quality = _judge(interactions, engine, k, holdout, progress)
        if quality is not None:
            report(quality)
        forced = _gate(quality, holdout, limits, generations.live_manifest())
        factors = _fit(engine, interactions, "train on all", progress)
        manifest = _manifest(interactions, engine, k, holdout, quality, forced, started)
        contents = _contents(interactions, factors, documents, k)
        live = generations.live()
        with progress.step("publish", manifest.users + manifest.items, "lists") as advance:
            published = publish(client, namespace, manifest, contents, token, advance)
        generations.prune(keep, spared=live)
    return published


def _manifest(
    interactions: Interactions,
    engine: Engine,
    k: int,
    holdout: Holdout,
    quality: Quality | None,
    forced: bool,
    started: datetime,
) -> Manifest:
    return Manifest(
        generation=generation_name(started, secrets.token_hex(2)),
        state="writing",
        users=len(interactions.users),
        items=len(interactions.items),
        interactions=len(interactions),
        k=k,
        user_buckets=bucket_count(len(interactions.users)),
        similar_buckets=bucket_count(len(interactions.items)),
        chunks=chunk_count(len(interactions.items)),
        engine=engine.name,
        settings={**engine.settings, **holdout.settings},
        metrics=asdict(quality) if quality is not None else {},
        fingerprint=interactions.fingerprint(),
        forced=forced,
        code_version=version("larder"),
        started_at=started.isoformat(timespec="seconds"),
    )


def judge(
    train: Interactions, held_out: Interactions, engine: Engine, k: int, progress: Progress
) -> Quality:
    """Fit the engine on one part and measure it, beside most-popular, on the other.

    Both parts share their ids. What is also in train can not be recommended and does not count.
    """
    check_k(k)
    seen = train.matrix()
    relevant = held_out.matrix()
    relevant = relevant - relevant.multiply(seen.astype(bool))
    relevant.eliminate_zeros()
    if not relevant.nnz:
        raise BadSettings(
            "nothing to judge by: every held-out pair is also among those to train on"
        )
    factors = _fit(engine, train, "train", progress)
    share = popularity(seen)
    measured = []
    makers: list[tuple[str, Callable[[NDArray[np.int64]], Lists]]] = [
        ("evaluate the model", lambda users: recommend(factors, share, seen, users, k)),
        ("evaluate most-popular", lambda users: most_popular(share, seen[users], k)),
    ]
    for name, make in makers:
        with progress.step(name, int(np.count_nonzero(np.diff(relevant.indptr))), "users") as done:

            def lists_of(users: NDArray[np.int64]) -> Lists:
                done(len(users))
                return make(users)

            measured.append(evaluate(lists_of, relevant, share, k))
    return Quality(*measured)


def check_k(k: int) -> None:
    """Raise BadSettings for a list length that the contract does not take."""
    if not 1 <= k <= MAX_K:
        raise BadSettings(f"--k must be 1 to {MAX_K}, not {k}")


def check_holdout(holdout: Holdout, limits: Gate) -> None:
    """Raise BadSettings for a share that is none, or when nobody would judge, unless forced."""
    if holdout.after is not None:
        return
    if not 0 <= holdout.share < 1:
        raise BadSettings(f"--holdout must be 0 or more and less than 1, not {holdout.share:g}")
    if holdout.share == 0 and not limits.force:
        raise BadSettings("--holdout 0 publishes a model that nobody judged: add --force")


def _judge(
    interactions: Interactions, engine: Engine, k: int, holdout: Holdout, progress: Progress
) -> Quality | None:
    if holdout.share == 0 and holdout.after is None:
        return None
    train, held_out = hold_out(
        interactions, holdout.split, holdout.share, holdout.seed, holdout.after
    )
    return judge(train, held_out, engine, k, progress)


def _gate(quality: Quality | None, holdout: Holdout, limits: Gate, live: Manifest | None) -> bool:
    """Whether the gate had to be forced. Raises NotGoodEnough when it was not."""
    if quality is None:
        return True
    live_ndcg = _live_ndcg(live, holdout, quality.model.k)
    reasons = "; ".join(
        gate(quality.model, quality.popular, limits.min_ndcg, live_ndcg, limits.max_drop)
    )
    if not reasons:
        return False
    if not limits.force:
        raise NotGoodEnough(f"{reasons}. Nothing was published; --force publishes all the same")
    log.warning("--force: publishing although %s", reasons)
    return True


def _live_ndcg(live: Manifest | None, holdout: Holdout, k: int) -> float | None:
    """The live generation's nDCG, when it was judged in the same way."""
    if live is None:
        return None
    judged: dict[str, Any] = live.metrics.get("model", {})
    if judged.get("k") != k or _rule(live.settings) != _rule(holdout.settings):
        log.warning("not compared with the live generation: it was judged in another way")
        return None
    return float(judged["ndcg"])


def _rule(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """How interactions were held out; the date of ``--after`` may move on from day to day."""
    return settings.get("split"), settings.get("holdout"), "after" in settings


def _fit(engine: Engine, interactions: Interactions, name: str, progress: Progress) -> Factors:
    with progress.step(name, engine.iterations, "iterations") as advance:
        return engine.fit(interactions.matrix(), lambda iteration: advance(1))


def _contents(
    interactions: Interactions, factors: Factors, documents: Iterable[bytes], k: int
) -> Contents:
    seen = interactions.matrix()
    share = popularity(seen)
    unit = unit_rows(factors.items)
    nothing_seen = csr_matrix(np.zeros((1, len(interactions.items)), np.float32))
    return Contents(
        users=interactions.users,
        items=interactions.items,
        user_lists=lambda users: recommend(factors, share, seen, users, k),
        similar_lists=lambda items: most_similar(unit, items, k),
        popular=most_popular(share, nothing_seen, k),
        documents=documents,
    )
