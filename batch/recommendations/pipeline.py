"""From interactions to a published generation: judge, gate, train on everything, publish."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from app.contracts.recommendations import (
    Manifest,
    Namespace,
    bucket_count,
    bucket_size,
    chunk_count,
    follows,
    usual_history,
)
from batch.events.inputs import Inputs, Weighed
from batch.generations.publish import Contents, Turn, code_version, is_forced
from batch.interactions.filters import Packed
from batch.interactions.pairs import Report
from batch.interactions.reading import Reading
from batch.progress import Progress
from batch.recommendations.choose import Tried
from batch.recommendations.engines.engine import Recipe
from batch.recommendations.judge.evaluate import Metrics
from batch.recommendations.judge.ratings import RatingMetrics
from batch.recommendations.terms import Gate, Holdout, Terms

log = logging.getLogger("larder.pipeline")


@dataclass(frozen=True, slots=True)
class Quality:
    """The model and most-popular, judged on the same held-out interactions.

    ratings: how well a model of explicit feedback predicts them; tried: what the engine was chosen
    from, on other interactions.
    """

    model: Metrics
    popular: Metrics
    ratings: RatingMetrics | None = None
    tried: list[Tried] = field(default_factory=list)


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
    def model(self) -> Recipe:
        """The engine."""

    @property
    def repeat(self) -> bool:
        """Whether a list may hold what its user has already."""

    @property
    def events(self) -> Weighed:
        """Up to which entry of the stream they go."""

    @property
    def tried(self) -> Sequence[Tried]:
        """What the engine was chosen from."""

    def chosen(self, holdout: Holdout, k: int, progress: Progress) -> "Candidate":
        """The same with the engine that suits it, if one is to be chosen: by what is not held out.

        Raises BadSettings when the split does not fit the data, NotGoodEnough when a fit fails.
        """

    def fingerprint(self) -> str:
        """A hash of ids, pairs, weights and timestamps, whatever their order."""

    def judge(self, holdout: Holdout, k: int, progress: Progress) -> Quality:
        """Train on one part and measure the lists, beside most-popular, on what is held out.

        Raises BadSettings when the split does not fit the data, NotGoodEnough when the fit fails.
        """

    def train(
        self,
        namespace: Namespace,
        documents: Iterable[bytes],
        terms: Terms,
        progress: Progress,
        columns: Packed = Packed(),
    ) -> Contents[Manifest]:
        """Train on everything; what comes back makes the lists when it writes them.

        documents: one JSON object per item, in order; columns: what requests may filter by.
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
        self, inputs: Inputs, reading: Reading, cache_url: str, progress: Progress
    ) -> AbstractContextManager[Candidate]:
        """Read the interactions, whose lists go into that cache.

        Raises BadInteractions or BadSettings.
        """

    def trial(
        self, train: Inputs, test: Inputs, reading: Reading, progress: Progress
    ) -> AbstractContextManager[Trial]:
        """Read both inputs. Raises BadInteractions or BadSettings."""


def refresh(
    ours: Turn[Manifest],
    candidate: Candidate,
    documents: Iterable[bytes],
    terms: Terms,
    progress: Progress,
    report: Callable[[Quality], None] = lambda quality: None,
    columns: Packed = Packed(),
) -> Manifest:
    """Judge a model on held-out interactions, train it on all of them and publish its lists.

    ours: the turn, which began before the candidate was read; documents: one JSON object per item,
    in order; columns: what requests may filter by. Raises a Terminal error for bad data or a bad
    model, a Transient one when the cache cannot take it; nothing is published then.
    """
    live = ours.generations.live_manifest()
    shrunk = is_forced(terms.gate.force, reasons_of_size(candidate, terms.gate, live))
    candidate = candidate.chosen(terms.holdout, terms.k, progress)
    quality, reasons = None, list[str]()
    if terms.holdout.judges:
        quality = candidate.judge(terms.holdout, terms.k, progress)
        report(quality)
        before = _live_ndcg(live, settings_of(candidate, terms.holdout), quality.model.k)
        reasons = reasons_against(quality, terms.gate, before)
    forced = is_forced(terms.gate.force, reasons) or quality is None or shrunk
    space = Namespace(ours.space.name)
    contents = candidate.train(space, documents, terms, progress, columns)
    manifest = _manifest(ours, candidate, terms, quality, forced, columns)
    lists = manifest.users + (manifest.items if terms.similar else 0)
    with progress.step("publish", lists, "lists") as advance:
        return ours.publish(manifest, contents, advance)


def _manifest(
    ours: Turn[Manifest],
    candidate: Candidate,
    terms: Terms,
    quality: Quality | None,
    forced: bool,
    columns: Packed,
) -> Manifest:
    items = len(candidate.items)
    factors = candidate.model.factors if terms.stored else 0
    similar_buckets = bucket_count(items) if terms.similar else 0
    own = usual_history(terms.history, candidate.interactions, candidate.users)
    size = bucket_size(terms.stored, items, factors, own)
    return Manifest(
        generation=ours.generations.next_name(ours.started),
        state="writing",
        users=candidate.users,
        items=items,
        interactions=candidate.interactions,
        k=terms.k,
        user_buckets=bucket_count(candidate.users, size),
        similar_buckets=similar_buckets,
        chunks=chunk_count(items),
        engine=candidate.model.name,
        settings=settings_of(candidate, terms.holdout),
        metrics=_metrics(quality, candidate.tried),
        fingerprint=candidate.fingerprint(),
        forced=forced,
        code_version=code_version(),
        started_at=ours.started.isoformat(timespec="seconds"),
        stored=terms.stored,
        factors=factors,
        events_until=candidate.events.until,
        follows=follows(factors, similar_buckets),
        history=terms.history,
        columns=[column.entry() for column in columns.columns],
    )


def _metrics(quality: Quality | None, tried: Sequence[Tried]) -> dict[str, Any]:
    """What was measured; where nobody judged that is at most what the engine was chosen from."""
    if quality is not None:
        return asdict(quality)
    return {"tried": [asdict(each) for each in tried]} if tried else {}


def settings_of(candidate: Candidate, holdout: Holdout) -> dict[str, Any]:
    """How its lists are made and judged, as the manifest records it."""
    repeat = {"repeat": True} if candidate.repeat else {}
    made = {**candidate.model.settings, **repeat, **candidate.events.settings}
    return made | holdout.settings


def reasons_of_size(candidate: Candidate, gate: Gate, live: Manifest | None) -> list[str]:
    """Give every reason to take the input for a part of what it should be: before any training."""
    if live is None:
        return []
    sizes = {
        "users": (candidate.users, live.users),
        "items": (len(candidate.items), live.items),
        "pairs": (candidate.interactions, live.interactions),
    }
    return [
        f"{found:,} {what} are more than {gate.max_shrink:.0%} under the live generation's "
        f"{before:,} (--max-shrink)"
        for what, (found, before) in sizes.items()
        if found < before * (1 - gate.max_shrink)
    ]


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
    if model.coverage < gate.min_coverage:
        reasons.append(
            f"coverage {model.coverage:.4f} is below --min-coverage {gate.min_coverage:g}"
        )
    if live_ndcg is not None and model.ndcg < live_ndcg * (1 - gate.max_drop):
        reasons.append(
            f"{reached} is more than {gate.max_drop:.0%} under the live generation's "
            f"{live_ndcg:.4f} (--max-drop)"
        )
    return reasons


def _live_ndcg(live: Manifest | None, settings: Mapping[str, Any], k: int) -> float | None:
    """The live generation's nDCG, when it was judged in the same way."""
    if live is None:
        return None
    ndcg, rule = live.measured("ndcg"), _rule(settings)
    if ndcg is None or live.measured("k") != k or _rule(live.settings) != rule:
        log.warning("not compared with the live generation: it was judged in another way")
        return None
    return ndcg


def _rule(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """How lists were judged; the date of ``--after`` may move on from day to day."""
    held_out = settings.get("split"), settings.get("holdout"), "after" in settings
    return *held_out, settings.get("repeat", False)
