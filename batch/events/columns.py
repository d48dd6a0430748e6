"""Entries of the stream as the rows of a file; which of them are no events.

``Event.decode`` says what an event is, but takes as long for one as all else together. So DuckDB
first looks for entries that are plainly right, and only the others are decoded.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from app.contracts.events import (
    CLEAR,
    IMPRESSION,
    MAX_POSITION,
    MAX_PROPERTIES_BYTES,
    MAX_TEXT_BYTES,
    MAX_VALUE,
    Entry,
    Event,
    is_type,
    ms_of,
)
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import MAX_ID_BYTES

NAMES = list(Event._fields)

_COLUMNS = {
    "stream_id": "stream_id",
    "id": "id",
    "type": "type",
    "user": "coalesce(user, '')",
    "session": "coalesce(session, '')",
    "item": "coalesce(item, '')",
    "items": "coalesce(items::JSON::VARCHAR[], [])",
    # No later than it was taken, whatever the clock of whoever sent it.
    "time": "greatest(0, least(time::HUGEINT, split_part(stream_id, '-', 1)::HUGEINT))::BIGINT",
    "value": "coalesce(value::DOUBLE, 1)",
    "list": "coalesce(list, '')",
    "position": "coalesce(position::INTEGER, -1)",
    "properties": "coalesce(properties, '')",
}
ROWS = ", ".join(f"{sql} AS {name}" for name, sql in _COLUMNS.items())
"""SQL for the columns of a file, over the table ``entries``."""

_SIMPLE = r'"[^"\\\x00-\x1f]+"'
_SHORT_ITEMS = 400
"""Bytes of a JSON array of plain texts that cannot hold too many, nor one that is too long."""
_PLAIN = " AND ".join(
    [
        f"strlen(id) BETWEEN 1 AND {MAX_TEXT_BYTES}",
        "is_type",
        "regexp_full_match(time, '[0-9]{1,18}')",
        *(
            f"strlen(coalesce({name}, '')) <= {MAX_ID_BYTES}"
            for name in ("user", "session", "item")
        ),
        "(user != '' OR session != '')",
        f"""(CASE WHEN items IS NULL THEN item != '' ELSE type = '{IMPRESSION}'
        AND strlen(items) <= {_SHORT_ITEMS}
        AND regexp_full_match(items, '\\[({_SIMPLE}, )*{_SIMPLE}\\]') END)""",
        f"(value IS NULL OR coalesce(abs(TRY_CAST(value AS DOUBLE)) <= {MAX_VALUE}, false))",
        f"strlen(coalesce(list, '')) <= {MAX_TEXT_BYTES}",
        f"(position IS NULL OR (regexp_full_match(position, '[0-9]{{1,7}}') "
        f"AND position::INTEGER <= {MAX_POSITION}))",
        f"strlen(coalesce(properties, '')) <= {MAX_PROPERTIES_BYTES}",
    ]
)


@dataclass(frozen=True, slots=True)
class Reject:
    """An entry that is no event, and why."""

    entry: Entry
    reason: str


def lay(connection: duckdb.DuckDBPyConnection, given: Sequence[Entry]) -> list[Reject]:
    """Make the table ``entries``, of texts, of those that are events; return the others."""
    entries = [entry for entry in given if CLEAR not in entry[1]]
    _insert(connection, entries)
    odd = connection.execute(
        f"SELECT row FROM entries WHERE NOT coalesce({_PLAIN}, false) OR fields != "
        + " + ".join(f"({name} IS NOT NULL)::INTEGER" for name in NAMES)
    ).fetchnumpy()["row"]
    if not len(odd):
        return []
    rejects: list[Reject] = []
    right = dict(enumerate(entries))
    for row in odd.tolist():
        stream_id, entry = right.pop(row)
        try:
            right[row] = stream_id, _canonical(Event.decode(entry), stream_id)
        except BrokenRecord as error:
            rejects.append(Reject((stream_id, entry), str(error)))
    _insert(connection, [right[row] for row in sorted(right)])
    return rejects


def _canonical(event: Event, stream_id: bytes) -> dict[bytes, bytes]:
    """Its fields as every reader of numbers takes them; the time within what a column holds."""
    told = {name.encode(): str(value).encode() for name, value in event.encode().items()}
    return {**told, b"time": b"%d" % max(0, min(event.time, ms_of(stream_id.decode())))}


def _insert(connection: duckdb.DuckDBPyConnection, entries: Sequence[Entry]) -> None:
    told = [entry[1] for entry in entries]
    columns = _columns(told)
    kinds = columns["type"].tolist()
    types = {kind: is_type((kind or b"").decode(errors="replace")) for kind in {*kinds}}
    connection.register(
        "given",
        {
            "stream_id": np.array([entry[0] for entry in entries], np.object_),
            **columns,
            "is_type": np.array([types[kind] for kind in kinds], bool),
            "fields": np.array([*map(len, told)], np.int64),
            "row": np.arange(len(told)),
        },
    )
    texts = ", ".join(f"TRY(decode({name}::BLOB)) AS {name}" for name in ("stream_id", *NAMES))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE entries AS SELECT {texts}, is_type, fields, row FROM given"
    )
    connection.unregister("given")


def _columns(told: Sequence[Mapping[bytes, bytes]]) -> dict[str, NDArray[np.object_]]:
    """The values of each field, None where an entry has none.

    Most entries have the same fields in the same order, so that many are turned at once.
    """
    columns = {name: np.full(len(told), None, np.object_) for name in NAMES}
    alike: defaultdict[tuple[bytes, ...], list[int]] = defaultdict(list)
    for row, entry in enumerate(told):
        alike[tuple(entry)].append(row)
    for names, rows in alike.items():
        values = zip(*[told[row].values() for row in rows], strict=True)
        for name, column in zip(names, values, strict=True):
            if (known := name.decode(errors="replace")) in columns:
                columns[known][rows] = column
    return columns
