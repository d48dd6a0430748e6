"""Which list a user gets, decided here for every way of asking."""

from collections.abc import Sequence
from typing import NamedTuple

from app.recommendations.generation import Generation, quoted
from app.recommendations.lookup import Lookup
from app.recommendations.near_cache import Remembered
from app.recommendations.watcher import Listener

FALLBACKS = ("popular", "none")
"""What a stranger may get."""


class Answer(NamedTuple):
    """What one user gets: from which list, "personal", "popular" or "none", and as JSON."""

    source: str
    body: bytes


class Answers:
    """The answers of one worker."""

    def __init__(self, lookup: Lookup, listener: Listener | None = None) -> None:
        self._lookup = lookup
        self._listener = listener

    def of(
        self,
        generation: Generation,
        users: Sequence[str],
        n: int | None = None,
        fallback: str = FALLBACKS[0],
    ) -> tuple[list[Answer], bool]:
        """Each user's answer, of n items or the whole list, and whether they are degraded.

        Degraded answers were made without the cache, so that a known user may pass for a stranger.
        """
        lists, degraded = self._lookup.users(generation, users)
        if degraded and self._listener:
            self._listener.degraded()
        length = n or generation.manifest.k
        answers = [
            _answer(generation, user, found, length, fallback, degraded)
            for user, found in zip(users, lists, strict=True)
        ]
        return answers, degraded


def _answer(
    generation: Generation,
    user: str,
    found: Remembered | None,
    n: int,
    fallback: str,
    degraded: bool,
) -> Answer:
    if found is not None:
        source, entries = "personal", generation.render(found, n)
    elif fallback == "popular":
        source, entries = "popular", generation.render(generation.popular, n)
    else:
        source, entries = "none", b"[]"
    body = b'{"user":%s,"generation":"%s","source":"%s","recommendations":%s%s}' % (
        quoted(user),
        generation.manifest.generation.encode(),
        source.encode(),
        entries,
        b',"degraded":true' if degraded else b"",
    )
    return Answer(source, body)
