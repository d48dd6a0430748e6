"""Which list a user gets, decided here for every way of asking."""

import logging
import time
from collections.abc import Callable, Sequence

from app.contracts.generations import BrokenRecord
from app.errors import CacheUnavailable, UnknownUser
from app.recommendations.generation import Generation, quoted
from app.recommendations.live.lookup import LiveLookup
from app.recommendations.lookup import Lookup
from app.recommendations.memory.near_cache import Entries, Remembered
from app.recommendations.ruled import ruled
from app.recommendations.rules.in_force import Clauses
from app.recommendations.rules.ranking import Order
from app.recommendations.watcher import Listener

FALLBACKS = ("popular", "none")
"""What a stranger may get, and a user who has had everything."""

Ranking = Callable[[Sequence[int]], tuple[Entries, bool] | None]
"""Puts items in order, with scores; says whether that is degraded. None where nobody can."""

log = logging.getLogger("larder.api")


class Answers:
    """The answers of one worker, as JSON.

    Degraded ones were made without the cache, so that a known user may pass for a stranger.
    are_constant: within a generation a user's answer never changes.
    """

    are_constant = True

    def __init__(
        self,
        lookup: Lookup,
        listener: Listener | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lookup = lookup
        self._listener = listener
        self.now = now
        """Seconds since 1970."""

    def one(
        self,
        generation: Generation,
        user: str,
        n: int | None = None,
        fallback: str = FALLBACKS[0],
        asked: Clauses = (),
    ) -> tuple[bytes, str | None]:
        """The answer of n items, or of the whole list, and its ETag; None when it is degraded.

        asked: a filter that has been checked against the generation.

        Raises UnknownUser for a stranger without fallback, CacheUnavailable when nobody can tell,
        BrokenRecord.
        """
        found, degraded = self._found(generation, user)
        source, remembered = _of(user, degraded, _choose(generation, found, fallback))
        order = generation.order(self.now, asked)
        n = n or generation.manifest.k
        body = _answer(generation, _user(user), source, remembered, n, degraded, order, fallback)
        return body, None if degraded else tagged(self._lookup.etag(generation, found), order)

    def ranked(
        self,
        generation: Generation,
        user: str,
        n: int,
        fallback: str,
        asked: Clauses,
        rank: Ranking,
    ) -> bytes:
        """As ``one``, but all that is stored of the list is put in order anew, before the rules."""
        found, degraded = self._found(generation, user)
        source, remembered = _of(user, degraded, _choose(generation, found, fallback))
        ranking = rank([item for item, _ in remembered.entries()]) if remembered else None
        if remembered and ranking:
            entries, lost = ranking
            source, degraded = "click", degraded or lost
            remembered = Remembered(
                b"", own=entries, gone=remembered.gone, history=remembered.history
            )
        order = generation.order(self.now, asked)
        return _answer(generation, _user(user), source, remembered, n, degraded, order, fallback)

    def many(
        self,
        generation: Generation,
        users: Sequence[str],
        n: int,
        fallback: str,
        asked: Clauses = (),
    ) -> list[bytes]:
        """Each user's answer; that of a stranger without fallback has an empty list.

        A record that is broken spoils the answer of no other user.
        """
        lists, degraded = self._lookup.users(generation, users)
        order = generation.order(self.now, asked)
        broken: dict[str, str] = {}
        answers = []
        for user, found in zip(users, lists, strict=True):
            who, asked_for = _user(user), (order, fallback)
            chosen = _choose(generation, found, fallback)
            try:
                answer = _answer(generation, who, *chosen, n, user in degraded, *asked_for)
            except BrokenRecord as error:
                broken[user] = str(error)
                chosen = _choose(generation, None, fallback)
                answer = _answer(generation, who, *chosen, n, True, *asked_for)
            answers.append(answer)
        for user, problem in broken.items():
            log.error("broken record of user %r: %s", user, problem)
        if broken or degraded:
            self._tell()
        return answers

    def lists(self, generation: Generation, users: Sequence[str]) -> list[list[int]]:
        """Each user's list, under the rules of this generation. Raises BrokenRecord."""
        order = generation.order(self.now)
        found, _ = self._lookup.users(generation, users)
        return [_items(generation, *_choose(generation, each, "popular"), order) for each in found]

    def _found(self, generation: Generation, user: str) -> tuple[Remembered | None, bool]:
        """A user's list, and whether it is degraded."""
        (found,), lost = self._lookup.users(generation, [user])
        if lost:
            self._tell()
        return found, bool(lost)

    def _tell(self) -> None:
        """One more answer, or batch of answers, was made without the cache."""
        if self._listener:
            self._listener.degraded()


class LiveAnswers(Answers):
    """The same where what users do changes their lists."""

    are_constant = False

    def __init__(
        self,
        lookup: LiveLookup,
        listener: Listener | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(lookup, listener, now)
        self._live = lookup

    def session(
        self, generation: Generation, session: str, n: int, fallback: str, asked: Clauses = ()
    ) -> tuple[bytes, str | None]:
        """As ``one``, for a visitor of whom only the session is known."""
        found, degraded = self._live.session(generation, session)
        if degraded:
            self._tell()
        source, remembered = _choose(generation, found, fallback)
        if source == "none":
            raise _nobody("session", session, degraded)
        who = b'"session":' + quoted(session)
        order = generation.order(self.now, asked)
        body = _answer(generation, who, source, remembered, n, degraded, order, fallback)
        return body, None if degraded else tagged(self._live.etag(generation, found), order)

    def items(
        self,
        generation: Generation,
        items: Sequence[str],
        n: int,
        fallback: str,
        asked: Clauses = (),
    ) -> tuple[bytes, str | None]:
        """As ``one``, for somebody of whom only these items are known."""
        found, degraded = self._live.items(generation, items)
        if degraded:
            self._tell()
        source, remembered = _choose(generation, found, fallback)
        if source == "none":
            raise _nobody("items", ",".join(items)[:200], degraded)
        who = b'"items":[%s]' % b",".join(map(quoted, items))
        order = generation.order(self.now, asked)
        body = _answer(generation, who, source, remembered, n, degraded, order, fallback)
        etag = f"{generation.etag}-{generation.follows}"
        return body, None if degraded else tagged(etag, order)


def tagged(etag: str, order: Order | None) -> str:
    """The tag of an answer to which rules or a filter were applied."""
    return etag if order is None else f"{etag}-{order.tag}"


def _of(
    user: str, degraded: bool, chosen: tuple[str, Remembered | None]
) -> tuple[str, Remembered | None]:
    """What was chosen for a user. Raises UnknownUser, or CacheUnavailable, for nothing."""
    if chosen[0] == "none":
        raise _nobody("user", user, degraded)
    return chosen


def _nobody(kind: str, user: str, degraded: bool) -> UnknownUser | CacheUnavailable:
    if degraded:
        return CacheUnavailable(f"nobody can tell now whether there is a list for {kind} {user!r}")
    return UnknownUser(f"the live generation has no list for {kind} {user!r}")


def _choose(
    generation: Generation, found: Remembered | None, fallback: str
) -> tuple[str, Remembered | None]:
    """The source of what a user gets, and what that is; None for an empty list.

    Two are empty, without fallback: nobody knows the user, or the user has had every item.
    """
    if found is not None:
        if found.own is not None:
            return _choose_own(found, fallback)
        if found.record and not found.popular:
            return "personal", found
    if fallback == "popular":
        return "popular", found if found is not None and found.record else generation.popular
    return ("none" if found is None or found.record else "exhausted"), None


def _choose_own(found: Remembered, fallback: str) -> tuple[str, Remembered | None]:
    """The same for a list that follows from what somebody did lately."""
    if found.source != "popular" or fallback == "popular":
        return found.source, found
    return ("none" if found.popular else "exhausted"), None


def _user(user: str) -> bytes:
    return b'"user":' + quoted(user)


def _items(
    generation: Generation, source: str, remembered: Remembered | None, order: Order | None
) -> list[int]:
    """The indices of the items of a list. Raises BrokenRecord."""
    if remembered is None:
        return []
    if order is not None:
        remembered = ruled(generation, order, remembered, source, "popular")
    return [item for item, _ in remembered.entries()[: generation.manifest.k]]


def _answer(
    generation: Generation,
    who: bytes,
    source: str,
    remembered: Remembered | None,
    n: int,
    degraded: bool,
    order: Order | None,
    fallback: str,
) -> bytes:
    end = b',"degraded":true' if degraded else b""
    if order is not None and remembered is not None:
        remembered = ruled(generation, order, remembered, source, fallback)
        source = remembered.source
        if len(remembered.own or ()) < n:
            end = b',"complete":false' + end
    return b'{%s,"generation":"%s","source":"%s","recommendations":%s%s}' % (
        who,
        generation.manifest.generation.encode(),
        source.encode(),
        b"[]" if remembered is None else generation.render(remembered, n),
        end,
    )
