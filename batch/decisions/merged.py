"""One file in place of the small ones of a day that is over: whoever reads opens each of them.

    decisions/day=2026-11-21/<first>_<last>.parquet           is made of several that stand there
    _merged/decisions/day=2026-11-21/<first>_<last>.parquet   they move here, for REST_SECONDS

Who has listed them finds them there (see ``logs``); who lists both meanwhile reads each entry once.
Wherever a trainer is killed, the next run does what is left. One that slept may have lost its
lease, or its files: it shows that it has them before it puts a file in place and before it moves
or deletes any.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from app.contracts.decisions import DAY_MS
from app.contracts.events import ms_of, order
from batch.decisions import logs
from batch.decisions.logs import KINDS, MERGED, PIECE, PIECE_BYTES, File, parquet
from batch.errors import Terminal
from batch.events.folder import copy, replace, writing

REST_SECONDS = 6 * 3600.0
"""So long somebody may read what was listed."""
MOST_BYTES, LEAST_BYTES = 1 << 24, 1 << 15
"""Of files that become one, while the trainer stands still; a tiny one counts as LEAST_BYTES."""
_LOST = "nothing is lost, its files stay as they are"


def merge(folder: Path, position: str, now: float, prove: Callable[[], None]) -> None:
    """Merge the first files of days that are over, as many as MOST_BYTES allow.

    position: until there all is committed; now: in s since 1970, as the files have it; prove:
    raises where another trainer may run. Raises DiskUnavailable; Terminal, after all files that it
    does not concern; then all stay as they are.
    """
    problem = None
    with writing(folder, _LOST):
        _clear(folder, now, prove)
        several = [own for own in _small(folder, ms_of(position) // DAY_MS) if len(own) > 1]
    for own in several:
        try:
            with writing(own[0].path.parent, _LOST):
                return _merge(own, now, prove)
        except Terminal as error:
            problem = problem or error
    if problem:
        raise problem


def _clear(folder: Path, now: float, prove: Callable[[], None]) -> None:
    moved = logs.stored(folder, *MERGED)
    gone = [file for file in moved if now - file.path.stat().st_mtime >= REST_SECONDS]
    if gone:
        prove()
        logs.unlink(folder, gone)


def _small(folder: Path, today: int) -> Iterator[list[File]]:
    """Files that follow each other in a day before this one, of MOST_BYTES unless they overlap."""
    found = (file for kind in KINDS for file in logs.stored(folder, kind) if not file.source)
    over = (file for file in found if ms_of(file.first) // DAY_MS < today)
    for _, day in groupby(over, lambda file: file.path.parent):
        own, room = list[File](), MOST_BYTES
        for file in day:
            size = max(LEAST_BYTES, file.path.stat().st_size)
            if size > room and not logs.overlap([*own[-1:], file]):
                yield own
                own, room = [], MOST_BYTES
            own.append(file)
            room -= size if size < MOST_BYTES / 2 else MOST_BYTES
        yield own


def _merge(own: Sequence[File], now: float, prove: Callable[[], None]) -> None:
    last = max((file.last for file in own), key=order)
    target = own[0].path.with_name(f"{own[0].first}_{last}.parquet")

    def write(beside: Path) -> None:
        _write(own, beside)
        prove()

    replace(target, write)
    prove()
    for path in [file.path for file in own if file.path != target]:
        moved = logs.moved(path)
        moved.parent.mkdir(parents=True, exist_ok=True)
        os.utime(path, (now, now))
        os.replace(path, moved)


def _write(own: Sequence[File], beside: Path) -> None:
    """Write all their entries. Raises Terminal where one is lacking."""
    rows, in_order = parquet(*(file.path for file in own)), ""
    if logs.overlap(own):
        in_order = "ORDER BY time, split_part(position, '-', 2)::UBIGINT"
    with logs.opened() as connection:
        sql = f"SELECT coalesce(avg(strlen(own::VARCHAR)), 1) FROM {rows} own"
        ((size,),) = connection.execute(sql).fetchall()
        at_once = max(1, min(PIECE, int(PIECE_BYTES / size)))
        copy(connection, f"SELECT * FROM {logs.parquet_once(own)} {in_order}", beside, 1, at_once)
        sql = f"SELECT count(*) FROM {rows} ANTI JOIN {parquet(beside)} USING (position)"
        ((lacking,),) = connection.execute(sql).fetchall()
    if lacking:
        raise Terminal(f"{beside.parent}: a merged file lacks {lacking:,} of its entries")
