"""How many events there are, how fast they come, and the last ones without anybody's name."""

from typing import Any

from app.cache.connect import CACHE_ERRORS, Client, no_answer
from app.contracts.events import Entry, Streams, ms_of
from app.errors import CacheUnavailable

SHOWN = 50
RATED_SECONDS = 60
_LATEST = 1000
"""The rate is that of so many at most: a full minute of a busy shop would be much to read."""

_ID_LENGTH = 3


def state(client: Client, streams: Streams, read_ms: int | None, now_ms: float) -> dict[str, Any]:
    """Raises CacheUnavailable.

    read_ms: when the last entry was written that this worker has read. In the answer ``rate`` is
    in events a second, and ``lag_ms`` how much later the last one was written that there is.
    """
    server: Any = client
    try:
        length = server.xlen(streams.events)
        latest: list[Entry] = server.xrevrange(streams.events, count=_LATEST)
        until = (server.hget(streams.exported, "until") or b"").decode()
    except CACHE_ERRORS as error:
        raise CacheUnavailable(f"the server of the events: {no_answer(error)}") from error
    newest_ms = ms_of(latest[0][0].decode()) if latest else 0
    return {
        "length": length,
        "rate": rate(latest, now_ms),
        "lag_ms": 0 if read_ms is None else max(0, newest_ms - read_ms),
        "exported_until": until,
        "events": [shortened(each) for each in latest[:SHOWN]],
    }


def rate(latest: list[Entry], now_ms: float) -> float:
    """Entries a second in the last minute, or since the oldest of these where that is later."""
    times = [ms_of(stream_id.decode()) for stream_id, _ in latest]
    recent = [each for each in times if each > now_ms - RATED_SECONDS * 1000]
    if len(recent) < _LATEST:
        return len(recent) / RATED_SECONDS
    return len(recent) / max(0.001, (now_ms - recent[-1]) / 1000)


def shortened(entry: Entry) -> dict[str, str]:
    """An entry of the stream as a page shows it: nobody reads there who did what."""
    stream_id, told = entry

    def text(name: str) -> str:
        return told.get(name.encode(), b"").decode(errors="replace")

    who = text("user") or text("session")
    return {
        "at": stream_id.decode(),
        "type": text("type") or "?",
        "who": who if len(who) <= _ID_LENGTH else who[:_ID_LENGTH] + "…",
        "item": text("item") or text("items"),
    }
