"""Merged logs: whoever dies, sleeps, deletes or reads meanwhile, each decision is there once."""

import errno
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.contracts.decisions import DAY_MS
from batch.decisions import logs, merged
from batch.decisions.terms import Joined, Late
from batch.errors import DiskUnavailable, LostLock, Terminal
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


def test_nothing_is_taken_away_before_hours_have_passed(tmp_path: Path, rows: list[Joined]) -> None:
    there = names(tmp_path)
    for _ in range(3):
        merge(tmp_path, 5.9)
    assert names(tmp_path) == sorted(there + [f"_merged/{name}" for name in MERGED_DAY])
    merge(tmp_path, 6)
    merge(tmp_path, 5.9)
    merge(tmp_path, 5.9)
    assert f"_merged/{MERGED_DAY[0]}" in names(tmp_path)


def test_whoever_has_begun_to_read_ends_though_files_are_merged(
    tmp_path: Path, rows: list[Joined]
) -> None:
    def begun() -> tuple[Joined, Iterator[Joined]]:
        found = logs.read(tmp_path)
        return next(found), found

    reading = []
    for hours in (0, 0, 6, 6, 0, 6):
        reading.append(begun())
        if hours:
            reading = reading[-1:]  # what was begun before has ended
        merge(tmp_path, hours)
    for first, rest in [*reading, begun()]:
        assert [first, *rest] == rows


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
    assert len([name for name in names(tmp_path) if name.startswith("_merged/decisions")]) == 1
    for _ in range(8):
        merge(tmp_path, 7, position=f"{START + 2 * DAY_MS}-0")
    assert len(names(tmp_path)) == 3 and [*logs.read(tmp_path)] == rows + later


def _die(folder: Path, number: int) -> None:
    """Run all passes, until so many steps of the disk were taken."""
    taken = count()

    def deadly(real: Callable[..., Any], *given: Any, **more: Any) -> Any:
        if next(taken) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **more)

    for owner, name in (
        (os, "replace"),
        (os, "unlink"),
        (os, "mkdir"),
        (merged, "copy"),
        (merged, "copyfile"),
    ):
        setattr(owner, name, partial(deadly, getattr(owner, name)))
    all_passes(folder)


def _killed_after(folder: Path, number: int) -> bool:
    process = multiprocessing.get_context("fork").Process(target=_die, args=(folder, number))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_a_trainer_that_is_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    died, rows = 0, [joined(n) for n in range(3)]
    for number in count():
        folder = tmp_path / str(number)
        for row in rows:
            logs.append(folder, [row], [])
        killed = _killed_after(folder, number)
        died += killed
        assert [*logs.read(folder)] == rows
        assert [day.decisions for day in logs.by_day(folder)] == [len(rows)]
        position = logs.discard_behind(folder, OVER, lambda position: True)
        assert position == OVER and not [*folder.rglob(".*.beside")]
        all_passes(folder)
        assert [*logs.read(folder)] == rows and len(names(folder)) == 1
        if not killed:
            break
    assert died > 10


@pytest.mark.parametrize(
    "passes, owner, name",
    [(0, merged, "copy"), (0, os, "fsync"), (2, merged, "copyfile"), (2, os, "fsync")],
)
def test_a_full_disk_changes_nothing(
    tmp_path: Path,
    rows: list[Joined],
    monkeypatch: pytest.MonkeyPatch,
    passes: int,
    owner: Any,
    name: str,
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for _ in range(passes):
        merge(tmp_path)
    there = names(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        with pytest.raises(DiskUnavailable, match="nothing is lost"):
            merge(tmp_path, 7)
    assert names(tmp_path) == there and [*logs.read(tmp_path)] == rows
    all_passes(tmp_path)
    assert names(tmp_path) == MERGED_DAY


@pytest.mark.parametrize("how", ["cut", "empty", "fewer"])
def test_a_merged_file_that_lacks_anything_takes_no_place_and_is_made_anew(
    tmp_path: Path, rows: list[Joined], how: str
) -> None:
    merge(tmp_path)
    (aside,) = (tmp_path / "_merged").rglob("*.parquet")
    there = names(tmp_path)
    if how == "fewer":
        shutil.copy(logs.stored(tmp_path, "decisions")[0].path, aside)
    else:
        aside.write_bytes(aside.read_bytes()[:-20] if how == "cut" else b"")
    merge(tmp_path, 7)
    assert names(tmp_path) == there and [*logs.read(tmp_path)] == rows
    all_passes(tmp_path)
    assert names(tmp_path) == MERGED_DAY and [*logs.read(tmp_path)] == rows


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


@pytest.mark.parametrize("passes", range(4))
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


def test_a_sleeper_whose_file_was_cleaned_away_puts_nothing_in_place(
    tmp_path: Path, rows: list[Joined]
) -> None:
    def taken_over() -> None:
        logs.discard_behind(tmp_path, OVER, lambda position: True)
        all_passes(tmp_path)

    with pytest.raises(Terminal, match="cannot be written"):
        merge(tmp_path, prove=taken_over)
    assert names(tmp_path) == MERGED_DAY and [*logs.read(tmp_path)] == rows


@pytest.mark.parametrize("passes", range(7))
def test_what_is_deleted_between_passes_does_not_come_back(
    tmp_path: Path, rows: list[Joined], passes: int
) -> None:
    logs.append(tmp_path, [joined(0, at=START + 2 * DAY_MS)], [])
    for _ in range(passes):
        merge(tmp_path, 7)
    logs.delete(tmp_path, START + DAY_MS)
    assert [row.time for row in logs.read(tmp_path)] == [START + 2 * DAY_MS]
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
    first = logs.stored(tmp_path, "decisions")[0]
    reach = logs.discard_behind(tmp_path, "", lambda position: position != first.first)
    assert reach == first.last and [*logs.read(tmp_path)] == rows[:EACH]
    all_passes(tmp_path)
    assert [*logs.read(tmp_path)] == rows[:EACH]


def test_a_day_of_large_files_is_left_alone(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged, "MOST_BYTES", 5000)
    there = [name for name in names(tmp_path) if name.startswith("decisions")]
    all_passes(tmp_path)
    assert [name for name in names(tmp_path) if name.startswith("decisions")] == there


def test_what_was_merged_does_not_count_as_large(
    tmp_path: Path, rows: list[Joined], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = logs.stored(tmp_path, "decisions")[1].path
    left = small.read_bytes()
    all_passes(tmp_path)
    small.write_bytes(left)
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
        assert groups.fetchall() == [(2,)]
    assert [*logs.read(tmp_path)] == long
