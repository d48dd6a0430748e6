"""Files that nobody means well with: each is read in bounded memory, each row for what it is."""

import gzip
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest

from batch.errors import BadInteractions, DiskUnavailable
from batch.interactions import texts
from batch.interactions.items import load_items
from batch.interactions.load import load
from batch.interactions.sources import files
from batch.interactions.sources.folder import MARK, private_folder
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.pieces import LONGEST, is_odd
from batch.interactions.sources.table import reading_errors
from tests import servers
from tests.batch.interactions.test_interactions import expected_rejects, nasty_text, rejected

GIB_IN_KB = 1 << 20
MEASURED = """
import os, re, sys
from pathlib import Path
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # every thread has its own buffers
from batch.interactions.load import load
report = load(Path(sys.argv[1]), max_rejects=1).report
print(report.rows, dict(report.rejected))
print(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""
LONG = b"x" * 40_000_000


def by_pyarrow(table: dict[str, list[object]], path: Path) -> None:
    pyarrow.parquet.write_table(pa.table(table), path)


def by_pandas(table: dict[str, list[object]], path: Path) -> None:
    pandas.DataFrame(table).to_parquet(path)


def by_polars(table: dict[str, list[object]], path: Path) -> None:
    polars.DataFrame(table).write_parquet(path)


@pytest.mark.parametrize("write", [by_pyarrow, by_polars, by_pandas])
@pytest.mark.parametrize("column", ["rating", "weight"])
def test_nan_is_rejected_whoever_wrote_the_parquet(
    tmp_path: Path, write: Callable[[dict[str, list[object]], Path], None], column: str
) -> None:
    """Arrow leaves it out of a column's least and greatest value; pandas makes null of it."""
    values: list[object] = [float("nan") if row == 7 else 1.0 + row % 5 for row in range(1000)]
    users: list[object] = [f"u{row % 50}" for row in range(1000)]
    items: list[object] = [f"i{row % 40}" for row in range(1000)]
    write({"user": users, "item": items, column: values}, tmp_path / "a.parquet")
    loaded = load(tmp_path / "a.parquet")
    reason = "not a number" if write is by_pandas else "NaN"
    assert loaded.report.rejected == {f"{reason}: {column}": 1}
    assert loaded.weight.min() > 0


def test_json_in_parquet_holds_what_json_can(tmp_path: Path) -> None:
    texts_ = ['{"a":NaN,"b":[-Infinity,inf,1e999],"c":"NaN \\" inf","d":true}', "nan", None, "-1.5"]
    table = {
        "item": pa.array(list("1234")),
        "meta": pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts_)),
    }
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    assert list(load_items(tmp_path / "a.parquet").json_objects("1234")) == [
        '{"meta":{"a":null,"b":[null,null,null],"c":"NaN \\" inf","d":true}}',
        '{"meta":null}',
        '{"meta":null}',
        '{"meta":-1.5}',
    ]


@pytest.mark.parametrize("names", [["user", "item", "item"], ["user", "item", "Item"]])
def test_parquet_columns_of_one_name_are_refused(tmp_path: Path, names: list[str]) -> None:
    arrays = [pa.array(["x"])] * len(names)
    table = pa.Table.from_arrays(arrays, names=names)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(BadInteractions, match="one column 'item', found several"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize("values", [[20260131, 1577836800], [20260131.0, 1577836800.0]])
def test_whole_numbers_may_be_dates(tmp_path: Path, values: list[object]) -> None:
    by_pyarrow(
        {"user": ["a", "b"], "item": ["x", "x"], "timestamp": values}, tmp_path / "a.parquet"
    )
    timestamp = load(tmp_path / "a.parquet").timestamp
    assert timestamp is not None and timestamp.tolist() == [1769817600, 1577836800]


def test_weights_far_below_a_step_of_sums_stay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,weight\na,x,1e-20\na,x,1e-20\nb,x,1e-20\n")
    assert load(tmp_path / "a.csv").report.zero == 0


@pytest.mark.parametrize("inside", [True, False])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, inside: bool) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(BadInteractions, match="expected a file, found a pipe"):
        load(tmp_path if inside else tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a,b\n" * 1000 + LONG + b",b\n" + b"c,d\n" * 10, "1011 {'line too long': 1}"),
        (LONG + b",b\n" + b"c,d\n" * 10 + LONG, "12 {'line too long': 2}"),
        (b"\n" * 30_000_000 + b"a,b\n,b\n", "2 {'missing user': 1}"),
        (b"\r\n" * 5_000_000 + b"a,b\r\n", "1 {}"),
        (b"a\n" * 50_000 + b"a,b\n", "50001 {'too few columns': 50000}"),
        (b'a,b\n"a,b\n' + b"c,d\n" * 1_000_000, "1000002 {'broken quotes': 1000001}"),
        (b'a,"' + b"b\n" * 1_500_000 + b'"\nc,d\n', "1500002 {'line too long': 1500001}"),
    ],
    ids=["long line", "first and last", "blank lines", "blank", "uncut", "open quote", "long row"],
)
def test_memory_is_bounded_and_every_row_counted(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"user,item\n" + text, compresslevel=1))
    counted, peak = measured(file)
    assert counted == said
    assert peak < GIB_IN_KB


def test_good_pairs_cost_the_memory_that_is_promised(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    duckdb.sql(
        "COPY (SELECT 'u' || n % 100000 AS user, 'i' || n // 100000 AS item, 1.5 AS rating, "
        f"n AS timestamp FROM range(2000000) rows(n)) TO '{file}'"
    )
    counted, peak = measured(file)
    assert counted == "2000000 {}"
    assert peak < 0.46 * GIB_IN_KB


def measured(file: Path) -> tuple[str, int]:
    """Read a file in a process of its own; return what it counted and its peak memory in kB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(file)],
        env=servers.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    counted, peak = done.stdout.splitlines()
    return counted, int(peak)


def test_rows_behind_long_lines_keep_their_numbers(tmp_path: Path) -> None:
    text = b"user,item\r\n" + b"x" * LONGEST + b"\r\n\r\na,b\r\n,b\r\n"
    (tmp_path / "a.csv").write_bytes(text)
    load(tmp_path / "a.csv", rejects=tmp_path / "rejects.csv", max_rejects=1)
    assert rejected(tmp_path / "rejects.csv") == [(2, "line too long"), (5, "missing user")]


@pytest.mark.parametrize("seed", range(8))
def test_pieces_say_what_the_whole_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(texts, "PIECE", 1500)
    text = nasty_text(random.Random(seed))
    (tmp_path / "a.csv").write_text(text, newline="")
    load(tmp_path / "a.csv", rejects=tmp_path / "rejects.csv", max_rejects=1)
    assert rejected(tmp_path / "rejects.csv") == expected_rejects(text)


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        (b"a,b\n" * 500_000, False),
        (b"a,b\n" + b"x" * 1_100_000, True),
        (b"a,b\n" + b"\n" * 1_100_000, True),
        (b"a,b\r" + b"\r\n" * 550_000, True),
        (b"x" * 1000, False),
        (b"", False),
    ],
)
def test_a_look_tells_texts_that_need_pieces(tmp_path: Path, text: bytes, odd: bool) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    assert is_odd(tmp_path / "a.csv") == odd


def test_a_failing_disk_is_transient(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("/proc/self/mem")  # at 0 there is nothing: EIO
    done = servers.run("check", str(tmp_path / "a.csv"))
    assert done.returncode == 75, done.stderr
    assert "a disk is full or fails ([Errno 5] Input/output error)" in done.stderr


def test_a_full_disk_is_transient(tmp_path: Path) -> None:
    zipped = tmp_path / "a.csv.gz"
    zipped.write_bytes(gzip.compress(b"user,item\n"))
    with pytest.raises(DiskUnavailable, match="No space left.*TMPDIR"), reading_errors(zipped):
        files.make_plain(zipped, Path("/dev/full"), Layout(), one_newline=False)
    with pytest.raises(DiskUnavailable), reading_errors(zipped), duckdb.connect() as connection:
        connection.execute("COPY (SELECT 1) TO '/dev/full' (FORMAT csv, USE_TMP_FILE false)")


def test_what_a_killed_run_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = (
        "from batch.interactions.sources.folder import private_folder\n"
        "with private_folder() as folder:\n"
        "    (folder / 'copy').write_text('large'); print(folder, flush=True); input()\n"
    )
    command = [sys.executable, "-c", program]
    variables = servers.environment({"TMPDIR": str(tmp_path)})
    with subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        with private_folder() as own:
            assert (folder / "copy").exists() and own != folder, "it lives"
        other.send_signal(signal.SIGKILL)
    assert (folder / MARK).exists()
    (tmp_path / "larder-mine").mkdir()
    with private_folder():
        assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["larder-mine"]
