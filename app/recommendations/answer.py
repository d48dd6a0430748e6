"""Which list a user gets, decided here for every way of asking."""

from collections.abc import Sequence

from app.errors import CacheUnavailable, UnknownUser
from app.recommendations.generation import Generation, quoted
from app.recommendations.lookup import Lookup
from app.recommendations.near_cache import Remembered
from app.recommendations.watcher import Listener

FALLBACKS = ("popular", "none")
"""What a stranger may get."""


class Answers:
    """The answers of one worker, as JSON.

    Degraded ones were made without the cache, so that a known user may pass for a stranger.
    """

    def __init__(self, lookup: Lookup, listener: Listener | None = None) -> None:
        self._lookup = lookup
        self._listener = listener

    def one(
        self, generation: Generation, user: str, n: int | None = None, fallback: str = FALLBACKS[0]
    ) -> tuple[bytes, bool]:
        """The answer of n items, or of the whole list, and whether it is degraded.

        Raises UnknownUser for a stranger without fallback, CacheUnavailable when nobody can tell.
        """
        (found,), degraded = self._find(generation, [user])
        if found is None and fallback == "none":
            raise _nobody(user, degraded)
        n = n or generation.manifest.k
        return _answer(generation, user, found, n, fallback, degraded), degraded

    def many(
        self, generation: Generation, users: Sequence[str], n: int, fallback: str
    ) -> list[bytes]:
        """Each user's answer; that of a stranger without fallback has an empty list."""
        lists, degraded = self._find(generation, users)
        return [
            _answer(generation, user, found, n, fallback, degraded)
            for user, found in zip(users, lists, strict=True)
        ]

    def _find(
        self, generation: Generation, users: Sequence[str]
    ) -> tuple[list[Remembered | None], bool]:
        lists, degraded = self._lookup.users(generation, users)
        if degraded and self._listener:
            self._listener.degraded()
        return lists, degraded


def _nobody(user: str, degraded: bool) -> UnknownUser | CacheUnavailable:
    if degraded:
        return CacheUnavailable(f"nobody can tell now whether there is a list for user {user!r}")
    return UnknownUser(f"the live generation has no list for user {user!r}")


def _answer(
    generation: Generation,
    user: str,
    found: Remembered | None,
    n: int,
    fallback: str,
    degraded: bool,
) -> bytes:
    if found is not None:
        source, entries = b"personal", generation.render(found, n)
    elif fallback == "popular":
        source, entries = b"popular", generation.render(generation.popular, n)
    else:
        source, entries = b"none", b"[]"
    return b'{"user":%s,"generation":"%s","source":"%s","recommendations":%s%s}' % (
        quoted(user),
        generation.manifest.generation.encode(),
        source,
        entries,
        b',"degraded":true' if degraded else b"",
    )
