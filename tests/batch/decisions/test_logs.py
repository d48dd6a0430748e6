"""Logs: what was joined comes back as it was, a few rows at a time, and goes when it shall."""

import errno
import os
import resource
import signal
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas
import polars
import pytest

from app.contracts.decisions import DAY_MS
from batch.decisions import logs
from batch.decisions.terms import Joined, Late
from batch.errors import BadInteractions, DiskUnavailable
from tests.batch.decisions.rows import START, joined, several


def paths(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_was_joined_comes_back_as_it_was(tmp_path: Path) -> None:
    night = START + DAY_MS - 2000
    odd = [
        joined(0, at=night),
        several(1, at=night, mode="LoggingOnly", counts=False),
        joined(2, at=night, mode="Apprentice", imitated=True, id="a'b\n", generation=""),
        joined(3, at=night, rewards=(0.1 + 0.2,), context=b'{"x":1.10,"x":"\\ud800"}'),
    ]
    logs.append(tmp_path, odd, [Late("1763683201000-3", "x", START, 0.5, "top")])
    assert [*logs.read(tmp_path)] == odd
    assert paths(tmp_path) == [
        f"decisions/day=2025-11-21/{night}-0_{night + 1000}-0.parquet",
        f"decisions/day=2025-11-22/{night + 2000}-0_{night + 3000}-0.parquet",
        "late/day=2025-11-21/1763683201000-3_1763683201000-3.parquet",
    ]
    assert logs.span(tmp_path) == (night, night + 3000)


def test_a_range_of_time_is_read_to_the_millisecond(tmp_path: Path) -> None:
    for start in range(0, 40, 10):
        logs.append(tmp_path, [joined(number) for number in range(start, start + 10)], [])
    found = logs.read(tmp_path, START + 5000, START + 25_000)
    assert [row.time for row in found] == [START + 1000 * number for number in range(5, 25)]
    assert not [*logs.read(tmp_path, START + 40_000)]
    assert logs.span(tmp_path / "none") is None and not [*logs.read(tmp_path / "none")]


def test_other_tools_read_the_folder_as_it_is(tmp_path: Path) -> None:
    logs.append(tmp_path, [joined(0), several(1)], [])
    decisions = tmp_path / "decisions"
    frame = pandas.read_parquet(decisions)
    assert frame["time"].tolist() == [
        pandas.Timestamp(START + 1000 * n, unit="ms", tz="UTC") for n in (0, 1)
    ]
    assert [*frame["rewards"][1]] == [1.0, -0.5] and frame["id"][0] == 'e"0ü'
    assert polars.read_parquet(decisions / "**/*.parquet")["counts"].to_list() == [True, True]
    with duckdb.connect() as connection:
        sql = (
            f"SELECT sum(list_sum(rewards)), min(slots->>'$[0][0]') FROM '{decisions}/**/*.parquet'"
        )
        assert connection.execute(sql).fetchall() == [(1.5, "")]


def test_only_a_few_rows_are_held_at_a_time(tmp_path: Path) -> None:
    long = [
        joined(number)._replace(context=b'{"x":"%s"}' % (b"%06d" % number * 200))
        for number in range(8_000)
    ]
    logs.append(tmp_path, long, [])
    del long
    tracemalloc.start()
    try:
        assert sum(1 for _ in logs.read(tmp_path)) == 8_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000  # of 10 MB of contexts
    finally:
        tracemalloc.stop()


def test_imported_decisions_stand_between_ours_and_count_once(tmp_path: Path) -> None:
    logs.append(tmp_path, [joined(number) for number in (0, 2)], [])
    foreign = [joined(number, position="") for number in (3, 90_000, 1)]
    for _ in range(2):
        logs.add(tmp_path, iter(foreign), "beef")
    assert [row.time - START for row in logs.read(tmp_path)] == [0, 1000, 2000, 3000, 90_000_000]
    assert logs.discard_behind(tmp_path, "", lambda position: True) == ""
    assert [row.position for row in logs.read(tmp_path)] == ["", "", ""]


def test_an_import_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Joined]:
        yield joined(0)
        raise BadInteractions("cut")

    with pytest.raises(BadInteractions, match="cut"):
        logs.add(tmp_path, broken(), "beef")
    assert paths(tmp_path) == []
    logs.add(tmp_path, [], "beef")
    assert paths(tmp_path) == []


def test_what_a_dead_trainer_wrote_behind_its_position_goes(tmp_path: Path) -> None:
    logs.append(tmp_path, [joined(0), joined(1)], [Late(f"{START + 500}-0", "x", START, 1.0)])
    logs.append(tmp_path, [joined(2)], [Late(f"{START + 1500}-0", "x", START, 1.0)])
    left = tmp_path / "decisions/day=2025-11-21/.x.parquet.0.beside"
    left.write_bytes(b"half")
    assert logs.discard_behind(tmp_path, f"{START}-0", lambda position: False)
    assert len(paths(tmp_path)) == 4
    reach = logs.discard_behind(tmp_path, f"{START + 1000}-0", lambda position: True)
    assert reach == f"{START + 1000}-0"
    assert [row.time for row in logs.read(tmp_path)] == [START, START + 1000]
    assert len(paths(tmp_path)) == 2


def test_what_two_trainers_wrote_is_read_once(tmp_path: Path) -> None:
    rows = [joined(number) for number in range(6)]
    for first, last in (0, 3), (0, 4), (2, 6):
        logs.append(tmp_path, rows[first:last], [])
    assert len(paths(tmp_path)) == 3 and [*logs.read(tmp_path)] == rows
    assert [day.decisions for day in logs.by_day(tmp_path)] == [6]


def test_days_are_deleted_by_retention_and_by_hand(tmp_path: Path) -> None:
    for day in range(4):
        logs.append(tmp_path, [joined(0, at=START + day * DAY_MS)], [])
        logs.append(tmp_path, [], [Late(f"{START + day * DAY_MS}-1", "x", START, 1.0)])
    now = START + 4 * DAY_MS
    assert logs.retain(tmp_path, -1, now) == 0
    assert logs.retain(tmp_path, 3, now) == 2
    assert logs.span(tmp_path) == (START + DAY_MS, START + 3 * DAY_MS)
    assert logs.delete(tmp_path, START + 2 * DAY_MS) == 2
    assert logs.delete(tmp_path) == 4 and logs.span(tmp_path) is None


def test_a_file_that_is_deleted_while_others_are_read_is_passed_over(tmp_path: Path) -> None:
    for number in range(3):
        logs.append(tmp_path, [joined(number)], [])
    found = logs.read(tmp_path)
    first = next(found)
    logs.delete(tmp_path, START + 2000)
    assert [first.time, *(row.time for row in found)] == [START, START + 2000]


@pytest.mark.parametrize("kind", ["cut", "text", "foreign", "wrong"])
def test_a_file_that_is_no_log_is_named(tmp_path: Path, kind: str) -> None:
    logs.append(tmp_path, [joined(0)], [])
    (path,) = (tmp_path / "decisions").rglob("*.parquet")
    whole = path.read_bytes()
    if kind == "foreign":
        pandas.DataFrame({"user": [1]}).to_parquet(path)
    elif kind == "wrong":
        frame = pandas.read_parquet(path).assign(slots="[1]")
        frame.to_parquet(path)
    else:
        path.write_bytes(whole[:-20] if kind == "cut" else b"no parquet")
    with pytest.raises(BadInteractions, match=path.name):
        [*logs.read(tmp_path)]


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "decisions").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskUnavailable, match="stays in the stream"):
            logs.append(tmp_path, [joined(0)], [])
        with pytest.raises(DiskUnavailable, match="nothing was imported"):
            logs.add(tmp_path, [joined(0)], "beef")
    assert paths(tmp_path) == []


def test_a_file_that_may_not_grow_is_not_there(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(Exception, match="cannot be written|disk is full"):
            logs.append(tmp_path, [joined(number) for number in range(2000)], [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert paths(tmp_path) == []
