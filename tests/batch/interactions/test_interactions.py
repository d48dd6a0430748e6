"""What a file of interactions becomes, and what is said of the rows that cannot be used."""

import csv
import gzip
import io
import json
import math
import os
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from batch.errors import BadInteractions, Terminal
from batch.events.inputs import Inputs
from batch.events.load import load_both
from batch.interactions.load import load
from batch.interactions.pairs import Interactions, Report
from batch.interactions.reading import Reading, beside
from batch.interactions.sources.layout import PRESETS, Layout
from batch.interactions.sources.table import reading_errors
from batch.recommendations.judge.split import hold_out
from batch.recommendations.terms import Holdout

Pairs = dict[tuple[str, str], float]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def parquet(path: Path, select: str) -> Path:
    with duckdb.connect() as connection:
        connection.sql(select).write_parquet(str(path))
    return path


def pairs(interactions: Interactions) -> Pairs:
    return {
        (interactions.users[user], interactions.items[item]): float(weight)
        for user, item, weight in zip(
            interactions.user, interactions.item, interactions.weight, strict=True
        )
    }


def rejected(path: Path) -> list[tuple[int, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [(int(row["line"]), row["reason"]) for row in csv.DictReader(stream)]


class TestPairs:
    def test_rows_become_sorted_index_arrays(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.csv", "user,item,weight\nb,y,2\na,z,3\nb,x,1\n")
        loaded = load(file)
        assert (loaded.users, loaded.items) == (["a", "b"], ["x", "y", "z"])
        assert loaded.user.tolist() == [0, 1, 1]
        assert loaded.item.tolist() == [2, 0, 1]
        assert loaded.weight.tolist() == [3, 1, 2]
        assert loaded.timestamp is None
        assert loaded.user.dtype == loaded.item.dtype == np.int32
        assert loaded.weight.dtype == np.float32
        assert len(loaded) == 3

    def test_the_matrix_holds_the_weights_without_a_copy(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "a.csv", "user,item,weight\nb,y,2\na,z,3\nb,x,1\n"))
        matrix = loaded.matrix()
        assert matrix.dtype == np.float32
        assert matrix.toarray().tolist() == [[0, 0, 3], [1, 2, 0]]
        assert np.shares_memory(matrix.data, loaded.weight)
        assert np.shares_memory(matrix.indices, loaded.item)

    def test_one_user_and_one_item_are_enough(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "a.csv", "user,item\nu,i\n"))
        assert pairs(loaded) == {("u", "i"): 1}
        assert loaded.matrix().shape == (1, 1)

    def test_a_selection_keeps_the_ids_and_the_order(self, tmp_path: Path) -> None:
        loaded = load(
            write(tmp_path / "a.csv", "user,item,timestamp\na,x,5\na,y,6\nb,x,7\nb,z,8\n")
        )
        by_mask = loaded.select(np.array([True, False, False, True]))
        by_index = loaded.select(np.array([3, 0]))
        assert pairs(by_mask) == pairs(by_index) == {("a", "x"): 1, ("b", "z"): 1}
        assert by_index.user.tolist() == [0, 1]
        assert by_index.timestamp is not None and by_index.timestamp.tolist() == [5, 8]
        assert by_mask.users == loaded.users
        assert by_mask.matrix().shape == loaded.matrix().shape

    def test_train_and_test_share_the_ids_of_both(self, tmp_path: Path) -> None:
        train = write(tmp_path / "train.csv", "user,item\nb,x\nc,z\n")
        test = write(tmp_path / "test.csv", "user,item\na,z\nb,y\n")
        one, other = load_both(
            Inputs((str(train),)), Inputs((str(test),)), Reading(), tmp_path / "rejects.csv"
        )
        assert one.users == other.users == ["a", "b", "c"]
        assert one.items == other.items == ["x", "y", "z"]
        assert pairs(one) == {("b", "x"): 1, ("c", "z"): 1}
        assert pairs(other) == {("a", "z"): 1, ("b", "y"): 1}
        assert one.matrix().shape == other.matrix().shape == (3, 3)

    def test_rejects_of_train_and_test_go_to_two_files(self, tmp_path: Path) -> None:
        train = write(tmp_path / "train.csv", "user,item\nb,x\n,z\n")
        test = write(tmp_path / "test.csv", "user,item\nb,\nb,y\n")
        load_both(
            Inputs((str(train),)),
            Inputs((str(test),)),
            Reading(max_rejects=1),
            tmp_path / "rejects.csv",
        )
        assert rejected(tmp_path / "rejects.csv") == [(3, "missing user")]
        assert rejected(tmp_path / "rejects-test.csv") == [(2, "missing item")]

    def test_the_columns_that_were_used_and_those_that_were_not_are_told(
        self, tmp_path: Path
    ) -> None:
        text = "who,item,stars,note,timestamp\na,x,1,n,1577836800.5\na,y,1,n,1e9\n"
        layout = Layout(user_column="who", rating_column="stars")
        loaded = load(write(tmp_path / "a.csv", text), layout)
        assert loaded.report.used == {
            "user": "who",
            "item": "item",
            "rating": "stars",
            "timestamp": "timestamp",
        }
        assert loaded.report.unused == ("note",)
        assert loaded.period() == ("2001-09-09T01:46:40Z", "2020-01-01T00:00:00Z")
        assert load(write(tmp_path / "b.csv", "user,item\na,x\n")).period() is None


class TestIds:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
    def test_odd_ids_stay_as_they_are(self, tmp_path: Path, encoding: str) -> None:
        ids = ["1", "01", " 1", "1 ", "a b", "a/b", "a:b", "'", '"', "😀", "é", "e\u0301", "NULL"]
        ids += ["x" * 200, "a,b", "\\", "nan", "#1", "日本"]
        body = "".join('"' + text.replace('"', '""') + '",i\n' for text in ids)
        file = write(tmp_path / "a.csv", "user,item\n" + body, encoding)
        loaded = load(file, Layout(encoding=encoding.removesuffix("-sig")))
        assert loaded.users == sorted(ids, key=str.encode)

    def test_whole_numbers_in_parquet_become_their_digits(self, tmp_path: Path) -> None:
        file = parquet(
            tmp_path / "a.parquet",
            "SELECT unnest([10, 9, -1])::BIGINT AS user, unnest([2.0, 1.0, 3e15]) AS item",
        )
        assert pairs(load(file)) == {("10", "2"): 1, ("9", "1"): 1, ("-1", "3000000000000000"): 1}

    def test_fractions_are_no_ids(self, tmp_path: Path) -> None:
        file = parquet(
            tmp_path / "a.parquet",
            "SELECT unnest([1, 1.5, 'nan'::DOUBLE, NULL]) AS user, 'i' AS item",
        )
        loaded = load(file, max_rejects=1)
        assert pairs(loaded) == {("1", "i"): 1}
        assert loaded.report.rejected == {"id not whole: user": 1, "missing user": 2}

    @pytest.mark.parametrize("expression", ["DATE '2020-01-01'", "[1]", "true", "{'a': 1}"])
    def test_other_types_are_no_ids(self, tmp_path: Path, expression: str) -> None:
        file = parquet(tmp_path / "a.parquet", f"SELECT {expression} AS user, 'i' AS item")
        with pytest.raises(BadInteractions, match="'user'.*convert it"):
            load(file)

    def test_an_id_may_have_1024_bytes_and_no_more(self, tmp_path: Path) -> None:
        text = f"user,item\n{'é' * 512},i\n{'é' * 512}x,i\n"
        loaded = load(write(tmp_path / "a.csv", text), max_rejects=1)
        assert loaded.users == ["é" * 512]
        assert loaded.report.rejected == {"id too long: user": 1}


class TestMerging:
    def test_without_weights_rows_are_counted(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "a.csv", "user,item\na,x\na,y\na,x\n"))
        assert pairs(loaded) == {("a", "x"): 2, ("a", "y"): 1}
        assert (loaded.report.rows, loaded.report.merged) == (3, 1)

    def test_weights_add_up(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "a.csv", "user,item,weight\na,x,1.5\na,x,2\nb,x,1e-9\n"))
        assert pairs(loaded) == {("a", "x"): 3.5, ("b", "x"): float(np.float32(1e-9))}

    def test_the_latest_rating_counts_and_at_equal_times_the_highest(self, tmp_path: Path) -> None:
        text = "user,item,rating,timestamp\na,x,5,1\na,x,2,9\na,x,1,9\na,x,4,3\n"
        loaded = load(write(tmp_path / "a.csv", text))
        assert pairs(loaded) == {("a", "x"): 2}

    @pytest.mark.parametrize(
        ("times", "rating"),
        [
            (("-5", "-7.5", "-7"), 2),
            (("-1e-300", "-0.0", "0"), 4),
            (("-1", "1e-300", "0"), 3),
            (("1600000000.25", "1600000000", "1600000000.125"), 2),
            (("1969-12-31", "1970-01-01", "1960-01-01"), 3),
        ],
    )
    def test_what_is_latest_is_told_to_the_last_bit(
        self, tmp_path: Path, times: tuple[str, ...], rating: float
    ) -> None:
        rows = "".join(f"a,x,{n},{time}\n" for n, time in enumerate(times, start=2))
        loaded = load(write(tmp_path / "a.csv", "user,item,rating,timestamp\n" + rows))
        assert pairs(loaded) == {("a", "x"): rating}

    def test_one_column_may_be_both_ids(self, tmp_path: Path) -> None:
        loaded = load(
            write(tmp_path / "a.csv", "user,n\na,1\nb,1\na,1\n"), Layout(item_column="user")
        )
        assert pairs(loaded) == {("a", "a"): 2, ("b", "b"): 1}

    @pytest.mark.parametrize("value", ["rating,", "weight,", ""])
    def test_a_pair_happened_when_its_first_row_did(self, tmp_path: Path, value: str) -> None:
        one = "1," if value else ""
        text = f"user,item,{value}timestamp\na,x,{one}5\na,x,{one}1\na,x,{one}9\nb,x,{one}7\n"
        loaded = load(write(tmp_path / "a.csv", text))
        assert loaded.timestamp is not None and loaded.timestamp.tolist() == [1, 7]

    def test_what_a_user_repeats_later_is_not_new(self, tmp_path: Path) -> None:
        text = "user,item,timestamp\na,x,1\na,y,2\na,x,9\na,z,8\nb,x,3\n"
        train, held_out = hold_out(load(write(tmp_path / "a.csv", text)), Holdout(after=5.0))
        assert pairs(train) == {("a", "x"): 2, ("a", "y"): 1, ("b", "x"): 1}
        assert pairs(held_out) == {("a", "z"): 1}

    def test_without_times_the_highest_rating_counts(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "a.csv", "user,item,rating\na,x,2\na,x,4\na,x,3\n"))
        assert pairs(loaded) == {("a", "x"): 4}

    def test_pairs_of_weight_zero_are_counted_and_left_out(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "a.csv", "user,item,rating\na,x,0\nb,y,-0\nc,z,1\n"))
        assert pairs(loaded) == {("c", "z"): 1}
        assert loaded.users == ["c"]
        assert loaded.report.zero == 2

    def test_the_order_of_rows_changes_nothing(self, tmp_path: Path) -> None:
        source = random.Random(3)
        rows = [
            f"u{source.randrange(9)},i{source.randrange(9)},{source.random() * 10 ** k},{k}\n"
            for k in range(-6, 7)
            for _ in range(200)
        ]
        prints = set()
        for _ in range(4):
            source.shuffle(rows)
            file = write(tmp_path / "a.csv", "user,item,weight,timestamp\n" + "".join(rows))
            prints.add(load(file).fingerprint())
        assert len(prints) == 1

    def test_the_fingerprint_tells_contents_apart(self, tmp_path: Path) -> None:
        texts = [
            "user,item\na,x\n",
            "user,item\na,y\n",
            "user,item\nax,\u200b\n",
            "user,item,weight\na,x,2\n",
            "user,item,timestamp\na,x,1\n",
            "user,item,timestamp\na,x,2\n",
        ]
        files = [write(tmp_path / f"{n}.csv", text) for n, text in enumerate(texts)]
        assert len({load(file).fingerprint() for file in files}) == len(texts)

    def test_parquet_and_text_of_the_same_pairs_have_one_fingerprint(self, tmp_path: Path) -> None:
        text = write(tmp_path / "a.csv", "item,user,rating\n1,2,3\n10,2,4.5\n")
        table = parquet(
            tmp_path / "a.parquet",
            "SELECT 2::SMALLINT AS user, unnest([10, 1]) AS item, unnest([4.5, 3]) AS rating",
        )
        assert load(text).fingerprint() == load(table).fingerprint()


class TestTimestamps:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("1577836800", 1577836800.0),
            ("1577836800.25", 1577836800.25),
            ("-5", -5.0),
            ("1577836800250", 1577836800.25),
            ("1577836800250000", 1577836800.25),
            ("1577836800250000000", 1577836800.25),
            ("2020-01-01", 1577836800.0),
            ("20200101", 1577836800.0),
            ("2020-01-01T00:00:00Z", 1577836800.0),
            ("2020-01-01 02:00:00.25+02:00", 1577836800.25),
        ],
    )
    def test_numbers_and_iso_texts_become_epoch_seconds(
        self, tmp_path: Path, text: str, seconds: float
    ) -> None:
        loaded = load(write(tmp_path / "a.csv", f"user,item,timestamp\na,x,{text}\n"))
        assert loaded.timestamp is not None
        assert loaded.timestamp.dtype == np.float64
        assert loaded.timestamp.tolist() == pytest.approx([seconds], rel=0, abs=1e-6)

    @pytest.mark.parametrize(
        "expression",
        [
            "DATE '2020-01-01'",
            "TIMESTAMP '2020-01-01'",
            "TIMESTAMP_NS '2020-01-01'",
            "TIMESTAMPTZ '2020-01-01 01:00:00+01'",
            "1577836800",
            "1577836800000::UBIGINT",
            "1577836800::DOUBLE",
            "'2020-01-01'",
        ],
    )
    def test_types_of_parquet_become_epoch_seconds(self, tmp_path: Path, expression: str) -> None:
        file = parquet(
            tmp_path / "a.parquet", f"SELECT 1 AS user, 2 AS item, {expression} AS timestamp"
        )
        timestamp = load(file).timestamp
        assert timestamp is not None and timestamp.tolist() == [1577836800]

    @pytest.mark.parametrize(
        "text", ["", "yesterday", "epoch", "nan", "inf", "2020-13-01", "20200231", "1e40"]
    )
    def test_anything_else_is_rejected(self, tmp_path: Path, text: str) -> None:
        file = write(tmp_path / "a.csv", f"user,item,timestamp\na,x,{text}\na,y,1\n")
        assert load(file, max_rejects=1).report.rejected == {"bad timestamp: timestamp": 1}


class TestLayouts:
    def test_names_of_columns_are_free(self, tmp_path: Path) -> None:
        user, item = 'who\'s "that"; DROP TABLE pairs', "SELECT"
        layout = Layout(user_column=user, item_column=item, rating_column="★")
        file = write(
            tmp_path / "a.csv", f'★,"{user.replace(chr(34), chr(34) * 2)}",{item}\n3,a,x\n'
        )
        assert pairs(load(file, layout)) == {("a", "x"): 3}
        quoted = user.replace('"', '""')
        table = parquet(
            tmp_path / "a.parquet", f'SELECT 3 AS "★", \'a\' AS "{quoted}", 7 AS "SELECT"'
        )
        assert pairs(load(table, layout)) == {("a", "7"): 3}

    def test_optional_columns_may_be_absent_under_their_default_names(self, tmp_path: Path) -> None:
        assert pairs(load(write(tmp_path / "a.csv", "user,item,other\na,x,9\n"))) == {("a", "x"): 1}

    @pytest.mark.parametrize(
        "layout",
        [
            Layout(rating_column="stars"),
            Layout().choose(rating_column="rating"),
            Layout().choose(timestamp_column="when"),
        ],
    )
    def test_an_optional_column_that_was_named_must_exist(
        self, tmp_path: Path, layout: Layout
    ) -> None:
        file = write(tmp_path / "a.csv", "user,item\na,x\n")
        with pytest.raises(BadInteractions, match="expected a column"):
            load(file, layout)

    def test_what_a_caller_does_not_say_stays(self) -> None:
        preset = PRESETS["book-crossing"]
        assert preset.choose(user_column=None, delimiter=None) == preset

    def test_a_rating_beside_a_weight_asks_which(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.csv", "user,item,rating,weight\na,x,1,2\n")
        with pytest.raises(BadInteractions, match="both 'rating' and 'weight'"):
            load(file)
        assert pairs(load(file, Layout().choose(rating_column=""))) == {("a", "x"): 2}

    def test_a_missing_column_lists_what_there_is_and_names_the_preset(
        self, tmp_path: Path
    ) -> None:
        file = write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,2,3,4\n")
        with pytest.raises(BadInteractions, match="'user'.*'userId', 'movieId'.*preset ml-latest"):
            load(file)
        assert pairs(load(file, PRESETS["ml-latest"])) == {("1", "2"): 3}

    @pytest.mark.parametrize(
        ("header", "advice"),
        [
            ('"User-ID";"ISBN";"Book-Rating"', "use --preset book-crossing"),
            ("user;item", "cut the columns with --delimiter ';'"),
            ("user;item;price,net", "cut the columns with --delimiter ';'"),
            ("user\titem", r"cut the columns with --delimiter '\t'"),
            ("user item", "name it with --user-column, or the delimiter with --delimiter"),
            ("who,what", "--user-column 1 --item-column 2, if its first line is data"),
            ("user,what|not", "name it with --item-column"),
            ("196,242,3", "first line data? then --no-header --user-column 1 --item-column 2"),
        ],
    )
    def test_a_header_that_is_not_understood_gets_advice(
        self, tmp_path: Path, header: str, advice: str
    ) -> None:
        with pytest.raises(BadInteractions) as caught:
            load(write(tmp_path / "a.csv", header + "\n1,2\n"))
        assert str(caught.value).endswith(advice)

    def test_a_column_that_was_named_is_not_answered_with_a_preset_alone(
        self, tmp_path: Path
    ) -> None:
        file = write(tmp_path / "a.csv", "user,item\na,x\n")
        advice = r"larder, and do not set --user-column \(LARDER_USER_COLUMN\)$"
        with pytest.raises(BadInteractions, match=f"use --preset {advice}"):
            load(file, Layout().choose(user_column="buyer"))

    def test_a_parquet_file_is_not_cut_by_anything(self, tmp_path: Path) -> None:
        with pytest.raises(BadInteractions, match="found 'a;b': name it with --user-column$"):
            load(parquet(tmp_path / "a.parquet", "SELECT 1 AS 'a;b'"))

    @pytest.mark.parametrize("name", ["rating", "weight", "timestamp"])
    def test_a_named_column_that_is_missing_names_its_option(
        self, tmp_path: Path, name: str
    ) -> None:
        layout = Layout().choose(**{f"{name}_column": "other"})
        with pytest.raises(BadInteractions, match=f"name it with --{name}-column$"):
            load(write(tmp_path / "a.csv", "user,item\na,x\n"), layout)

    def test_without_a_header_the_default_names_are_none(self, tmp_path: Path) -> None:
        with pytest.raises(BadInteractions, match="numbered: --user-column 1 --item-column 2"):
            load(write(tmp_path / "a.csv", "a,x\n"), Layout(header=False))

    def test_a_column_that_appears_twice_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInteractions, match="found several"):
            load(write(tmp_path / "a.csv", "user,item,user\na,x,b\n"))

    def test_without_a_header_columns_are_named_by_position(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.txt", "x,a\ny,b\n")
        layout = Layout(header=False, user_column="2", item_column="1")
        assert pairs(load(file, layout)) == {("a", "x"): 1, ("b", "y"): 1}

    def test_movielens_100k(self, tmp_path: Path) -> None:
        file = write(tmp_path / "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
        loaded = load(file, PRESETS["ml-100k"])
        assert pairs(loaded) == {("196", "242"): 3, ("186", "302"): 3}
        assert load(write(tmp_path / "u1.base", "1\t2\t3\t4\n"), PRESETS["ml-100k"]).users == ["1"]

    def test_movielens_1m(self, tmp_path: Path) -> None:
        file = write(tmp_path / "ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n")
        assert pairs(load(file, PRESETS["ml-1m"])) == {("1", "1193"): 5, ("1", "661"): 3}

    def test_book_crossing(self, tmp_path: Path) -> None:
        rows = [
            '"User-ID";"ISBN";"Book-Rating"',
            '"276725";"034545104X";"0"',
            '"276726";"\\"0155061224\\"";"5"',
            '"276727";"044""6520802";"3"',
            '"276728";"a;b\\\\";"6"',
            '"276729";"café";"7"',
        ]
        file = write(tmp_path / "BX-Book-Ratings.csv", "\r\n".join(rows), "latin-1")
        assert pairs(load(file, PRESETS["book-crossing"])) == {
            ("276725", "034545104X"): 1,
            ("276726", '"0155061224"'): 5,
            ("276727", '044"6520802'): 3,
            ("276728", "a;b\\"): 6,
            ("276729", "café"): 7,
        }

    def test_an_escape_may_fall_on_the_edge_of_a_block(self, tmp_path: Path) -> None:
        row = '"u";"\\"i\\\\\\"";"1"\n'
        file = write(tmp_path / "a.csv", '"User-ID";"ISBN";"Book-Rating"\n' + row * 150_000)
        assert pairs(load(file, PRESETS["book-crossing"])) == {("u", '"i\\"'): 1}

    @pytest.mark.parametrize(
        "wrong",
        [{"delimiter": ""}, {"delimiter": "\n"}, {"delimiter": '"'}, {"quote": "''"}]
        + [{"delimiter": ":::::"}, {"escape": "ab"}, {"encoding": "klingon"}, {"encoding": "hex"}],
    )
    def test_a_layout_that_cannot_be_read_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(BadInteractions, match="delimiter|quote|escape|encoding"):
            Layout(**wrong)


class TestFiles:
    @pytest.mark.parametrize(
        "name",
        ["a b.csv", "[1]*?.csv", "it's.csv", 'a"b.csv', "é😀.tsv", "x.CSV", "-rf.csv", "a,b;c.dat"],
    )
    @pytest.mark.parametrize("zipped", [False, True])
    def test_any_name_is_taken_literally(self, tmp_path: Path, name: str, zipped: bool) -> None:
        cut = "\t" if name.endswith(".tsv") else ","
        data = f"user{cut}item\na{cut}x\n".encode()
        write(tmp_path / "1.csv", "user,item\nb,y\n")
        file = tmp_path / (name + ".gz" * zipped)
        file.write_bytes(gzip.compress(data) if zipped else data)
        assert pairs(load(file)) == {("a", "x"): 1}

    def test_a_folder_is_read_with_all_below_it(self, tmp_path: Path) -> None:
        write(tmp_path / "b" / "part-0.csv", "user,item\na,x\n")
        write(tmp_path / "b" / "year=2020.csv" / "part-1.csv", "user,item\nb,x\n")
        write(tmp_path / "b" / "part-2.csv", "")
        (tmp_path / "b" / "part-3.csv.gz").write_bytes(gzip.compress(b"user,item\na,y\n"))
        for ignored in ("_SUCCESS", ".part-0.csv.crc", "_tmp/x.csv", ".hidden/x.csv", "LICENSE"):
            write(tmp_path / "b" / ignored, "nonsense")
        loaded = load(tmp_path / "b")
        assert pairs(loaded) == {("a", "x"): 1, ("a", "y"): 1, ("b", "x"): 1}
        assert loaded.report.files == 3

    def test_the_rejects_of_an_earlier_run_are_no_input(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "a.csv", "user,item\na,x\n,x\n")
        rejects = tmp_path / "in" / "rejects.csv"
        write(tmp_path / "in" / "rejects-items.csv", "file,line,reason,content\r\n")
        for _ in range(2):
            loaded = load(tmp_path / "in", rejects=rejects, max_rejects=1)
            assert (loaded.report.files, loaded.report.rows) == (1, 2)
            assert rejected(rejects) == [(3, "missing user")]

    @pytest.mark.parametrize("name", ["a.json", "a.XLSX", "a.jsonl.gz"])
    def test_a_kind_that_is_foreign_is_told(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(BadInteractions, match="CSV, TSV or Parquet only"):
            load(write(tmp_path / name, "user,item\na,x\n"))

    def test_files_of_a_folder_need_the_same_columns(self, tmp_path: Path) -> None:
        write(tmp_path / "1.csv", "user,item\na,x\n")
        write(tmp_path / "2.csv", "item,user\nx,a\n")
        with pytest.raises(BadInteractions, match="2.csv: expected the columns of 1.csv"):
            load(tmp_path)

    def test_a_folder_of_two_kinds_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "1.csv", "user,item\na,x\n")
        parquet(tmp_path / "2.parquet", "SELECT 'a' AS user, 'x' AS item")
        with pytest.raises(BadInteractions, match="mixes Parquet and text"):
            load(tmp_path)

    def test_parquet_parts_may_differ_in_the_order_of_columns(self, tmp_path: Path) -> None:
        parquet(tmp_path / "1.parquet", "SELECT 'a' AS user, 'x' AS item")
        parquet(tmp_path / "2.parquet", "SELECT 'y' AS item, 'b' AS user")
        assert pairs(load(tmp_path)) == {("a", "x"): 1, ("b", "y"): 1}

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("start", ["", "\n", "\n\n"])
    def test_every_newline_will_do(self, tmp_path: Path, newline: str, start: str) -> None:
        text = (start + "user,item\na,x\n\nb,\nb,y").replace("\n", newline)
        loaded = load(
            write(tmp_path / "a.csv", text), rejects=tmp_path / "rejects.csv", max_rejects=1
        )
        assert pairs(loaded) == {("a", "x"): 1, ("b", "y"): 1}
        assert rejected(tmp_path / "rejects.csv") == [(4 + len(start), "missing item")]

    def test_newlines_may_be_mixed(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.csv", "user,item\r\na,x\nb,y\r\n,z\nc,z\rd,z\n")
        loaded = load(file, rejects=tmp_path / "rejects.csv", max_rejects=1)
        assert loaded.users == ["a", "b", "c", "d"]
        assert rejected(tmp_path / "rejects.csv") == [(4, "missing user")]

    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("a.csv", b"", "empty file"),
            ("a.csv", b"\n\r\n", "empty file"),
            ("a.csv.gz", gzip.compress(b"", mtime=0), "empty file"),
            ("a.csv", b"user,item\n", "found none in 0 rows"),
            ("a.csv", b"user,item,weight\na,x,0\n", "1 pairs weigh 0"),
            ("a.csv", b"user,item\n,\n,x\n", "2 of 2 rows are rejected"),
            ("a.csv", b"one\ntwo\n", "'one'"),
            ("a.csv", bytes(range(256)) * 50, "no text in the encoding"),
            ("a.csv", "user,item\na,x\n".encode("utf-16"), "encoding utf-8: try --encoding utf-16"),
            ("a.csv", "usér,item\na,x\n".encode("latin-1"), "try --encoding latin-1 .or cp1252"),
            ("a.csv.gz", b"user,item\na,x\n", "cannot be read"),
            ("a.csv.gz", gzip.compress(b"user,item\na,x\n" * 99, mtime=0)[:-9], "cannot be read"),
            ("a.parquet", b"", "cannot be read"),
            ("a.parquet", b"PAR1 not really PAR1", "cannot be read"),
            ("a.parquet", b"user,item\na,x\n", "cannot be read"),
        ],
    )
    def test_a_file_that_cannot_be_used_gets_a_sentence(
        self, tmp_path: Path, name: str, data: bytes, message: str
    ) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInteractions, match=message) as caught:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_path_without_data_gets_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(BadInteractions, match="no such file"):
            load(tmp_path / "missing.csv")
        with pytest.raises(BadInteractions, match="no such file"):
            load(write(tmp_path / "file", "x") / "below.csv")
        (tmp_path / "x.csv").mkdir()
        with pytest.raises(BadInteractions, match="holds no .csv"):
            load(tmp_path / "x.csv")
        write(tmp_path / "x.csv" / "notes.md", "hello")
        with pytest.raises(BadInteractions, match="'notes.md'"):
            load(tmp_path / "x.csv")
        with pytest.raises(BadInteractions, match="cannot be read"):
            load(tmp_path / ("x" * 300))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    @pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
    def test_a_file_without_permission_gets_a_sentence(self, tmp_path: Path, name: str) -> None:
        file = write(tmp_path / name, "user,item\na,x\n")
        file.chmod(0)
        with pytest.raises(BadInteractions, match="Permission denied"):
            load(file)

    def test_nothing_is_left_in_the_temporary_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        temporary = tmp_path / "it's [a] folder*"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        for text in ("user,item\na,x\n,y\n", "user,item\n"):
            file = write(tmp_path / "a.csv", text, "utf-16")
            with pytest.raises(BadInteractions, match="are rejected|none in 0 rows"):
                load(file, Layout(encoding="utf-16"))
        assert load(write(tmp_path / "a.csv", "user,item\na,x\n")).users == ["a"]
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize(
        "error",
        [
            error
            for error in vars(duckdb).values()
            if isinstance(error, type) and issubclass(error, duckdb.Error)
        ]
        + [OSError, EOFError, MemoryError, csv.Error, gzip.BadGzipFile],
    )
    def test_every_foreign_exception_becomes_ours(self, error: type[Exception]) -> None:
        expected = KeyboardInterrupt if error is duckdb.InterruptException else Terminal
        with pytest.raises(expected) as caught, reading_errors(Path("a.csv")):
            raise error("something\nwith details")
        assert isinstance(caught.value.__cause__, error)
        assert "details" not in str(caught.value)


class TestRejects:
    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (b",x,1", "missing user"),
            (b'"",x,1', "missing user"),
            (b"a,,1", "missing item"),
            (b"a,x,", "not a number: weight"),
            (b"a,x,one", "not a number: weight"),
            (b"a,x,0x10", "not a number: weight"),
            (b"a,x,1_000", "not a number: weight"),
            (b'a,x,"1,5"', "comma in number: weight"),
            (b"a,x,NaN", "NaN: weight"),
            (b"a,x,-inf", "infinite: weight"),
            (b"a,x,-0.5", "negative: weight"),
            (b"a,x,1e13", "too large: weight"),
            (b"a,x,1e300", "too large: weight"),
            (b"a,x,1e400", "infinite: weight"),
            (b"a,x", "too few columns"),
            (b"a,x,1,2", "too many columns"),
            (b"a\xff,x,1", "wrong encoding"),
            (b'"a"b,x,1', "broken quotes"),
            (b"a\0,x,1", "NUL byte in id: user"),
            (b",,nan", "missing user"),
        ],
    )
    def test_a_reject_is_named_by_line_and_reason(
        self, tmp_path: Path, row: bytes, reason: str
    ) -> None:
        file = tmp_path / "a.csv"
        file.write_bytes(b"user,item,weight\na,x,1\n\n" + row + b"\nb,y,2\n")
        loaded = load(file, rejects=tmp_path / "rejects.csv", max_rejects=0.5)
        assert pairs(loaded) == {("a", "x"): 1, ("b", "y"): 2}
        used = {"user": "user", "item": "item", "weight": "weight"}
        assert loaded.report == Report(1, 3, {reason: 1}, merged=0, zero=0, used=used)
        with (tmp_path / "rejects.csv").open(newline="", encoding="utf-8") as stream:
            assert list(csv.reader(stream)) == [
                ["file", "line", "reason", "content"],
                [str(file), "4", reason, row.decode("utf-8", "backslashreplace")],
            ]

    def test_rejects_of_parquet_are_named_by_row(self, tmp_path: Path) -> None:
        file = parquet(
            tmp_path / "a.parquet",
            "SELECT unnest(['a', NULL, '', 'b', 'c']) AS user, 'x' AS item, "
            "unnest([1, 1, 1, 'nan'::DOUBLE, -1]) AS rating",
        )
        loaded = load(file, rejects=tmp_path / "rejects.csv", max_rejects=1)
        assert pairs(loaded) == {("a", "x"): 1}
        assert rejected(tmp_path / "rejects.csv") == [
            (2, "missing user"),
            (3, "missing user"),
            (4, "NaN: rating"),
            (5, "negative: rating"),
        ]

    def test_parts_of_parquet_have_their_own_rows(self, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        parquet(folder / "1.parquet", "SELECT unnest(['a', NULL]) AS user, 1 AS item, 5 AS extra")
        parquet(folder / "2.parquet", "SELECT unnest([1, 2]) AS item, 'b' AS user LIMIT 0")
        parquet(folder / "3.parquet", "SELECT unnest([1, NULL, NULL]) AS item, 'b' AS user")
        loaded = load(folder, rejects=tmp_path / "rejects.csv", max_rejects=1)
        assert pairs(loaded) == {("a", "1"): 1, ("b", "1"): 1}
        with (tmp_path / "rejects.csv").open(newline="", encoding="utf-8") as stream:
            rows = [(Path(row[0]).name, *row[1:3]) for row in csv.reader(stream)][1:]
        assert rows == [
            ("1.parquet", "2", "missing user"),
            ("3.parquet", "2", "missing item"),
            ("3.parquet", "3", "missing item"),
        ]

    def test_other_columns_may_have_any_name(self, tmp_path: Path) -> None:
        names = ("reason", "weight ", "n", "c0", "row", "filename", "file_row_number", "cell")
        others = ", ".join(f"7 AS {json.dumps(name)}" for name in names)
        file = parquet(
            tmp_path / "a.parquet",
            f"SELECT {others}, unnest(['a', '']) AS user, 'x' AS item, 5 AS rating",
        )
        loaded = load(file, rejects=tmp_path / "rejects.csv", max_rejects=1)
        assert pairs(loaded) == {("a", "x"): 5}
        assert rejected(tmp_path / "rejects.csv") == [(2, "missing user")]

    def test_without_rejects_there_is_no_rejects_file(self, tmp_path: Path) -> None:
        load(write(tmp_path / "a.csv", "user,item\na,x\n"), rejects=tmp_path / "rejects.csv")
        assert not (tmp_path / "rejects.csv").exists()

    def test_a_run_without_rejects_removes_the_file_of_an_earlier_one(self, tmp_path: Path) -> None:
        rejects = tmp_path / "rejects.csv"
        load(write(tmp_path / "a.csv", "user,item\na,x\n,x\n"), rejects=rejects, max_rejects=1)
        assert rejected(rejects) == [(3, "missing user")]
        load(write(tmp_path / "a.csv", "user,item\na,x\nb,x\n"), rejects=rejects)
        assert not rejects.exists()

    def test_nothing_that_is_not_a_rejects_file_is_removed(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.csv", "user,item\na,x\n")
        link = tmp_path / "link.csv"
        link.symlink_to(write(tmp_path / "earlier.csv", "file,line,reason,content\r\n"))
        for path in (file, link, tmp_path, Path("."), Path("/dev/null")):
            load(file, rejects=path)
            assert path.exists()
        assert file.read_text() == "user,item\na,x\n"

    def test_what_somebody_else_wrote_is_not_overwritten(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = write(tmp_path / "a.csv", "user,item\na,x\n,x\n")
        notes = write(tmp_path / "rejects.csv", "notes of my own\n")
        assert load(file, rejects=notes, max_rejects=1).report.rejected == {"missing user": 1}
        assert notes.read_text() == "notes of my own\n"
        assert "cannot be written (something else is there)" in caplog.text

    def test_too_many_rejects_stop_the_run_after_they_were_written(self, tmp_path: Path) -> None:
        text = "user,item\n" + "a,x\n" * 96 + ",x\n" * 4
        file, rejects = write(tmp_path / "a.csv", text), tmp_path / "rejects.csv"
        assert load(file, max_rejects=0.04).report.rejected == {"missing user": 4}
        with pytest.raises(BadInteractions) as caught:
            load(file, rejects=rejects, max_rejects=0.039)
        assert "4 of 100 rows are rejected (4.00%)" in str(caught.value)
        assert str(rejects) in str(caught.value)
        assert "line 98: missing user: ',x'; line 99" in str(caught.value)
        assert "line 101" not in str(caught.value)
        assert len(rejected(rejects)) == 4

    @pytest.mark.parametrize(
        ("row", "advice"),
        [
            (b"caf\xe9,x,1,1", "Try --encoding latin-1 (or cp1252)"),
            (b'a,x,"1,5",1', "Numbers need a decimal point, as in 1.5"),
            (
                b"a,x,1,31.12.2020",
                "Times are epoch seconds or ISO 8601; --timestamp-column '' leaves them out",
            ),
            (b",x,1,1", "Correct them, or raise --max-rejects"),
        ],
    )
    def test_when_nearly_all_rejects_have_one_reason_there_is_advice(
        self, tmp_path: Path, row: bytes, advice: str
    ) -> None:
        file, usual = tmp_path / "a.csv", "Correct them, or raise --max-rejects"
        for others, last in ((1, advice), (2, usual)):
            other = b"a,,1,1\n" * others
            file.write_bytes(b"user,item,weight,timestamp\n" + (row + b"\n") * 9 + other)
            with pytest.raises(BadInteractions) as caught:
                load(file)
            assert str(caught.value).endswith(f". {last}")

    def test_a_reason_is_one_line_whatever_its_column_is_called(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.csv", 'user,item,"how\nmany"\na,x,one\na,y,1\n')
        loaded = load(file, Layout(weight_column="how\nmany"), max_rejects=1)
        assert loaded.report.rejected == {"not a number: how many": 1}

    @pytest.mark.parametrize(
        ("where", "reason"),
        [
            (".", "Is a directory"),
            ("a.csv/rejects.csv", "Not a directory"),
            ("new/rejects.csv", "No such file or directory"),
            ("/dev/full", "No space left on device"),
            ("/proc/rejects.csv", "No such file or directory"),
            ("x" * 300, "File name too long"),
        ],
    )
    def test_a_rejects_file_that_cannot_be_written_gets_a_sentence(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str, reason: str
    ) -> None:
        file, path = write(tmp_path / "a.csv", "user,item\na,x\n,x\n"), tmp_path / where
        assert load(file, rejects=path, max_rejects=1).report.rejected == {"missing user": 1}
        (warning,) = caplog.records
        assert (warning.name, warning.levelname) == ("larder.interactions", "WARNING")
        said = f"{path}: the rejects file cannot be written ({reason}): give another --rejects"
        assert warning.getMessage() == said

    def test_too_many_rejects_are_shown_even_when_they_cannot_be_written(
        self, tmp_path: Path
    ) -> None:
        file = write(tmp_path / "a.csv", "user,item\na,x\n,x\n,y\n,z\n,w\n")
        with pytest.raises(BadInteractions, match="4 of 5 rows are rejected") as caught:
            load(file, rejects=file / "rejects.csv")
        assert "line 3: missing user: ',x'; line 4: missing user: ',y'; line 5" in str(caught.value)
        assert "lists them" not in str(caught.value)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
    def test_a_rejects_file_that_cannot_be_removed_gets_a_sentence(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rejects = write(tmp_path / "closed" / "rejects.csv", "file,line,reason,content\r\n")
        file = write(tmp_path / "a.csv", "user,item\na,x\n")
        rejects.parent.chmod(0o555)
        assert load(file, rejects=rejects).users == ["a"]
        rejects.parent.chmod(0o755)
        assert "the rejects file of an earlier run cannot be removed (Permission" in caplog.text

    def test_a_file_whose_name_is_no_text_is_listed(self, tmp_path: Path) -> None:
        file = write(tmp_path / os.fsdecode(b"\xff.csv"), "user,item\na,x\n,x\n")
        load(file, rejects=tmp_path / "rejects.csv", max_rejects=1)
        with (tmp_path / "rejects.csv").open(newline="", encoding="utf-8") as stream:
            assert [row["file"] for row in csv.DictReader(stream)] == [f"{tmp_path}/\\udcff.csv"]

    @pytest.mark.parametrize(
        ("rejects", "other"),
        [("a/b.csv", "a/b-test.csv"), ("b", "b-test"), (".", "."), ("/", "/")],
    )
    def test_a_second_input_has_its_rejects_beside(self, rejects: str, other: str) -> None:
        assert beside(Path(rejects), "test") == Path(other)

    def test_each_file_of_a_folder_has_its_own_lines(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "1.csv", "user,item\n,x\na,x\n")
        write(tmp_path / "in" / "2.csv", "\nuser,item\na,x\na\n,x\n")
        (tmp_path / "in" / "3.csv.gz").write_bytes(gzip.compress(b"user,item\n\n,x\n"))
        load(tmp_path / "in", rejects=tmp_path / "rejects.csv", max_rejects=1)
        with (tmp_path / "rejects.csv").open(newline="", encoding="utf-8") as stream:
            rows = [(Path(row[0]).name, *row[1:3]) for row in csv.reader(stream)][1:]
        assert rows == [
            ("1.csv", "2", "missing user"),
            ("2.csv", "4", "too few columns"),
            ("2.csv", "5", "missing user"),
            ("3.csv.gz", "3", "missing user"),
        ]

    @pytest.mark.parametrize("rows_before", [0, 3, 150_000])
    def test_an_open_quote_costs_every_row_behind_it(
        self, tmp_path: Path, rows_before: int
    ) -> None:
        text = "user,item\n" + "a,x\n" * rows_before + ',y\n"b,x\n' + "a,x\n" * 150_000
        with pytest.raises(BadInteractions, match="150001 x broken quotes"):
            load(write(tmp_path / "a.csv", text), rejects=tmp_path / "rejects.csv")
        assert rejected(tmp_path / "rejects.csv") == [
            (rows_before + 2, "missing user"),
            (rows_before + 3, "broken quotes"),
        ]

    def test_a_quote_that_closes_lines_later_costs_those_lines(self, tmp_path: Path) -> None:
        text = 'user,item\na,x\n"b,x\nc,x\nd,x\n",x\ne,x\n"f,x\ng,x\n"h",x\ni,x\n'
        file = write(tmp_path / "a.csv", text)
        loaded = load(file, rejects=tmp_path / "rejects.csv", max_rejects=1)
        assert loaded.users == ["a", "e", "i"]
        assert loaded.report.rejected == {"line break in id: user": 4, "broken quotes": 3}
        assert loaded.report.rows == 10
        assert rejected(tmp_path / "rejects.csv") == [
            (3, "line break in id: user"),
            (8, "broken quotes"),
        ]

    @pytest.mark.parametrize("seed", range(60))
    def test_lines_and_reasons_agree_with_the_csv_module(self, tmp_path: Path, seed: int) -> None:
        text = nasty_text(random.Random(seed))
        encoding = ("utf-8", "utf-8-sig", "utf-16")[seed % 3]
        file = write(tmp_path / "a.csv", text, encoding)
        try:
            loaded = load(
                file,
                Layout(encoding=encoding.removesuffix("-sig")),
                rejects=tmp_path / "rejects.csv",
                max_rejects=1,
            )
        except BadInteractions as error:
            assert "expected interactions, found none" in str(error)
        else:
            assert loaded.report.rows == loaded.report.merged + len(loaded) + loaded.report.zero + (
                sum(loaded.report.rejected.values())
            )
        found = rejected(tmp_path / "rejects.csv") if (tmp_path / "rejects.csv").exists() else []
        assert found == expected_rejects(text)


CELLS = [
    "a",
    "1",
    "01",
    " x",
    "",
    "a,b",
    "l\nm",
    "l\r\nm",
    "l\n\n\nm",
    'q"q',
    "é😀",
    "\n",
    "x" * 1025,
]
NUMBERS = ["1", "2", "3.5", "0", "1e3", "nan", "inf", "-1", "x", "", "1e13", "-0"]
TIMES = ["1", "2020-01-01", "2020-01-01T00:00:00Z", "x", "", "1577836800000"]


def nasty_text(source: random.Random) -> str:
    def pick(usual: str, odd: list[str]) -> str:
        return source.choice(odd) if source.random() < 0.3 else usual

    newline = source.choice(["\n", "\r\n", "\r"])
    lines = [""] * source.randint(0, 2) + ["user,item,rating,timestamp,note"]
    for _ in range(source.randint(1, 50)):
        lines += [""] * source.choice([0, 0, 0, 0, 1, 2])
        row = [pick("a", CELLS), pick("b", CELLS), pick("1", NUMBERS), pick("2", TIMES)]
        row.append(pick("", CELLS))
        row = source.choice([row] * 8 + [row[: source.randint(2, 4)], [*row, "more"]])
        lines.append(",".join(quote(source, cell) for cell in row))
    return newline.join(lines) + newline * source.randint(0, 1)


def quote(source: random.Random, cell: str) -> str:
    if any(mark in cell for mark in ',"\r\n') or source.random() < 0.2:
        return '"' + cell.replace('"', '""') + '"'
    return cell


def expected_rejects(text: str) -> list[tuple[int, str]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    found, line, is_header = [], 1, True
    for row in reader:
        reason = reason_of(row) if row and not is_header else ""
        found += [(line, reason)] if reason else []
        is_header = is_header and not row
        line = reader.line_num + 1
    return found


def reason_of(row: list[str]) -> str:
    if len(row) != 5:
        return "too few columns" if len(row) < 5 else "too many columns"
    for cell, column in ((row[0], "user"), (row[1], "item")):
        if not cell:
            return f"missing {column}"
        if len(cell.encode()) > 1024:
            return f"id too long: {column}"
        if "\n" in cell or "\r" in cell:
            return f"line break in id: {column}"
    if reason := reason_of_number(row[2]):
        return f"{reason}: rating"
    return "bad timestamp: timestamp" if row[3] in ("x", "") else ""


def reason_of_number(text: str) -> str:
    if text in ("x", ""):
        return "not a number"
    number = float(text)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "infinite"
    return "negative" if number < 0 else "too large" if number > 1e12 else ""
