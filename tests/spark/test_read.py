"""Spark reads what a single machine reads: the same pairs, weights, times, and reasons."""

import csv
import gzip
import io
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from pyspark.sql import SparkSession

from batch.errors import BadInteractions, BadSettings
from batch.interactions.load import load
from batch.interactions.pairs import Interactions, Report
from batch.interactions.sources.files import PART_HEAD
from batch.interactions.sources.layout import PRESETS, Layout
from batch.spark.failures import spark_errors
from batch.spark.read.load import read
from tests.batch.interactions.test_hostile import by_pyarrow
from tests.batch.interactions.test_interactions import nasty_text, parquet, write

RATINGS = Path(__file__).parents[2] / "batch/datasets/ml-latest-small/ratings.csv"

Rows = list[tuple[str, str, float, float | None]]


def singly(loaded: Interactions) -> Rows:
    times = [None] * len(loaded) if loaded.timestamp is None else loaded.timestamp.tolist()
    users, items = (
        [ids[at] for at in index]
        for ids, index in ((loaded.users, loaded.user), (loaded.items, loaded.item))
    )
    return sorted(zip(users, items, loaded.weight.tolist(), times, strict=True))


def kept(spark: SparkSession) -> set[int]:
    """What Spark keeps, also of other tests: MLlib leaves that to the garbage collector."""
    return set(spark.sparkContext._jsc.getPersistentRDDs())


def by_spark(
    spark: SparkSession,
    path: Path | str,
    layout: Layout = Layout(),
    rejects: Path | None = None,
    max_rejects: float = 1,
) -> tuple[Rows, Report]:
    folder = None if rejects is None else str(rejects)
    before = kept(spark)
    pairs = read(spark, str(path), layout, rejects=folder, max_rejects=max_rejects)
    assert dict(pairs.frame.dtypes)["weight"] == "float"
    rows = pairs.frame.toArrow().to_pylist()
    pairs.release()
    assert kept(spark) <= before
    found = sorted((r["user"], r["item"], r["weight"], r.get("timestamp")) for r in rows)
    return found, pairs.report


def same(
    spark: SparkSession, path: Path, layout: Layout = Layout(), rejects: Path | None = None
) -> tuple[Rows, Report]:
    """Read both ways; return what both say. Spark lists what it rejects."""
    loaded = load(path, layout, max_rejects=1)
    rows, report = by_spark(spark, path, layout, rejects)
    assert rows == singly(loaded)
    assert report == loaded.report
    return rows, report


@contextmanager
def splits(spark: SparkSession, size: int) -> Iterator[None]:
    """Have files cut into pieces of some bytes."""
    names = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
    before = {name: spark.conf.get(name) for name in names}
    for name in names:
        spark.conf.set(name, size)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, str(value))


def listed(folder: Path) -> list[dict[str, str]]:
    """What the parts of a rejects folder say."""
    found = []
    for part in sorted(folder.glob("part-*.csv")):
        with part.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            found += list(reader)
            assert reader.fieldnames is None or tuple(reader.fieldnames) == PART_HEAD
    return sorted(found, key=lambda row: (row["file"], row["content"]))


class TestText:
    def test_a_file_may_be_cut_anywhere(self, spark: SparkSession, tmp_path: Path) -> None:
        lines = RATINGS.read_text().splitlines(keepends=True)
        file = write(
            tmp_path / "a.csv", "".join(["\n", *lines[:800], "1,,x,1\n", *lines[800:2000]])
        )
        with splits(spark, 2003):
            _, report = same(spark, file, PRESETS["ml-latest"])
            assert report.rows == 2000

    @pytest.mark.parametrize(
        ("preset", "name", "text"),
        [
            ("larder", "a.csv", "user,item,weight\na,x,1\na,x,2\nb,é,3\n"),
            ("larder", "a.csv", "user,item,timestamp\na,x,20260131\nb,x,1577836800\n"),
            ("ml-latest", "a.csv", "userId,movieId,rating,timestamp\n1,2,3.5,4\n1,2,4,3\n"),
            ("ml-100k", "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"),
            ("ml-100k", "u1.base", "1\t2\t3\t4\n"),
            ("ml-1m", "a.dat", "1::é::5::978300760\n1::661::3::978302109\n1::2::x::1\n"),
            (
                "book-crossing",
                "a.csv",
                '"User-ID";"ISBN";"Book-Rating"\r\n"1";"x";"0"\r\n"2";"\\"a\\"";"5"\r\n'
                '"3";"é""e";"3"\r\n"4";"a;b\\\\";"6"\r\n"5;"x";"1"\r\n"6";"y";"9"\r\n',
            ),
        ],
    )
    def test_every_preset_is_read(
        self, spark: SparkSession, tmp_path: Path, preset: str, name: str, text: str
    ) -> None:
        layout = PRESETS[preset]
        rows, _ = same(spark, write(tmp_path / name, text, layout.encoding), layout)
        assert rows

    @pytest.mark.parametrize(
        "layout",
        [
            Layout(),
            Layout().choose(rating_column="", weight_column="rating"),
            Layout().choose(rating_column=""),
            Layout().choose(timestamp_column=""),
            Layout().choose(timestamp_column="", rating_column=""),
            Layout(user_column="item", item_column="user", zero_counts_as=0.5),
        ],
    )
    def test_rows_merge_by_the_same_rules(
        self, spark: SparkSession, tmp_path: Path, layout: Layout
    ) -> None:
        source = random.Random(3)
        rows = [
            f"u{source.randrange(9)},i{source.randrange(9)},"
            f"{source.choice([0, source.random() * 10.0 ** k])},{source.randrange(3)}\n"
            for k in range(-6, 7)
            for _ in range(100)
        ]
        rows += ["one,single,0.1,5\n", "zero,zero,0,1\n", "zero,zero,-0,1\n", "tiny,x,1e-60,1\n"]
        source.shuffle(rows)
        for part in (0, 1):
            text = "user,item,rating,timestamp\n" + "".join(rows[part::2])
            write(tmp_path / "in" / f"{part}.csv", text)
        with splits(spark, 20_000):
            same(spark, tmp_path / "in", layout)

    def test_odd_ids_stay_as_they_are(self, spark: SparkSession, tmp_path: Path) -> None:
        ids = ["1", "01", " 1", "1 ", "a b", "a/b", "a:b", "'", '"', "😀", "é", "e\u0301", "NULL"]
        ids += ["x" * 200, "a,b", "\\", "nan", "#1", "日本", "\u2028", "\x85"]
        body = "".join('"' + text.replace('"', '""') + '",i\n' for text in ids)
        rows, _ = same(spark, write(tmp_path / "a.csv", "user,item\n" + body))
        assert sorted(user for user, *_ in rows) == sorted(ids)

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_every_newline_will_do(self, spark: SparkSession, tmp_path: Path, newline: str) -> None:
        text = "\n\nuser,item\na,x\n\nb,\nb,y".replace("\n", newline)
        rows, _ = same(spark, write(tmp_path / "a.csv", text))
        assert len(rows) == 2

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "shift_jis", "gb18030"])
    def test_an_encoding_is_read(self, spark: SparkSession, tmp_path: Path, encoding: str) -> None:
        word = "日本" if encoding in ("shift_jis", "gb18030") else "café"
        file = write(tmp_path / "a.csv", f"user,item\n{word},x\n", encoding)
        rows, _ = same(spark, file, Layout(encoding=encoding.removesuffix("-sig")))
        assert rows == [(word, "x", 1, None)]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "cp037"])
    def test_an_encoding_with_wide_newlines_is_refused(
        self, spark: SparkSession, tmp_path: Path, encoding: str
    ) -> None:
        file = write(tmp_path / "a.csv", "user,item\na,x\n", encoding)
        with pytest.raises(BadInteractions, match=f"lines in the encoding {encoding}: write"):
            by_spark(spark, file, Layout(encoding=encoding))


class TestFiles:
    @pytest.mark.parametrize(
        "name", ["a b.csv", "[1]*?.csv", "it's.csv", 'a"b.csv', "é😀.tsv", "{a,b}%20.CSV"]
    )
    def test_any_name_is_taken_literally(
        self, spark: SparkSession, tmp_path: Path, name: str
    ) -> None:
        cut = "\t" if name.endswith(".tsv") else ","
        write(tmp_path / "1.csv", "user,item\nb,y\n")
        file = write(tmp_path / name, f"user{cut}item\na{cut}x\n{cut}x\n")
        same(spark, file, rejects=tmp_path / "rejects")
        assert [row["file"] for row in listed(tmp_path / "rejects")] == [str(file)]

    def test_a_folder_is_read_with_all_below_it(self, spark: SparkSession, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        write(folder / "part-0.csv", "user,item\na,x\n")
        write(folder / "year=2020.csv" / "part-1.csv", "\nuser,item\n\nb,x\n,x\n")
        write(folder / "part-2.csv", "")
        write(folder / "part-4.csv", "\n\n")
        write(folder / "part-5.csv", "user,item\n")
        (folder / "part-3.csv.gz").write_bytes(gzip.compress(b"user,item\na,y\nb,\n"))
        write(folder / "rejects.csv", "file,line,reason,content\r\nx,1,y,z\r\n")
        write(folder / "rejects-items" / "part-0.csv", "file,rows,reason,content\nx,1,y,z\n")
        for ignored in ("_SUCCESS", "_tmp/x.csv", ".hidden/x.csv", "LICENSE"):
            write(folder / ignored, "nonsense")
        rows, report = same(spark, folder)
        assert [row[:2] for row in rows] == [("a", "x"), ("a", "y"), ("b", "x")]
        assert (report.files, report.rows) == (4, 5)
        assert same(spark, Path(folder)) == by_spark(spark, folder.as_uri())

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.csv", b""),
            ("a.csv", b"\n\r\n"),
            ("a.csv.gz", gzip.compress(b"", mtime=0)),
            ("a.csv", b"user,item\n"),
            ("a.csv", b"user,item,weight\na,x,0\n"),
            ("a.csv", b"who,item\n1,2\n"),
            ("a.csv", b"user;item\n1;2\n"),
            ("a.csv", b"196,242,3\n1,2,3\n"),
            ("a.csv", b"user,item,user\n1,2,3\n"),
            ("a.csv", b"user,item,rating,weight\n1,2,3,4\n"),
            ("a.csv", bytes(range(256)) * 50),
            ("a.csv", "user,item\na,x\n".encode("utf-16")),
            ("a.json", b"{}"),
            ("a.md/a.csv", None),
        ],
    )
    def test_what_cannot_be_used_gets_the_same_sentence(
        self, spark: SparkSession, tmp_path: Path, name: str, data: bytes | None
    ) -> None:
        if data is not None:
            (tmp_path / name).write_bytes(data)
        sentences = []
        for reader in (lambda: load(tmp_path / name), lambda: by_spark(spark, tmp_path / name)):
            with pytest.raises(BadInteractions) as caught:
                reader()
            sentences.append(str(caught.value))
        assert sentences[0] == sentences[1]

    @pytest.mark.parametrize(
        "texts",
        [
            {},
            {"notes.md": "hello", "_a.csv": "user,item\na,x\n"},
            {"1.csv": "user,item\na,x\n", "2.csv": "item,user\nx,a\n"},
            {"1.csv": "user,item\na,x\n", "2.tsv": "user\titem\nx\ta\n"},
            {"1.csv": "user,item\na,x\n", "2.parquet": ""},
            {"rejects.csv": "file,line,reason,content\r\n"},
        ],
    )
    def test_a_folder_that_cannot_be_used_gets_the_same_sentence(
        self, spark: SparkSession, tmp_path: Path, texts: dict[str, str]
    ) -> None:
        for name, text in texts.items():
            write(tmp_path / name, text)
        with pytest.raises(BadInteractions) as expected:
            load(tmp_path)
        with pytest.raises(BadInteractions) as caught:
            by_spark(spark, tmp_path)
        assert str(caught.value) == str(expected.value)

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.csv.gz", b"user,item\na,x\n"),
            ("a.csv.gz", gzip.compress(b"user,item\na,x\n" * 99_999, mtime=0)[:-99]),
            ("a.parquet", b""),
            ("a.parquet", b"PAR1 not really PAR1"),
            ("a.parquet", b"user,item\na,x\n"),
            ("a:b.csv", b"user,item\na,x\n"),
        ],
    )
    def test_a_damaged_file_gets_a_sentence(
        self, spark: SparkSession, tmp_path: Path, name: str, data: bytes
    ) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInteractions, match="cannot be read") as caught:
            by_spark(spark, tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_unknown_file_system_is_a_wrong_setting(self, spark: SparkSession) -> None:
        with pytest.raises(BadSettings, match="Spark lacks what reads"), spark_errors():
            by_spark(spark, "klingon://host/a.csv")

    def test_a_name_that_spark_skips_is_told(self, spark: SparkSession, tmp_path: Path) -> None:
        with pytest.raises(BadInteractions, match="begin with '.' or '_': rename it"):
            by_spark(spark, write(tmp_path / "_a.csv", "user,item\na,x\n"))


BAD = (
    b',x,1,1\n"",x,1,1\na,,1,1\na,x,,1\na,x,one,1\na,x,"1,5",1\na,x,NaN,1\na,x,-inf,1\na,x,-0.5,1\n'
    b'a,x,1e13,1\na,x,1e400,1\na,x,1\na,x,1,2,3\na\xff,x,1,1\na"b,x,1,1\n"a"b,x,1,1\n'
    b"a\0,x,1,1\n,,nan,1\na,x,1,yesterday\na,x,1,\n" + b"a" * 1025 + b",x,1,1\n"
)


class TestRejects:
    def test_every_reason_is_found_and_listed(self, spark: SparkSession, tmp_path: Path) -> None:
        file = tmp_path / "in" / "a b.csv"
        file.parent.mkdir()
        file.write_bytes(b"user,item,weight,timestamp\na,x,1,1\n\n" + BAD * 2 + b"b,y,2,2\n")
        _, report = same(spark, file, rejects=tmp_path / "rejects")
        assert len(report.rejected) == 15
        load(file, rejects=tmp_path / "rejects.csv", max_rejects=1)
        with (tmp_path / "rejects.csv").open(newline="", encoding="utf-8") as stream:
            expected = Counter(
                (row["file"], row["reason"], row["content"]) for row in csv.DictReader(stream)
            )
        found = listed(tmp_path / "rejects")
        assert expected == {
            (row["file"], row["reason"], row["content"]): int(row["rows"]) for row in found
        }

    @pytest.mark.parametrize("seed", range(3))
    def test_nasty_rows_have_the_reasons_of_a_single_machine(
        self, spark: SparkSession, tmp_path: Path, seed: int
    ) -> None:
        source = random.Random(seed)
        for number in range(12):
            text = nasty_text(source)
            rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
            flat = [[cell.replace("\r", "").replace("\n", "") for cell in row] for row in rows]
            lines = io.StringIO()
            csv.writer(lines).writerows(flat)
            write(tmp_path / f"{number}.csv", lines.getvalue())
        with splits(spark, [300, 3000, 100_000][seed]):
            same(spark, tmp_path)

    @pytest.mark.parametrize("size", [300, 1 << 27])
    @pytest.mark.parametrize("cut", [",", "::"])
    def test_an_open_quote_costs_its_line_wherever_files_are_cut(
        self, spark: SparkSession, tmp_path: Path, size: int, cut: str
    ) -> None:
        good = ["a,x,n", 'b,"y",n', 'c,"y ""q""",n', 'd,a"b,n', 'e, "x,y",n', 'f,  "x,n']
        wrong = ['"g,x,n', 'h,"x,n', 'i,x,"note', 'j, "x,n', 'k,"x" "y,n', '"a"b,x,"n']
        lines = (good * 5 + wrong) * 5
        random.Random(5).shuffle(lines)
        text = "\n".join(["user,item,note", *lines]).replace(",", cut)
        file = write(tmp_path / "a.txt", text)
        with splits(spark, size):
            rows, report = by_spark(
                spark, file, Layout(delimiter=cut), rejects=tmp_path / "rejects"
            )
        singles = write(tmp_path / "b.txt", "\n".join(["user,item,note", *good]).replace(",", cut))
        expected = singly(load(singles, Layout(delimiter=cut)))
        assert rows == [(user, item, 25, None) for user, item, *_ in expected]
        assert len(rows) == len(good)
        assert report.rejected == {"broken quotes": len(wrong) * 5}
        assert {row["content"] for row in listed(tmp_path / "rejects")} == {
            line.replace(",", cut) for line in wrong
        }

    def test_too_many_stop_the_run_after_they_were_written(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        text = "user,item\n" + "a,x\n" * 96 + ",x\n" * 3 + ",é\n"
        file, rejects = write(tmp_path / "a.csv", text), tmp_path / "new" / "rejects"
        _, report = by_spark(spark, file, max_rejects=0.04)
        assert report.rejected == {"missing user": 4}
        before = kept(spark)
        with pytest.raises(BadInteractions) as caught:
            by_spark(spark, file, rejects=rejects, max_rejects=0.039)
        assert str(caught.value) == (
            f"{file}: 4 of 100 rows are rejected (4.00%), more than the 3.90% allowed (4 x missing "
            f"user); {rejects} lists them. The first: {file}: missing user: ',x'; {file}: missing "
            "user: ',é'. Correct them, or raise --max-rejects"
        )
        assert [(row["rows"], row["content"]) for row in listed(rejects)] == [
            ("3", ",x"),
            ("1", ",é"),
        ]
        assert kept(spark) <= before

    def test_a_folder_of_rejects_is_replaced_and_at_last_removed(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        rejects = tmp_path / "rejects"
        rejects.mkdir()
        for text, contents in (("a,x\n,x\n", [",x"]), ("a,x\nb,\n", ["b,"]), ("a,x\n", None)):
            by_spark(spark, write(tmp_path / "a.csv", "user,item\n" + text), rejects=rejects)
            if contents is None:
                assert not rejects.exists()
            else:
                assert [row["content"] for row in listed(rejects)] == contents

    @pytest.mark.parametrize("found", ["file", "folder", "parts", "added"])
    def test_nothing_else_is_overwritten(
        self, spark: SparkSession, tmp_path: Path, found: str
    ) -> None:
        file, rejects = write(tmp_path / "a.csv", "user,item\na,x\n,x\n"), tmp_path / "rejects"
        names = {"file": [""], "folder": ["notes.md"], "parts": ["part-0.csv", "_SUCCESS"]}
        for name in names.get(found, ["_LARDER_REJECTS", "part-0.csv", "mine.csv"]):
            write(rejects / name if name else rejects, "keep me")
        before = sorted(rejects.iterdir()) if rejects.is_dir() else rejects.read_text()
        with pytest.raises(BadSettings, match="expected nothing there, or the rejects"):
            by_spark(spark, file, rejects=rejects)
        assert before == (sorted(rejects.iterdir()) if rejects.is_dir() else rejects.read_text())

    @pytest.mark.parametrize("where", [".", "..", "rejects", "a.csv", "a.csv/rejects"])
    def test_rejects_cannot_lie_within_the_input_or_above_it(
        self, spark: SparkSession, tmp_path: Path, where: str
    ) -> None:
        write(tmp_path / "in" / "a.csv", "user,item\na,x\n,x\n")
        with pytest.raises(BadSettings, match="a folder apart from the input"):
            by_spark(spark, tmp_path / "in", rejects=tmp_path / "in" / where)

    def test_a_folder_that_cannot_be_written_is_a_warning(
        self, spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = write(tmp_path / "a.csv", "user,item\na,x\n,x\n")
        beside = write(tmp_path / "b.csv", "x") / "rejects"
        with caplog.at_level(logging.WARNING, "larder.interactions"):
            rows, report = by_spark(spark, file, rejects=beside)
        assert (len(rows), report.rejected) == (1, {"missing user": 1})
        (warning,) = [record for record in caplog.records if record.name == "larder.interactions"]
        assert "the rejects folder cannot be written (" in warning.getMessage()
        assert warning.getMessage().endswith("): give another --rejects")


class TestParquet:
    @pytest.mark.parametrize(
        "select",
        [
            "SELECT unnest([10, 9, -1])::BIGINT AS user, unnest([2.0, 1.0, 3e15]) AS item",
            "SELECT unnest([1, 1.5, 'nan'::DOUBLE, NULL]) AS user, 'i' AS item",
            "SELECT unnest(['a', NULL, '', 'é😀', 'c']) AS user, 'x' AS item, "
            "unnest([1, 1, 1, 'nan'::DOUBLE, -1]) AS rating, 7 AS other, [1] AS list",
            "SELECT unnest([1, 1, 2])::UTINYINT AS user, unnest([1, 1, 2])::UBIGINT AS item, "
            "unnest([0.1, 0.2, 12345678901234567.25])::DECIMAL(38, 2) AS weight",
            "SELECT 1 AS user, 2 AS item, unnest([true, false]) AS weight",
            "SELECT 1 AS user, 2 AS item, 3::FLOAT AS rating, '2020-01-01' AS timestamp",
            'SELECT 1 AS user, \'x\' AS item, 3 AS "a.b`c", 4 AS "c0", 5 AS file, 6 AS reason',
            "SELECT 'a\nb' AS user, 'x' AS item UNION ALL SELECT 'a', 'x'",
            "SELECT 'a'::BLOB AS user, 'x'::BLOB AS item",
        ],
    )
    def test_types_are_what_they_are_on_one_machine(
        self, spark: SparkSession, tmp_path: Path, select: str
    ) -> None:
        same(spark, parquet(tmp_path / "a.parquet", select))

    @pytest.mark.parametrize(
        "expression",
        [
            "DATE '2020-01-01'",
            "TIMESTAMP '2020-01-01 00:00:00.25'",
            "TIMESTAMP_NS '2020-01-01'",
            "TIMESTAMP_MS '2020-01-01'",
            "TIMESTAMPTZ '2020-01-01 01:00:00+01'",
            "1577836800000::UBIGINT",
            "20200101::DOUBLE",
            "1577836800.25::DECIMAL(18, 3)",
            "NULL::TIMESTAMP",
        ],
    )
    def test_times_are_what_they_are_on_one_machine(
        self, spark: SparkSession, tmp_path: Path, expression: str
    ) -> None:
        select = f"SELECT 1 AS user, 2 AS item, {expression} AS timestamp"
        select += " UNION ALL SELECT 3, 4, make_timestamp(0)" * expression.startswith("NULL")
        rows, _ = same(spark, parquet(tmp_path / "a.parquet", select))
        assert len(rows) == 1

    @pytest.mark.parametrize("column", ["rating", "weight"])
    def test_nan_that_arrow_wrote_is_rejected(
        self, spark: SparkSession, tmp_path: Path, column: str
    ) -> None:
        """Arrow leaves it out of a column's least and greatest value."""
        values: list[object] = [float("nan") if row == 7 else 1.0 + row % 5 for row in range(100)]
        users: list[object] = [f"u{row % 50}" for row in range(100)]
        by_pyarrow({"user": users, "item": users, column: values}, tmp_path / "a.parquet")
        _, report = same(spark, tmp_path / "a.parquet")
        assert report.rejected == {f"NaN: {column}": 1}

    @pytest.mark.parametrize("names", [["user", "item", "item"], ["user", "item", "Item"]])
    def test_columns_of_one_name_are_refused(
        self, spark: SparkSession, tmp_path: Path, names: list[str]
    ) -> None:
        table = pa.Table.from_arrays([pa.array(["x"])] * len(names), names=names)
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(BadInteractions, match="expected one column 'item', found several"):
            by_spark(spark, tmp_path / "a.parquet")

    @pytest.mark.parametrize("expression", ["DATE '2020-01-01'", "[1]", "true", "{'a': 1}"])
    def test_other_types_are_refused_in_the_same_words(
        self, spark: SparkSession, tmp_path: Path, expression: str
    ) -> None:
        file = parquet(tmp_path / "a.parquet", f"SELECT {expression} AS user, 'i' AS item")
        with pytest.raises(BadInteractions) as expected:
            load(file)
        with pytest.raises(BadInteractions) as caught:
            by_spark(spark, file)
        assert str(caught.value) == str(expected.value)

    def test_parts_may_have_other_columns_in_another_order(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        parquet_in(
            tmp_path / "1.parquet", "SELECT unnest(['a', NULL]) AS user, 1 AS item, 5 AS more"
        )
        parquet_in(tmp_path / "2.parquet", "SELECT unnest([1, 2]) AS item, 'b' AS user LIMIT 0")
        parquet_in(
            tmp_path / "year=2020" / "3.parquet",
            "SELECT unnest([1, NULL, 3]) AS item, unnest([5, 6, 7]) AS timestamp, 'b' AS user",
        )
        _, report = same(spark, tmp_path)
        assert report.rejected == {
            "missing user": 1,
            "bad timestamp: timestamp": 1,
            "missing item": 1,
        }

    def test_parts_of_different_types_are_refused(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        parquet(tmp_path / "1.parquet", "SELECT 'a' AS user, 1 AS item")
        parquet(tmp_path / "2.parquet", "SELECT 'a' AS user, 'x' AS item")
        with pytest.raises(BadInteractions, match="different types: give each one type"):
            by_spark(spark, tmp_path)

    def test_rejects_tell_the_columns_that_were_used(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        file = parquet(
            tmp_path / "a.parquet",
            "SELECT 7 AS other, unnest(['a', '', '']) AS user, unnest(['x', 'y', 'y,\"z']) AS item",
        )
        by_spark(spark, file, rejects=tmp_path / "rejects")
        assert listed(tmp_path / "rejects") == [
            {"file": str(file), "rows": "1", "reason": "missing user", "content": content}
            for content in (",y", ',y,"z')
        ]


def parquet_in(path: Path, select: str) -> None:
    path.parent.mkdir(exist_ok=True)
    parquet(path, select)
