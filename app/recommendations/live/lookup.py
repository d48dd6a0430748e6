"""What is asked in a request where what users do changes their lists: still one round trip."""

import logging
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from functools import partial

from app.cache.buckets import Answers, Asked, Found, ask_both, questions, read
from app.cache.connect import CACHE_ERRORS, Client
from app.cache.link import Link
from app.contracts.events import Actor, Streams
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Place, decode_record
from app.errors import CacheUnavailable
from app.recommendations.generation import Generation
from app.recommendations.live import recent
from app.recommendations.live.following import from_items, near_to, near_to_items, remember
from app.recommendations.live.neighbours import Lists
from app.recommendations.live.recent import NOTHING, Recents
from app.recommendations.live.tail import Tail
from app.recommendations.lookup import Lookup, by_bucket, records_of
from app.recommendations.memory.near_cache import Entries, Remembered, Who
from app.recommendations.watcher import Watcher

log = logging.getLogger("larder.events")


class LiveLookup(Lookup):
    """Asks the cache for lists and the server of the events for what users did lately.

    While one of them is away the other is asked all the same, and all answers are degraded.
    """

    def __init__(self, watcher: Watcher, tail: Tail, excluding: Collection[str]) -> None:
        super().__init__(watcher)
        self._tail = tail
        self._excluding = excluding
        self._streams = Streams(watcher.namespace.name)
        named = ",".join(sorted(excluding)).encode()
        self._rules = zlib.crc32(named)

    def etag(self, generation: Generation, found: Remembered | None) -> str:
        """It tells whom nobody knows from who did nothing: a user may have been deleted."""
        rules = f"{self._rules:x}-{generation.follows}"
        return f"{generation.etag}-{rules}-{f'{found.version:x}' if found else 'unknown'}"

    def users(
        self, generation: Generation, users: Sequence[str]
    ) -> tuple[list[Remembered | None], Set[Who]]:
        found, degraded = self._known(generation, users)
        if not (self._watcher.reachable and self._tail.reachable):
            degraded = set(users)
        return [found[user] for user in users], degraded

    def session(self, generation: Generation, session: str) -> tuple[Remembered | None, bool]:
        """What its list is made from, None where nobody knows it, and whether that is degraded."""
        who = Actor.session(session)
        found, degraded = self._known(generation, [who])
        return found[who], bool(degraded) or not self._tail.reachable

    def items(self, generation: Generation, items: Sequence[str]) -> tuple[Remembered, bool]:
        """What the list of somebody with these items is made from, and whether it is degraded."""
        known = near_to_items(generation, items)
        similar = self._similar(generation, known)
        return from_items(generation, items, similar), len(similar) < len(known)

    def _known(
        self, generation: Generation, whom: Sequence[Who]
    ) -> tuple[dict[Who, Remembered | None], set[Who]]:
        """What is near, or else asked; and of whom nobody can tell better now."""
        found = {who: generation.near.get(who) for who in whom}
        missing = [who for who, remembered in found.items() if remembered is None]
        return found, self._asked(generation, missing, found) if missing else set()

    def _asked(
        self,
        generation: Generation,
        whom: Sequence[Who],
        found: dict[Who, Remembered | None],
    ) -> set[Who]:
        """Keeps near only what could not be told better. Lists are stored of users alone."""
        ticket = generation.near.ticket()
        place_of = partial(generation.manifest.user_place, self._namespace)
        places: dict[Who, Place] = {who: place_of(who) for who in whom if isinstance(who, str)}
        actors = [Actor.user(who) if isinstance(who, str) else who for who in whom]
        asked = by_bucket(places.values())
        buckets, answers = self._ask_both(asked, actors)
        records, degraded = records_of(asked, buckets), set()
        values = {who: records.get(place) for who, place in places.items()}
        told = dict(zip(whom, _decoded(actors, answers), strict=True))
        near = {
            who: near_to(generation, values.get(who), recents or NOTHING)
            for who, recents in told.items()
        }
        wanted = {item: index for items in near.values() for item, index in items.items()}
        similar = self._similar(generation, wanted)
        for who, recents in told.items():
            lists = {item: similar[item] for item in near[who].values() if item in similar}
            remembered = self._remember(generation, values.get(who), recents or NOTHING, lists)
            found[who] = remembered
            is_lost = who in places and buckets.get(places[who][0]) is None
            if recents is None or is_lost or len(lists) < len(near[who]):
                degraded.add(who)
            elif remembered is not None and self._tail.reachable:
                generation.near.put(who, remembered, ticket)
        return degraded

    def _similar(self, generation: Generation, items: Mapping[str, int]) -> dict[int, Entries]:
        """The similar items of these, in a round trip; without those of which nobody can tell."""
        if not items:
            return {}
        place_of = partial(generation.manifest.item_place, self._namespace)
        places = {index: place_of(item) for item, index in items.items()}
        found: dict[int, Entries] = {}
        try:
            records, lost = self._ask(list(places.values()))
            for index, place in places.items():
                if place[0] not in lost:
                    found[index] = decode_record(records.get(place, b""))
        except CacheUnavailable:
            pass
        except BrokenRecord as error:
            log.error("similar items cannot be read: %s", error)
        return found

    def _remember(
        self, generation: Generation, value: bytes | None, recents: Recents, similar: Lists
    ) -> Remembered | None:
        try:
            return remember(generation, value, recents, self._excluding, similar)
        except BrokenRecord:  # whoever renders it finds that out for this user alone
            return remember(generation, value, NOTHING, ())

    def _ask_both(self, asked: Asked, actors: Sequence[Actor]) -> tuple[Found, Answers | None]:
        """What the buckets hold, and the answers about recents; None while nobody can tell."""
        cache = _client_of(self._watcher) if asked else None
        events = _client_of(self._tail.server)
        about_lists = questions(cache, asked) if cache else ()
        about_recents = [
            question
            for who in (actors if events else ())
            for question in recent.questions(self._streams, who)
        ]
        lists, recents = ask_both(cache, about_lists, events, about_recents)
        return self._buckets(cache, asked, lists), self._recents(events, recents)

    def _buckets(self, cache: Client | None, asked: Asked, answers: Answers | Exception) -> Found:
        """Without those of which nobody can tell now."""
        if cache is None:
            return {}
        try:
            if isinstance(answers, Exception):
                raise answers
            return read(cache, asked, answers)
        except CACHE_ERRORS as error:
            self._watcher.lost(cache, error)
            return {}

    def _recents(self, events: Client | None, answers: Answers | Exception) -> Answers | None:
        if isinstance(answers, Exception) and events is not None:
            self._tail.server.lost(events, answers)
        return None if events is None or isinstance(answers, Exception) else answers


def _decoded(actors: Sequence[Actor], answers: Answers | None) -> Iterator[Recents | None]:
    """What each did lately; None where nobody can tell."""
    if answers is None:
        yield from [None] * len(actors)
        return
    for who, *told in zip(actors, answers[::2], answers[1::2], strict=True):
        try:
            yield recent.decode(told)
        except BrokenRecord as error:
            log.error("the recent events of %s %r cannot be read: %s", who.kind, who.id, error)
            yield None


def _client_of(server: Link) -> Client | None:
    try:
        return server.client()
    except CacheUnavailable:
        return None
