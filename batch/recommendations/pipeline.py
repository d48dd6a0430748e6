"""From interactions to a published generation: judge, gate, train on everything, publish."""

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from app.contracts.generations import generation_name
from app.contracts.recommendations import Manifest, Namespace, bucket_count, chunk_count
from batch.errors import NotGoodEnough
from batch.generations.connect import Client
from batch.generations.publish import Contents, turn
from batch.interactions.pairs import Report
from batch.interactions.reading import Reading
from batch.progress import Progress
from batch.recommendations.evaluate import Metrics
from batch.recommendations.ratings import RatingMetrics
from batch.recommendations.terms import Gate, Holdout, Terms

log = logging.getLogger("larder.pipeline")


@dataclass(frozen=True, slots=True)
class Quality:
    """The model and most-popular, judged on the same held-out interactions.

    ratings: how well a model of explicit feedback predicts them.
    """

    model: Metrics
    popular: Metrics
    ratings: RatingMetrics | None = None


class Candidate(Protocol):
    """Interactions and an engine for them: what may become a generation."""

    @property
    def report(self) -> Report:
        """What became of the input."""

    @property
    def users(self) -> int:
        """How many there are."""

    @property
    def items(self) -> Sequence[str]:
        """Their ids."""

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

    def train(
        self, namespace: Namespace, documents: Iterable[bytes], k: int, progress: Progress
    ) -> Contents[Manifest]:
        """Train on everything; what comes back makes the lists when it writes them.

        documents: one JSON object per item, in order.
        """


class Trial(Protocol):
    """Two inputs and an engine: to train on one and score on the other."""

    @property
    def reports(self) -> Sequence[Report]:
        """What became of the inputs."""

    @property
    def users(self) -> int:
        """How many there are in either input."""

    @property
    def items(self) -> Sequence[str]:
        """The ids of those in either input."""

    def judge(self, k: int, progress: Progress) -> Quality:
        """See ``Candidate.judge``."""


class Platform(Protocol):
    """Where models are trained: this machine, or a Spark cluster."""

    def candidate(
        self, interactions: str, reading: Reading, cache_url: str, progress: Progress
    ) -> AbstractContextManager[Candidate]:
        """Read the interactions, whose lists go into that cache.

        Raises BadInteractions or BadSettings.
        """

    def trial(
        self, train: str, test: str, reading: Reading, progress: Progress
    ) -> AbstractContextManager[Trial]:
        """Read both inputs. Raises BadInteractions or BadSettings."""


def refresh(
    candidate: Candidate,
    documents: Iterable[bytes],
    client: Client,
    namespace: Namespace,
    terms: Terms,
    progress: Progress,
    report: Callable[[Quality], None] = lambda quality: None,
) -> Manifest:
    """Judge a model on held-out interactions, train it on all of them and publish its lists.

    documents: one JSON object per item, in order. Raises a Terminal error for bad data or a bad
    model, a Transient one when the cache cannot take it; nothing is published then.
    """
    started = datetime.now(UTC)
    with turn(client, namespace, terms.keep) as ours:
        quality = _judged(candidate, terms, progress)
        if quality is not None:
            report(quality)
        forced = _is_forced(quality, terms, ours.generations.live_manifest())
        contents = candidate.train(namespace, documents, terms.k, progress)
        manifest = _manifest(candidate, terms, quality, forced, started)
        lists = manifest.users + (manifest.items if terms.similar else 0)
        with progress.step("publish", lists, "lists") as advance:
            published = ours.publish(manifest, contents, advance)
    return published


def _judged(candidate: Candidate, terms: Terms, progress: Progress) -> Quality | None:
    if not terms.holdout.judges:
        return None
    return candidate.judge(terms.holdout, terms.k, progress)


def _manifest(
    candidate: Candidate,
    terms: Terms,
    quality: Quality | None,
    forced: bool,
    started: datetime,
) -> Manifest:
    items = len(candidate.items)
    return Manifest(
        generation=generation_name(started, secrets.token_hex(2)),
        state="writing",
        users=candidate.users,
        items=items,
        interactions=candidate.interactions,
        k=terms.k,
        user_buckets=bucket_count(candidate.users),
        similar_buckets=bucket_count(items) if terms.similar else 0,
        chunks=chunk_count(items),
        engine=candidate.engine,
        settings={**candidate.settings, **terms.holdout.settings},
        metrics=asdict(quality) if quality is not None else {},
        fingerprint=candidate.fingerprint(),
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


def _is_forced(quality: Quality | None, terms: Terms, live: Manifest | None) -> bool:
    """Whether the gate had to be forced. Raises NotGoodEnough when it was not."""
    if quality is None:
        return True
    live_ndcg = _live_ndcg(live, terms.holdout, quality.model.k)
    reasons = "; ".join(reasons_against(quality, terms.gate, live_ndcg))
    if not reasons:
        return False
    if not terms.gate.force:
        raise NotGoodEnough(f"{reasons}. Nothing was published; --force publishes all the same")
    log.warning("--force: publishing although %s", reasons)
    return True


def reasons_against(quality: Quality, gate: Gate, live_ndcg: float | None) -> list[str]:
    """Give every reason why the model must not be published; none when it may be.

    live_ndcg: that of the live generation at the same k, or None.
    """
    model, popular = quality.model, quality.popular
    reached = f"nDCG@{model.k} {model.ndcg:.4f}"
    reasons = []
    if model.ndcg <= popular.ndcg:
        reasons.append(f"{reached} does not beat most-popular's {popular.ndcg:.4f}")
    if model.ndcg < gate.min_ndcg:
        reasons.append(f"{reached} is below --min-ndcg {gate.min_ndcg:g}")
    if live_ndcg is not None and model.ndcg < live_ndcg * (1 - gate.max_drop):
        reasons.append(
            f"{reached} is more than {gate.max_drop:.0%} under the live generation's "
            f"{live_ndcg:.4f} (--max-drop)"
        )
    return reasons


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
