"""The walk: split, train, evaluate, gate, train on everything, topk, publish."""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from app.contracts.generations import generation_name
from app.contracts.recommendations import MAX_K, Manifest, Namespace, bucket_count, chunk_count
from batch.errors import BadSettings, NotGoodEnough
from batch.generations.connect import Client
from batch.generations.lock import hold
from batch.generations.publish import Contents, publish
from batch.generations.registry import Generations
from batch.progress import Progress
from batch.recommendations.evaluate import Metrics, gate
from batch.recommendations.ratings import RatingMetrics

log = logging.getLogger("larder.pipeline")


@dataclass(frozen=True, slots=True)
class Holdout:
    """How to judge: what share is held out by which rule (see ``split``); 0 judges nothing."""

    split: str = "random"
    share: float = 0.2
    after: float | None = None
    seed: int = 42

    @property
    def judges(self) -> bool:
        """Whether anything is held out."""
        return self.share > 0 or self.after is not None

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
    """The model and most-popular, judged on the same held-out interactions.

    ratings: how well a model of explicit feedback predicts them.
    """

    model: Metrics
    popular: Metrics
    ratings: RatingMetrics | None = None


class Walk(Protocol):
    """The steps of the walk over certain interactions, by this machine or by a cluster."""

    @property
    def users(self) -> int:
        """How many there are."""

    @property
    def items(self) -> int:
        """How many there are."""

    @property
    def interactions(self) -> int:
        """How many pairs of user and item."""

    @property
    def engine(self) -> str:
        """What ``--engine`` calls it."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The hyper-parameters, as the manifest records them."""

    def fingerprint(self) -> str:
        """A hash of ids, pairs, weights and timestamps, whatever their order."""

    def judge(self, holdout: Holdout, k: int, progress: Progress) -> Quality:
        """Train on one part and measure the lists, beside most-popular, on what is held out.

        Raises BadSettings when the split does not fit the data, NotGoodEnough when the fit fails.
        """

    def train(self, k: int, progress: Progress) -> Contents:
        """Train on everything; what comes back makes the lists when it writes them."""


def refresh(
    walk: Walk,
    client: Client,
    namespace: Namespace,
    progress: Progress,
    k: int = 10,
    holdout: Holdout = Holdout(),
    limits: Gate = Gate(),
    keep: int = 3,
    report: Callable[[Quality], None] = lambda quality: None,
) -> Manifest:
    """Judge a model on held-out interactions, train it on all of them and publish its lists.

    Raises a Terminal error for bad data or a bad model, a Transient one when the cache cannot take
    it; nothing is published then.
    """
    check_k(k)
    check_holdout(holdout, limits)
    started = datetime.now(UTC)
    generations = Generations(client, namespace)
    with hold(client, namespace) as token:
        generations.prune(keep)
        quality = walk.judge(holdout, k, progress) if holdout.judges else None
        if quality is not None:
            report(quality)
        forced = _gate(quality, holdout, limits, generations.live_manifest())
        contents = walk.train(k, progress)
        manifest = _manifest(walk, k, holdout, quality, forced, started)
        live = generations.live()
        with progress.step("publish", manifest.users + manifest.items, "lists") as advance:
            published = publish(client, namespace, manifest, contents, token, advance)
        generations.prune(keep, spared=live)
    return published


def _manifest(
    walk: Walk,
    k: int,
    holdout: Holdout,
    quality: Quality | None,
    forced: bool,
    started: datetime,
) -> Manifest:
    return Manifest(
        generation=generation_name(started, secrets.token_hex(2)),
        state="writing",
        users=walk.users,
        items=walk.items,
        interactions=walk.interactions,
        k=k,
        user_buckets=bucket_count(walk.users),
        similar_buckets=bucket_count(walk.items),
        chunks=chunk_count(walk.items),
        engine=walk.engine,
        settings={**walk.settings, **holdout.settings},
        metrics=asdict(quality) if quality is not None else {},
        fingerprint=walk.fingerprint(),
        forced=forced,
        code_version=_code_version(),
        started_at=started.isoformat(timespec="seconds"),
    )


def _code_version() -> str:
    """Which release this is; a zip of our code, as Spark takes it, does not say."""
    try:
        return version("larder")
    except PackageNotFoundError:
        return "unknown"


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
    if not holdout.judges and not limits.force:
        raise BadSettings("--holdout 0 publishes a model that nobody judged: add --force")


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
