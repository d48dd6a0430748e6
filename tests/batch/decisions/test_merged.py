"""Merged logs: whoever dies, sleeps, deletes or reads meanwhile, each decision is there once."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from app.contracts.decisions import DAY_MS
from batch.decisions import logs, merged
from batch.decisions.terms import Joined, Late
from batch.errors import BadInteractions, DiskUnavailable, LostLock, Terminal
from batch.events.folder import copy
from tests.batch.decisions.rows import START, joined, several

FILES, EACH = 4, 3
OVER = f"{START + DAY_MS}-0"
"""A position of the day after."""


@pytest.fixture
def rows(tmp_path: Path) -> list[Joined]:
    """Of a day that is over, in several files; and a reward in each that came too late."""
    return fill(tmp_path)


def fill(folder: Path) -> list[Joined]:
    made = [several(n) if n % 5 == 0 else joined(n) for n in range(FILES * EACH)]
    for first in range(0, len(made), EACH):
        late = Late(f"{made[first].time + 1}-7", "x", made[first].time + 1, 1.0)
        logs.append(folder, made[first : first + EACH], [late])
    return made


def merge(
    folder: Path, hours: float = 0, position: str = OVER, prove: Callable[[], None] = lambda: None
) -> None:
    """Run once, so many hours after what was written last."""
    written = max(path.stat().st_mtime for path in folder.rglob("*.parquet"))
    merged.merge(folder, position, written + hours * 3600, prove)


def all_passes(folder: Path) -> None:
    """Run until nothing is left to do."""
    before: list[str] = []
    while before != (before := names(folder)):
        merge(folder, 7)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def others(folder: Path, kind: str = "decisions") -> int:
    """How many entries other tools find."""
    with duckdb.connect() as connection:
        ((found,),) = connection.execute(
            f"SELECT count(*) FROM '{folder}/{kind}/**/*.parquet'"
        ).fetchall()
    return int(found)


MERGED_DAY = [
    f"decisions/day=2025-11-21/{START}-0_{START + 11_000}-0.parquet",
    f"late/day=2025-11-21/{START + 1}-7_{START + 9001}-7.parquet",
]


def test_a_day_that_is_over_becomes_one_file_each_entry_once_all_the_while(
    tmp_path: Path, rows: list[Joined]
) -> None:
    before, seen = logs.by_day(tmp_path), []
    for _ in range(8):
        merge(tmp_path, 7)
        assert [*logs.read(tmp_path)] == rows
        (day,) = logs.by_day(tmp_path)
        assert day._replace(bytes=0) == before[0]._replace(bytes=0)
        assert day.bytes == sum(file.path.stat().st_size for file in logs.files(tmp_path))
        assert logs.count(tmp_path, 0, logs.EVER) == len(rows)
        assert (others(tmp_path), others(tmp_path, "late")) == (len(rows), FILES)
        seen.append(len(logs.files(tmp_path)))
    assert names(tmp_path) == MERGED_DAY and set(seen) == {1}


def test_what_was_merged_stays_aside_for_hours(tmp_path: Path, rows: list[Joined]) -> None:
    there = names(tmp_path)
    written = max(path.stat().st_mtime for path in tmp_path.rglob("*.parquet"))

    def merge_after(hours: float) -> list[str]:
        merged.merge(tmp_path, OVER, written + hours * 3600, lambda: None)
        return names(tmp_path)

    merge_after(30)
    moved = [f"_merged/{name}" for name in there]
    assert merge_after(30) == merge_after(35.9) == sorted(moved + MERGED_DAY)
    assert merge_after(36) == MERGED_DAY


def test_whoever_has_begun_to_read_ends_though_files_are_merged(
    tmp_path: Path, rows: list[Joined]
) -> None:
    def begun() -> tuple[Joined, Iterator[Joined]]:
        found = logs.read(tmp_path)
        return next(found), found

    reading = list[tuple[Joined, Iterator[Joined]]]()
    for hours in (0, 5.9):
        reading.append(begun())
        merge(tmp_path, hours)
    for first, rest in [*reading, begun()]:
        assert [first, *rest] == rows


def test_whoever_has_begun_to_read_is_told_that_files_have_gone_after_hours(
    tmp_path: Path, rows: list[Joined]
) -> None:
    found = logs.read(tmp_path)
    assert next(found) == rows[0]
    all_passes(tmp_path)
    with pytest.raises(BadInteractions, match="merged hours ago.*run it again"):
        [*found]
    assert [*logs.read(tmp_path)] == rows


def test_whoever_sums_up_while_files_are_merged_misses_nothing(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(found: Sequence[logs.File]) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(logs, "parquet_once", once)
            merge(tmp_path)
        return once(found)

    once = logs.parquet_once
    monkeypatch.setattr(logs, "parquet_once", late)
    assert [day.decisions for day in logs.by_day(tmp_path)] == [len(rows)]
    assert len(logs.files(tmp_path)) == 1


def test_whoever_lists_while_files_are_merged_misses_nothing(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(folder: Path, *kinds: str) -> list[logs.File]:
        """As a folder is read that changes: without what has come, and what has gone."""
        found = stored(folder, *kinds)
        with monkeypatch.context() as patch:
            patch.setattr(logs, "stored", stored)
            merge(tmp_path)
        return [file for file in found if file.path.exists()]

    stored = logs.stored
    monkeypatch.setattr(logs, "stored", slow)
    assert [*logs.read(tmp_path)] == rows


def test_a_day_that_may_still_grow_is_left_alone(tmp_path: Path, rows: list[Joined]) -> None:
    there = names(tmp_path)
    merge(tmp_path, 7, position=f"{START + DAY_MS - 1}-5")
    assert names(tmp_path) == there


def test_imported_files_stay_as_they_are(tmp_path: Path, rows: list[Joined]) -> None:
    foreign = [joined(n, position="", id="theirs") for n in (0, 5)]
    logs.add(tmp_path, foreign, "beef")
    all_passes(tmp_path)
    assert [row for row in logs.read(tmp_path) if row.position] == rows
    assert [row for row in logs.read(tmp_path) if not row.position] == foreign
    assert len([name for name in names(tmp_path) if "_beef" in name]) == 1
    assert len(names(tmp_path)) == 3


def test_several_days_are_merged_in_their_turn(tmp_path: Path, rows: list[Joined]) -> None:
    later = [joined(n, at=START + DAY_MS) for n in range(4)]
    for row in later:
        logs.append(tmp_path, [row], [])
    merge(tmp_path, position=f"{START + 2 * DAY_MS}-0")
    assert len([*(tmp_path / "decisions").rglob("*.parquet")]) == 1 + len(later)
    for _ in range(4):
        merge(tmp_path, 7, position=f"{START + 2 * DAY_MS}-0")
    assert len(names(tmp_path)) == 3 and [*logs.read(tmp_path)] == rows + later


def test_a_trainer_that_is_killed_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there before a step is what one leaves that is killed then."""

    def step(real: Callable[..., Any], *given: Any, **more: Any) -> Any:
        left.append(tmp_path / f"left-{len(left)}")
        shutil.copytree(folder, left[-1])
        return real(*given, **more)

    left, folder, rows = list[Path](), tmp_path / "folder", [joined(n) for n in range(3)]
    for row in rows:
        logs.append(folder, [row], [])
    with monkeypatch.context() as patch:
        for owner, name in ((os, "replace"), (os, "unlink"), (os, "fsync"), (merged, "copy")):
            patch.setattr(owner, name, partial(step, getattr(owner, name)))
        all_passes(folder)
    for each in left:
        assert [*logs.read(each)] == rows
        assert [day.decisions for day in logs.by_day(each)] == [len(rows)]
        position = logs.discard_behind(each, OVER, lambda position: True)
        assert position == OVER and not [*each.rglob(".*.beside")]
        all_passes(each)
        assert [*logs.read(each)] == rows and len(names(each)) == 1
    assert len(left) > 10


@pytest.mark.parametrize("owner, name", [(merged, "copy"), (os, "fsync"), (os, "replace")])
def test_a_full_disk_changes_nothing(
    tmp_path: Path,
    rows: list[Joined],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    there = names(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        with pytest.raises(DiskUnavailable, match="nothing is lost"):
            merge(tmp_path, 7)
    assert names(tmp_path) == there and [*logs.read(tmp_path)] == rows
    all_passes(tmp_path)
    assert names(tmp_path) == MERGED_DAY


def test_a_merged_file_that_lacks_entries_takes_no_place(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "late")
    there = names(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(merged, "copy", lambda on, sql, *more: copy(on, f"{sql} LIMIT 7", *more))
        with pytest.raises(Terminal, match="lacks 5 of its entries"):
            merge(tmp_path)
    assert names(tmp_path) == there and [*logs.read(tmp_path)] == rows


def test_a_broken_file_is_named_and_other_days_are_merged(
    tmp_path: Path, rows: list[Joined]
) -> None:
    later = START + DAY_MS
    for n in range(3):
        logs.append(tmp_path, [joined(n, at=later)], [])
    broken = logs.stored(tmp_path, "decisions")[1].path
    broken.write_bytes(b"no Parquet")
    for _ in range(8):
        try:
            merge(tmp_path, 7, position=f"{later + DAY_MS}-0")
        except Terminal as error:
            said = str(error)
    assert broken.name in said and "stay as they are" not in said
    assert len([*(tmp_path / "decisions").rglob("*.parquet")]) == FILES + 1
    assert not [*(tmp_path / "_merged").rglob("*.parquet")]


def test_what_a_trainer_wrote_in_its_sleep_is_merged_too(
    tmp_path: Path, rows: list[Joined]
) -> None:
    all_passes(tmp_path)
    new = joined(2, at=START + 500)
    logs.append(tmp_path, [rows[2], new, rows[3]], [])
    whole = sorted([*rows, new], key=lambda row: row.time)
    for _ in range(6):
        assert [*logs.read(tmp_path)] == whole
        assert [day.decisions for day in logs.by_day(tmp_path)] == [len(whole)]
        merge(tmp_path, 7)
    assert names(tmp_path) == MERGED_DAY and others(tmp_path) == len(whole)


def test_entries_of_one_moment_stay_in_their_order(tmp_path: Path) -> None:
    same = [joined(0, position=f"{START}-{n}", id=f"e{n}") for n in range(12)]
    for first, last in ((0, 4), (3, 11), (10, 12)):
        logs.append(tmp_path, same[first:last], [])
    all_passes(tmp_path)
    assert [*logs.read(tmp_path)] == same and len(names(tmp_path)) == 1


@pytest.mark.parametrize("passes", range(3))
def test_whoever_lost_the_lease_changes_nothing(
    tmp_path: Path, rows: list[Joined], passes: int
) -> None:
    def lost() -> None:
        raise LostLock("another trainer runs")

    for _ in range(passes):
        merge(tmp_path, 7)
    there = names(tmp_path)
    with pytest.raises(LostLock):
        merge(tmp_path, 7, prove=lost)
    assert names(tmp_path) == there and [*logs.read(tmp_path)] == rows


def test_whoever_lost_the_lease_while_a_file_was_put_in_place_moves_nothing(
    tmp_path: Path, rows: list[Joined]
) -> None:
    def lost() -> None:
        if len(logs.files(tmp_path)) > FILES:
            raise LostLock("another trainer runs")

    with pytest.raises(LostLock):
        merge(tmp_path, prove=lost)
    assert len(logs.files(tmp_path)) == FILES + 1 and [*logs.read(tmp_path)] == rows


def test_a_sleeper_whose_file_was_cleaned_away_puts_nothing_in_place(
    tmp_path: Path, rows: list[Joined]
) -> None:
    def taken_over() -> None:
        logs.discard_behind(tmp_path, OVER, lambda position: True)
        all_passes(tmp_path)

    with pytest.raises(Terminal, match="cannot be written"):
        merge(tmp_path, prove=taken_over)
    assert names(tmp_path) == MERGED_DAY and [*logs.read(tmp_path)] == rows


@pytest.mark.parametrize("passes", range(4))
def test_what_is_deleted_between_passes_does_not_come_back(
    tmp_path: Path, rows: list[Joined], passes: int
) -> None:
    logs.append(tmp_path, [joined(0, at=START + 2 * DAY_MS)], [])
    for _ in range(passes):
        merge(tmp_path, 7)
    logs.delete(tmp_path, START + DAY_MS)
    assert [row.time for row in logs.read(tmp_path)] == [START + 2 * DAY_MS]
    assert not [name for name in names(tmp_path) if "day=2025-11-21" in name]
    all_passes(tmp_path)
    assert len(names(tmp_path)) == 1


def test_a_day_whose_folder_was_taken_away_does_not_come_back(
    tmp_path: Path, rows: list[Joined]
) -> None:
    merge(tmp_path)
    merge(tmp_path)
    shutil.rmtree(tmp_path / "decisions")
    merge(tmp_path)
    assert not [*logs.read(tmp_path)]


def test_what_is_deleted_while_it_is_merged_does_not_come_back(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(*given: Any) -> None:
        copy(*given)
        logs.delete(tmp_path)

    monkeypatch.setattr(merged, "copy", copied)
    with pytest.raises(Terminal):
        merge(tmp_path)
    assert names(tmp_path) == []


def test_a_log_that_comes_again_leaves_no_merged_file_of_it(
    tmp_path: Path, rows: list[Joined]
) -> None:
    merge(tmp_path)
    merge(tmp_path)
    assert logs.discard_behind(tmp_path, "", lambda position: True) == ""
    assert names(tmp_path) == []


def test_files_that_are_large_stay_as_they_are(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged, "MOST_BYTES", 5000)
    there = [name for name in names(tmp_path) if name.startswith("decisions")]
    all_passes(tmp_path)
    assert [name for name in names(tmp_path) if name.startswith("decisions")] == there


def test_tiny_files_become_one_however_many_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged, "MOST_BYTES", 4 * merged.LEAST_BYTES)
    tiny = [joined(n) for n in range(9)]
    for row in tiny:
        logs.append(tmp_path, [row], [])
    left = []
    for _ in range(4):
        left.append(len(logs.files(tmp_path)))
        merge(tmp_path)
        assert [*logs.read(tmp_path)] == tiny and others(tmp_path) == len(tiny)
    assert left == [9, 6, 3, 1]


def test_a_day_of_much_becomes_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Random(0)
    long = [joined(n)._replace(context=texts.randbytes(1200).hex().encode()) for n in range(6)]
    for row in long:
        logs.append(tmp_path, [row], [])
    size = logs.files(tmp_path)[0].path.stat().st_size
    monkeypatch.setattr(merged, "LEAST_BYTES", 1)
    monkeypatch.setattr(merged, "MOST_BYTES", size * 5 // 2)
    all_passes(tmp_path)
    assert len(names(tmp_path)) == 3 and [*logs.read(tmp_path)] == long


def test_what_was_merged_takes_in_what_came_later_though_it_is_large(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = logs.stored(tmp_path, "decisions")[1].path
    left = small.read_bytes()
    all_passes(tmp_path)
    small.write_bytes(left)
    monkeypatch.setattr(merged, "LEAST_BYTES", 1)
    monkeypatch.setattr(merged, "MOST_BYTES", len(left))
    all_passes(tmp_path)
    assert names(tmp_path) == MERGED_DAY and [*logs.read(tmp_path)] == rows


def test_whoever_reads_a_merged_file_holds_a_piece_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged, "PIECE_BYTES", 2048 * 1000)
    long = [joined(n)._replace(context=b'{"x":"%s"}' % (b"%0992d" % n)) for n in range(5000)]
    for first in range(0, len(long), 1000):
        logs.append(tmp_path, long[first : first + 1000], [])
    all_passes(tmp_path)
    (file,) = logs.files(tmp_path)
    with duckdb.connect() as connection:
        groups = connection.execute(
            f"SELECT num_row_groups FROM parquet_file_metadata('{file.path}')"
        )
        assert groups.fetchall() == [(3,)]
    assert [*logs.read(tmp_path)] == long
