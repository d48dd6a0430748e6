"""How the server of the events keeps what somebody did lately."""

from collections.abc import Iterator, Sequence
from itertools import chain

from app.cache.pipeline import Command
from app.contracts.events import LASTING, MAX_LASTING, MAX_RECENT, Actor, Event, Streams

Scores = dict[bytes, float | None]


def commands(
    streams: Streams, events: Sequence[Event], now_ms: int, seconds: int
) -> Iterator[Command]:
    """What the events change, in their order."""
    changed: dict[Actor, tuple[Scores, Scores]] = {}
    for place, event in enumerate(events):
        score = None if event.takes_back else now_ms + place / len(events)
        for actor in event.actors():
            latest, lasting = changed.setdefault(actor, ({}, {}))
            (lasting if event.type in LASTING else latest)[event.recent] = score
    for actor, (latest, lasting) in changed.items():
        if latest:
            yield from _changes(streams.recent(actor), latest, MAX_RECENT, seconds)
        if lasting:
            yield from _changes(streams.lasting(actor), lasting, MAX_LASTING, seconds)


def _changes(key: bytes, scores: Scores, most: int, seconds: int) -> Iterator[Command]:
    if gone := [member for member, score in scores.items() if score is None]:
        yield ("ZREM", key, *gone)
    if kept := [(score, member) for member, score in scores.items() if score is not None]:
        yield ("ZADD", key, *chain.from_iterable(kept))
        yield ("ZREMRANGEBYRANK", key, 0, -most - 1)
        yield ("EXPIRE", key, seconds)
