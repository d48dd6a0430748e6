"""Which list a user gets, decided here for every way of asking."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

Chosen = tuple[str, Remembered | None]
"""The source of what somebody gets, and what that is; None for an empty list."""

Asker = tuple[str, str, bytes]
"""Whom a list is for: a user, session or items; the name for messages, and the member of JSON."""

log = logging.getLogger("larder.api")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants of a list.

    n: so many items, 0 for the whole list; filter: has been checked against the generation.
    """

    n: int = 0
    fallback: str = FALLBACKS[0]
    filter: Clauses = ()


WHOLE = Wish()


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
        self, generation: Generation, user: str, wish: Wish = WHOLE
    ) -> tuple[bytes, str | None]:
        """The answer and its ETag; None when it is degraded.

        Raises UnknownUser for a stranger without fallback, CacheUnavailable when nobody can tell,
        BrokenRecord.
        """
        found, degraded = self._found(generation, user)
        etag = self._lookup.etag(generation, found)
        return self._answered(generation, _user(user), found, degraded, wish, etag)

    def ranked(self, generation: Generation, user: str, wish: Wish, rank: Ranking) -> bytes:
        """As ``one``, but all that is stored of the list is put in order anew, before the rules."""
        found, degraded = self._found(generation, user)
        chosen = _choose(generation, found, wish.fallback)
        if chosen[0] == "none":
            raise _nobody(_user(user), degraded)
        if (listed := chosen[1]) and (ranking := rank([item for item, _ in listed.entries()])):
            entries, lost = ranking
            degraded = degraded or lost
            chosen = "click", Remembered(b"", own=entries, gone=listed.gone, history=listed.history)
        order = generation.order(self.now, wish.filter)
        return _answer(generation, _user(user), chosen, wish, order, degraded)

    def many(self, generation: Generation, users: Sequence[str], wish: Wish) -> list[bytes]:
        """Each user's answer; that of a stranger without fallback has an empty list.

        A record that is broken spoils the answer of no other user.
        """
        lists, lost = self._lookup.users(generation, users)
        order = generation.order(self.now, wish.filter)
        is_any_degraded, answers = bool(lost), []
        for user, found in zip(users, lists, strict=True):
            chosen, degraded = _choose(generation, found, wish.fallback), user in lost
            try:
                answer = _answer(generation, _user(user), chosen, wish, order, degraded)
            except BrokenRecord as error:
                log.error("broken record of user %r: %s", user, error)
                chosen, is_any_degraded = _choose(generation, None, wish.fallback), True
                answer = _answer(generation, _user(user), chosen, wish, order, True)
            answers.append(answer)
        if is_any_degraded:
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

    def _answered(
        self,
        generation: Generation,
        asker: Asker,
        found: Remembered | None,
        degraded: bool,
        wish: Wish,
        etag: str,
    ) -> tuple[bytes, str | None]:
        chosen = _choose(generation, found, wish.fallback)
        if chosen[0] == "none":
            raise _nobody(asker, degraded)
        order = generation.order(self.now, wish.filter)
        body = _answer(generation, asker, chosen, wish, order, degraded)
        return body, None if degraded else tagged(etag, order)


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

    def session(self, generation: Generation, session: str, wish: Wish) -> tuple[bytes, str | None]:
        """As ``one``, for a visitor of whom only the session is known."""
        found, degraded = self._live.session(generation, session)
        if degraded:
            self._tell()
        asker = "session", session, b'"session":' + quoted(session)
        etag = self._live.etag(generation, found)
        return self._answered(generation, asker, found, degraded, wish, etag)

    def items(
        self, generation: Generation, items: Sequence[str], wish: Wish
    ) -> tuple[bytes, str | None]:
        """As ``one``, for somebody of whom only these items are known."""
        found, degraded = self._live.items(generation, items)
        if degraded:
            self._tell()
        asker = "items", ",".join(items)[:200], b'"items":[%s]' % b",".join(map(quoted, items))
        etag = f"{generation.etag}-{generation.follows}"
        return self._answered(generation, asker, found, degraded, wish, etag)


def tagged(etag: str, order: Order | None) -> str:
    """The tag of an answer to which rules or a filter were applied."""
    return etag if order is None else f"{etag}-{order.tag}"


def _user(user: str) -> Asker:
    return "user", user, b'"user":' + quoted(user)


def _nobody(asker: Asker, degraded: bool) -> UnknownUser | CacheUnavailable:
    who = f"{asker[0]} {asker[1]!r}"
    if degraded:
        return CacheUnavailable(f"nobody can tell now whether there is a list for {who}")
    return UnknownUser(f"the live generation has no list for {who}")


def _choose(generation: Generation, found: Remembered | None, fallback: str) -> Chosen:
    """What somebody gets.

    Two lists are empty, without fallback: nobody knows the user, or the user has had every item.
    """
    if found is not None:
        if found.own is not None:
            return _choose_own(found, fallback)
        if found.record and not found.popular:
            return "personal", found
    if fallback == "popular":
        return "popular", found if found is not None and found.record else generation.popular
    return ("none" if found is None or found.record else "exhausted"), None


def _choose_own(found: Remembered, fallback: str) -> Chosen:
    """The same for a list that follows from what somebody did lately."""
    if found.source != "popular" or fallback == "popular":
        return found.source, found
    return ("none" if found.popular else "exhausted"), None


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
    asker: Asker,
    chosen: Chosen,
    wish: Wish,
    order: Order | None,
    degraded: bool,
) -> bytes:
    source, remembered = chosen
    n, end = wish.n or generation.manifest.k, b',"degraded":true' if degraded else b""
    if order is not None and remembered is not None:
        remembered = ruled(generation, order, remembered, source, wish.fallback)
        source = remembered.source
        if len(remembered.own or ()) < n:
            end = b',"complete":false' + end
    return b'{%s,"generation":"%s","source":"%s","recommendations":%s%s}' % (
        asker[2],
        generation.manifest.generation.encode(),
        source.encode(),
        b"[]" if remembered is None else generation.render(remembered, n),
        end,
    )
