"""Which candidates a user is most likely to click: the model, and all that is known of both."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.cache.link import Link
from app.clicks.follower import Follower
from app.clicks.known import NOTHING, Catalogue, KnownItems, columns_of
from app.clicks.rows import Features, Rows, UnknownColumns, WrongType
from app.errors import BadParameter

if TYPE_CHECKING:
    from app.clicks.scorer import Explanation, Scorer, Scores

Candidate = tuple[str, Features | None]
"""The id of an item, and its columns, which win over those of the catalogue; None without any."""


class Counter(Protocol):
    """Who counts what was scored."""

    def degraded(self) -> None:
        """An answer was made without the cache, or by a model that is not live."""

    def scored(self, rows: int, unknown: int) -> None:
        """So many rows, in which so many values were in no table of the model."""

    def passed_over(self, columns: int) -> None:
        """A request named so many columns that the model does not have."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates with their scores. order: their places, the best first.

    strangers: those that came as ids of no item; private: columns of the user that the request did
    not say, but the cache; degraded: the model may not be the live one, or the user's columns are
    missing.
    """

    scorer: "Scorer"
    rows: Rows
    scores: "Scores"
    order: Sequence[int]
    strangers: Sequence[str]
    private: Collection[str]
    degraded: bool

    def explained(self, top: int) -> "list[Explanation]":
        """Of the best so many, in their order."""
        return self.scorer.explain(self.rows, self.scores, self.order[:top], self.private)


class Ranker:
    """Ranks for one worker, with whatever model it has at the moment.

    unknown: what becomes of columns that it does not have, as ``LARDER_CLICKS_UNKNOWN`` says.
    """

    def __init__(self, follower: Follower, link: Link, counter: Counter, unknown: str) -> None:
        self.follower = follower
        self._link, self._counter, self._unknown = link, counter, unknown
        self._known: KnownItems | None = None

    def rank(
        self,
        user: str | None,
        features: Features,
        candidates: Sequence[Candidate],
        catalogue: Catalogue | None = None,
        what: str = "item",
    ) -> Ranked:
        """Score each candidate for a user; features: of the user and the moment, which win.

        what: what a candidate is called in messages. Raises BadParameter for a value of another
        kind or, if these are refused, a column that the model does not have; NothingPublished,
        CacheUnavailable.
        """
        scorer = self.follower.live()
        if self._unknown == "ignore":
            features, candidates = self._known_alone(scorer, features, candidates)
        own, lost = self._columns_of(scorer, user)
        try:
            rows = scorer.encoder.rows({**own, **features}, len(candidates))
        except (UnknownColumns, WrongType) as error:
            raise BadParameter(f"features: {_told(error)}") from error
        strangers = self._fill(rows, scorer, candidates, catalogue, what)
        scores = scorer.scores(rows)
        self._counter.scored(rows.count, rows.unknown)
        degraded = lost or self.follower.degraded
        if degraded:
            self._counter.degraded()
        private = own.keys() - features.keys()
        return Ranked(scorer, rows, scores, scores.order(), strangers, private, degraded)

    def _known_alone(
        self, scorer: "Scorer", features: Features, candidates: Sequence[Candidate]
    ) -> tuple[Features, Sequence[Candidate]]:
        """These, without the columns that the model does not have, which are counted."""
        names, strays = scorer.encoder.names, set[str]()

        def known(features: Features) -> Features:
            if not (more := features.keys() - names):
                return features
            strays.update(more)
            return {name: features[name] for name in features.keys() - more}

        both = known(features), [(item, its and known(its)) for item, its in candidates]
        if strays:
            self._counter.passed_over(len(strays))
        return both

    def _columns_of(self, scorer: "Scorer", user: str | None) -> tuple[Features, bool]:
        if user is None:
            return NOTHING, False
        found, lost = columns_of(self._link, self.follower.space, scorer.manifest, user)
        return scorer.encoder.usable(found) if found else found, lost

    def _fill(
        self,
        rows: Rows,
        scorer: "Scorer",
        candidates: Sequence[Candidate],
        catalogue: Catalogue | None,
        what: str,
    ) -> list[str]:
        """Set what is known of each candidate, what it came with last; returns the strangers."""
        strangers, encoder = [], scorer.encoder
        known_items = self._known_items(scorer, catalogue)
        for row, (item, features) in enumerate(candidates):
            if known := known_items.encoded(item) if known_items else None:
                encoder.set(rows, row, known)
            if features is None:
                if known is None:
                    strangers.append(item)
                continue
            try:
                encoder.fill(rows, row, features)
            except (UnknownColumns, WrongType) as error:
                raise BadParameter(f"{what} {item[:40]!r}: {_told(error)}") from error
        return strangers

    def _known_items(self, scorer: "Scorer", catalogue: Catalogue | None) -> KnownItems | None:
        if catalogue is None:
            return None
        known = self._known  # another thread may put that of another model there
        if known is None or not known.is_of(scorer.encoder, catalogue):
            self._known = known = KnownItems(scorer.encoder, catalogue)
        return known


def _told(error: UnknownColumns | WrongType) -> str:
    if isinstance(error, WrongType):
        return str(error)
    return f"the model has no column {error}: GET /version lists those that it has"
