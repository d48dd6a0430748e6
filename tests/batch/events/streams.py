"""Events as the API writes them, made by hand; what became of them in files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from app.contracts.events import Event, Streams


def event(
    number: int, user: str = "u1", kind: str = "click", item: str = "i1", **more: Any
) -> Event:
    """The event of that number, one a second; ids and times follow from it."""
    return Event(f"e{number}", kind, 1_700_000_000_000 + 1000 * number, user, item=item, **more)


def write(client: Any, keys: Streams, events: Iterable[Event], start_ms: int | None = None) -> None:
    """Put them into the stream, one a second from that moment on, or now."""
    for number, each in enumerate(events):
        stream_id = "*" if start_ms is None else f"{start_ms + 1000 * number}-0"
        client.xadd(keys.events, each.encode(), id=stream_id)


def rows(folder: Path, columns: str = "id") -> list[Any]:
    """What is in the files, in the order of the stream; of one column its values."""
    files = sorted(map(str, folder.glob("day=*/*.parquet")))
    if not files:
        return []
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT {columns} FROM read_parquet(?, hive_partitioning = false) "
            "ORDER BY split_part(stream_id, '-', 1)::BIGINT, split_part(stream_id, '-', 2)::BIGINT",
            [files],
        ).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]
