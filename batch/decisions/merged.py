"""One file in place of the small ones of a day that is over: whoever reads opens each of them.

The trainer takes each day through three passes, with hours between::

    _merged/decisions/day=2026-11-21/<first>_<last>.parquet   1. made of all files of the day
    decisions/day=2026-11-21/<first>_<last>.parquet           2. its copy, and they are deleted
                                                              3. the first goes

1. Nothing is in ``_merged`` alone: all there may be lost, or deleted, at any time.
2. Of ``decisions`` a file goes only when another one there was read whole, and has all its entries.
3. What somebody has listed stays where it is for REST_SECONDS, and what can be listed (``files``)
   is each entry once. Other tools read ``decisions`` and never find a day twice, but for the moment
   of the second pass.

Each pass does nothing that the next run would not do again, wherever it is killed. A trainer that
slept has lost what it was writing, or its lease: it shows that before it renames or deletes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from shutil import copyfile

import duckdb

from app.contracts.decisions import DAY_MS
from app.contracts.events import ms_of, order
from batch.decisions import logs
from batch.decisions.logs import DECISIONS, KINDS, MERGED, PIECE, PIECE_BYTES, File
from batch.errors import Terminal
from batch.events.folder import copy, replace, writing

REST_SECONDS = 6 * 3600.0
"""So long somebody may read what was listed."""
MOST_BYTES = 1 << 26
"""A day of more stays as it is: its files are not small, and the trainer would stand still."""
_IN_ORDER = "ORDER BY time, split_part(position, '-', 2)::UBIGINT"
_LOST = "nothing is lost, its files stay as they are"


@dataclass(frozen=True, slots=True)
class _Day:
    """own: what the trainer wrote, by where it begins; prove: raises where another one may run."""

    folder: Path
    kind: str
    own: Sequence[File]
    now: float
    prove: Callable[[], None]

    @property
    def name(self) -> str:
        """Of one file in place of them."""
        last = max((file.last for file in self.own), key=order)
        return f"{self.own[0].first}_{last}.parquet"

    @property
    def target(self) -> Path:
        return self.own[0].path.with_name(self.name)

    @property
    def aside(self) -> Path:
        return self.folder / f"_merged/{self.kind}" / self.target.parent.name / self.name

    def step(self) -> bool:
        """Do what is due; says whether that was much."""
        small = [file.path for file in self.own if file.path != self.target]
        if len(self.own) < 2 or sum(path.stat().st_size for path in small) > MOST_BYTES:
            return False
        if not self.aside.exists():
            self._put(self.aside, self._join)
        elif _rests(self.aside, self.now):
            self._take()
        else:
            return False
        return True

    def _take(self) -> None:
        """Let the merged file stand in place of the others; make it anew where it has not all."""
        try:
            self._put(self.target, lambda beside: copyfile(self.aside, beside))
        except Terminal:
            self._put(self.aside, self._join)
            return
        logs.unlink(self.folder, [file for file in self.own if file.path != self.target])

    def _put(self, target: Path, write: Callable[[Path], object]) -> None:
        def whole(beside: Path) -> None:
            write(beside)
            self._expect_all(beside)
            self.prove()

        with writing(target, _LOST):
            replace(target, whole)

    def _join(self, beside: Path) -> None:
        rows = f"SELECT * FROM {logs.parquet_once(self.own)}"
        with logs.opened() as connection:
            if logs.overlap(self.own):
                rows = f"{rows} {_IN_ORDER}"
            copy(connection, rows, beside, 1, self._rows_of_a_group(connection))

    def _rows_of_a_group(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Who reads or writes a file holds a group of its rows."""
        if self.kind != DECISIONS:
            return PIECE
        sql = f"SELECT avg(strlen(context)) FROM {logs.parquet(*self.own)}"
        ((size,),) = connection.execute(sql).fetchall()
        return max(1, min(PIECE, int(PIECE_BYTES / max(1, size))))

    def _expect_all(self, beside: Path) -> None:
        """Read a file whole. Raises Terminal where it lacks an entry."""
        made = logs.parquet(File(beside, "", "", ""))
        with logs.opened() as connection:
            connection.execute(f"SELECT bit_xor(hash(made)) FROM {made} made").fetchall()
            own = f"SELECT position FROM {logs.parquet(*self.own)}"
            sql = f"SELECT count(*) FROM ({own}) ANTI JOIN {made} USING (position)"
            ((lacking,),) = connection.execute(sql).fetchall()
        if lacking:
            raise Terminal(f"{self.aside}: lacks {lacking:,} entries of {self.target.parent}")


def merge(folder: Path, position: str, now: float, prove: Callable[[], None]) -> None:
    """Take a day that is over one pass further: the oldest of those where one is due.

    position: until there all is committed; now: in s since 1970, as the files have it; prove:
    raises where another trainer may run. Raises DiskUnavailable; Terminal, after all days that it
    does not concern; then all files stay as they are.
    """
    today, problem = ms_of(position) // DAY_MS, None
    for kind, merged in zip(KINDS, MERGED, strict=True):
        found = [file for file in logs.stored(folder, kind) if not file.source]
        with writing(folder, _LOST):
            _clear(folder, found, logs.stored(folder, merged), now, prove)
        for _, own in groupby(found, lambda file: file.path.parent):
            day = _Day(folder, kind, [*own], now, prove)
            try:
                with writing(folder, _LOST):
                    if ms_of(day.own[0].first) // DAY_MS < today and day.step():
                        return
            except Terminal as error:
                problem = problem or error
    if problem:
        raise problem


def _clear(
    folder: Path,
    found: Sequence[File],
    merged: Sequence[File],
    now: float,
    prove: Callable[[], None],
) -> None:
    """Delete merged files whose days are done, or have gone."""
    days = {name: [*own] for name, own in groupby(found, lambda file: file.path.parent.name)}
    gone = []
    for file in merged:
        own = days.get(file.path.parent.name, [])
        if not own or (len(own) == 1 and _rests(own[0].path, now)):
            gone.append(file)
    if gone:
        prove()
        logs.unlink(folder, gone)


def _rests(path: Path, now: float) -> bool:
    return now - path.stat().st_mtime >= REST_SECONDS
