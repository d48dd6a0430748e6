"""Examples from files: what each column is, what each row says, and which rows cannot be used."""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pytest

from app.contracts.clicks import Column, category_text
from batch.clicks.examples.layout import PRESETS, Reading
from batch.clicks.examples.read import read, read_for
from batch.clicks.one_machine import LocalExamples
from batch.errors import BadInteractions, BadSettings
from batch.interactions.reading import Reading as Texts

HEAD = "label,age,brand,price"
LINES = [f"{n % 2},{20 + n % 7},{'abc'[n % 3]},{n % 5 + 0.5}" for n in range(40)]


class Write(Protocol):
    def __call__(self, lines: Sequence[str], name: str = ..., head: str = ...) -> Path: ...


class Load(Protocol):
    def __call__(self, *paths: Path, **said: Any) -> LocalExamples: ...


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(lines: Sequence[str], name: str = "examples.csv", head: str = HEAD) -> Path:
        (tmp_path / name).write_text("\n".join([head, *lines]) + "\n")
        return tmp_path / name

    return write


@pytest.fixture
def load() -> Iterator[Load]:
    """Read examples, which stay until the test ends."""
    with ExitStack() as stack:

        def load(*paths: Path, **said: Any) -> LocalExamples:
            return stack.enter_context(read(paths, reading(**said), said.get("rejects")))

        yield load


def reading(**said: Any) -> Reading:
    """Lists of names are given as a tuple; up to half of the rows may be rejects."""
    preset = said.pop("preset", "plain")
    said.pop("rejects", None)
    most = said.pop("max_rejects", 0.5)
    layout = PRESETS[preset].choose(encoding=said.pop("encoding", None))
    return Reading(Texts(preset, layout, max_rejects=most), **said)


def kinds(rows: LocalExamples) -> dict[str, str]:
    return {column.name: column.kind for column in rows.columns}


def cells(rows: LocalExamples, asked: str = "*") -> list[tuple[Any, ...]]:
    return rows.connection.execute(f"SELECT {asked} FROM rows ORDER BY row").fetchall()


def parquet(path: Path, sql: str) -> Path:
    duckdb.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    return path


def test_a_row_becomes_numbers_and_categories_in_the_order_of_the_columns(
    write: Write, load: Load
) -> None:
    rows = load(write(["1,30,a,", "0,,,2.5", "0,nan,b,1e3"]))
    assert kinds(rows) == {"age": "number", "brand": "category", "price": "number"}
    assert cells(rows) == [
        (0, 1, 0, 30.0, None, "a"),
        (1, 0, 0, None, 2.5, ""),
        (2, 0, 0, None, 1000.0, "b"),
    ]
    described = rows.connection.execute("DESCRIBE rows").fetchall()
    types = ["BIGINT", "TINYINT", "BIGINT", "FLOAT", "FLOAT", "VARCHAR"]
    assert [each[1] for each in described] == types
    assert (rows.rows, rows.clicks, rows.schema.label, rows.has_time) == (3, 1, "label", False)


def test_all_rows_say_whether_a_column_holds_numbers(
    write: Write, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    path = write([*LINES * 300, "1,unknown,a,3"])
    assert kinds(load(path))["age"] == "category"
    assert "'age' is a category for 1 of its 12,001 cells" in caplog.text
    rows = load(path, numeric=("age",))
    assert kinds(rows)["age"] == "number"
    assert rows.report.rejected == {"not a number: age": 1}


def test_options_overrule_what_columns_look_like(write: Write, load: Load) -> None:
    rows = load(write(LINES), categorical=("age",), ignore=("price",))
    assert kinds(rows) == {"age": "category", "brand": "category"}
    assert rows.schema.ignored == (("price", "--ignore"),)


def test_columns_of_the_live_model_stay_what_they_are_there(
    write: Write, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless an option, or what is said beside the files, makes them something else."""
    head = "label,campaign,price,user_id,empty,hour,place,brand"
    path = write([f"{n % 2},{n % 7},{n and n % 9},u{n % 5},,{n % 4},{n % 3},b" for n in range(99)])
    path.write_text(path.read_text().replace(HEAD, head).replace(",0,0,", ",0,free,", 1))
    named = ("campaign", "user_id", "hour", "place", "brand", "gone")
    live = *(Column(name, "category") for name in named), Column("price", "number")
    rows = load(path, live=(*live, Column("empty", "number")), numeric=("hour",), ignore=("place",))
    assert kinds(rows) == {
        "campaign": "category",
        "price": "number",
        "user_id": "category",
        "empty": "number",
        "hour": "number",
        "brand": "category",
    }
    assert rows.report.rejected == {"not a number: price": 1}
    assert [each.getMessage() for each in caplog.records] == [
        "'campaign' is a category, as in the live model, though it looks like a number: "
        "--numeric campaign makes it one",
        "'price' is a number, as in the live model, though it looks like a category: "
        "--categorical price makes it one",
        "'user_id' is a category, as in the live model, though by its name it is an id: "
        "--ignore user_id leaves it out",
        "'empty' is a number, as in the live model, though all its cells are missing: "
        "--ignore empty leaves it out",
    ]


def test_a_column_of_the_live_model_that_holds_times_now_is_none(tmp_path: Path) -> None:
    first = "SELECT 1 AS label, 2 AS age, DATE '2026-01-01' AS d"
    found = parquet(tmp_path / "rows.parquet", first)
    both = parquet(tmp_path / "more.parquet", f"FROM '{found}' UNION ALL SELECT 0, 3, NULL")
    with read([both], reading(live=(Column("d", "number"),))) as rows:
        assert kinds(rows) == {"age": "number"}


def test_ids_are_left_out_unless_they_are_asked_for(write: Write, load: Load) -> None:
    head = "label,age,user_id,itemId,code,max_bid,is_paid,width"
    path = write([f"{n % 2},3,7,7,x{n},{n},{n % 3},video{n % 9}" for n in range(1200)], head=head)
    rows = load(path)
    assert kinds(rows) == dict.fromkeys(["age", "max_bid", "is_paid"], "number") | {
        "width": "category"
    }
    assert dict(rows.schema.ignored) == {
        "user_id": "by its name it is an id (--categorical takes it in)",
        "itemId": "by its name it is an id (--categorical takes it in)",
        "code": "nearly every row has another value (--categorical takes it in)",
    }
    asked = load(path, categorical=("user_id", "code"))
    assert kinds(asked) == kinds(rows) | {"user_id": "category", "code": "category"}


@pytest.mark.parametrize("wrong", ["inf", "-Infinity", "1e300", "1e999", "-4e38"])
def test_a_number_that_no_model_can_hold_rejects_its_row(
    write: Write, load: Load, tmp_path: Path, wrong: str
) -> None:
    path = write([*LINES[:3], f"1,30,a,{wrong}", *LINES[3:]])
    rows = load(path, rejects=tmp_path / "rejects.csv")
    assert rows.report.rows == 41 and rows.rows == 40
    listed = (tmp_path / "rejects.csv").read_text().splitlines()
    assert listed[1].startswith(f"{path},5,") and wrong in listed[1]


def test_labels_are_ones_and_truths(write: Write, load: Load) -> None:
    said = ["1", "0", "true", "FALSE", "1.0", "0.0"]
    rows = load(write([f"{label},1,a,1" for label in said]))
    assert [label for (label,) in cells(rows, "label")] == [1, 0] * 3


@pytest.mark.parametrize(
    "label, reason",
    [
        ("", "missing label: label"),
        ("2", "label not 0 or 1: label"),
        ("yes", "label not 0 or 1: label"),
        ("nan", "label not 0 or 1: label"),
        ("0.5", "label not 0 or 1: label"),
    ],
)
def test_any_other_label_rejects_its_row(write: Write, load: Load, label: str, reason: str) -> None:
    assert load(write([*LINES, f"{label},1,a,1"])).report.rejected == {reason: 1}


@pytest.mark.parametrize("label", ["0", "1"])
def test_labels_that_are_all_the_same_teach_nothing(write: Write, load: Load, label: str) -> None:
    with pytest.raises(BadInteractions, match=f"all 40 rows have the label {label}"):
        load(write([label + line[1:] for line in LINES]))


@pytest.mark.parametrize(
    "said, sentence",
    [
        ({"label": "clicked"}, "expected a column 'clicked', found 'label', 'age'"),
        ({"time_column": "when"}, "expected a column 'when'.*--time-column"),
        ({"categorical": ("colour",)}, "expected a column 'colour'.*correct --categorical"),
        ({"numeric": ("cost",)}, "expected a column 'cost'.*correct --numeric"),
        ({"ignore": ("aeg",)}, "expected a column 'aeg', found 'label', 'age'.*correct --ignore"),
        ({"ignore": ("age", "brand", "price")}, "expected 1 to 2,000 columns to learn from"),
        (
            {"label": "age"},
            "label not 0 or 1: age.*Write 1 for a click.*name the column of the label with",
        ),
        ({"time_column": "brand"}, "bad time: brand.*epoch seconds or ISO 8601"),
    ],
)
def test_columns_that_are_not_what_was_said_are_named(
    write: Write, load: Load, said: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInteractions, match=sentence):
        load(write(LINES), **said)


def test_a_table_cut_in_the_wrong_places_is_told_so(write: Write, load: Load) -> None:
    path = write([f"{n % 2};{n}" for n in range(2000)], head="label;age")
    with pytest.raises(BadInteractions, match="'label;age': cut the columns with --delimiter ';'"):
        load(path)


def test_a_text_of_times_is_no_category(write: Write, load: Load) -> None:
    lines = [f"{n % 2},{n},2026-11-22 {n // 60:02}:{n % 60:02}:00" for n in range(1200)]
    rows = load(write(lines, head="label,age,shown_at"))
    assert rows.schema.ignored == (("shown_at", "it looks like a time (--time-column shown_at)"),)


def test_a_column_is_one_thing() -> None:
    with pytest.raises(BadSettings, match="'age' is named twice"):
        reading(numeric=("age",), ignore=("age",)).check()
    with pytest.raises(BadSettings, match="'label' is named twice"):
        reading(categorical=("label",)).check()
    with pytest.raises(BadSettings, match="--negatives-kept"):
        reading(negatives_kept=0.0).check()


@pytest.mark.parametrize("lines", [[], [HEAD]])
def test_a_file_without_rows_is_told(tmp_path: Path, load: Load, lines: list[str]) -> None:
    (tmp_path / "empty.csv").write_text("\n".join(lines))
    with pytest.raises(BadInteractions, match="expected rows, found"):
        load(tmp_path / "empty.csv")


def test_two_columns_of_one_name_are_refused_unless_ignored(write: Write, load: Load) -> None:
    path = write(LINES, head="label,age,price,price")
    with pytest.raises(BadInteractions, match="expected one column 'price', found several"):
        load(path)
    assert kinds(load(path, ignore=("price",))) == {"age": "number"}


def test_files_and_folders_add_up_and_must_have_the_same_columns(
    write: Write, load: Load, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    with gzip.open(tmp_path / "more" / "b.csv.gz", "wt") as stream:
        stream.write("\r\n".join([HEAD, *LINES]))
    first = write(LINES)
    rows = load(first, tmp_path / "more")
    assert (rows.report.files, rows.rows) == (2, 80)
    renamed = write(LINES, "renamed.csv", HEAD.replace("brand", "make"))
    with pytest.raises(BadInteractions, match="expected the columns of examples.csv"):
        load(first, renamed)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8"])
def test_texts_of_odd_encodings_are_read(tmp_path: Path, load: Load, encoding: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes("\n".join([HEAD, *LINES, "1,2,é,4"]).encode(encoding))
    assert cells(load(path, encoding=encoding), "c0")[-1] == ("é",)


def test_newlines_may_be_mixed(tmp_path: Path, load: Load) -> None:
    text = f"{HEAD}\r\n1,2,a,3\n0,2,b,4\r\n1,3,a,5\r0,4,a,7\n"
    (tmp_path / "mixed.csv").write_text(text, newline="")
    rows = load(tmp_path / "mixed.csv")
    assert kinds(rows) == {"age": "number", "brand": "category", "price": "number"}
    assert cells(rows, "label, n1") == [(1, 3.0), (0, 4.0), (1, 5.0), (0, 7.0)]


def test_bytes_of_another_encoding_are_rejected_with_advice(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("\n".join([HEAD, *LINES]).replace("a,", "é,").encode("latin-1"))
    with pytest.raises(BadInteractions, match="wrong encoding.*Try --encoding latin-1"):
        load(path, max_rejects=0.01)


def test_rows_that_cannot_be_cut_are_rejected_with_their_lines(
    write: Write, load: Load, tmp_path: Path
) -> None:
    path = write([*LINES, "1,2", "1,2,a,4,5", '1,2,"a\nb",4'])
    rows = load(path, rejects=tmp_path / "rejects.csv")
    assert kinds(rows) == {"age": "number", "brand": "category", "price": "number"}
    listed = (tmp_path / "rejects.csv").read_text().splitlines()
    assert [line.split(",")[1:3] for line in listed if line.startswith(str(path))] == [
        ["42", "too few columns"],
        ["43", "too many columns"],
        ["44", "line break in value: brand"],
    ]


def test_a_column_that_alone_says_the_label_is_a_leak(write: Write, load: Load) -> None:
    head = "label,age,dwell,outcome,rare"
    path = write(
        [
            f"{label},{n % 7},{n % 50 if label else ''},{'bought' if label else 'left'},r{n // 3}"
            for n in range(900)
            for label in [int(n % 5 == 0)]
        ],
        head=head,
    )
    rows = load(path)
    assert rows.report.leaks == {"dwell": 1.0, "outcome": 1.0}


def test_times_are_microseconds(write: Write, load: Load) -> None:
    lines = ["1,1,a,1970-01-01T00:00:01.25Z", "0,2,b,1970-01-02", "0,2,b,86400"]
    rows = load(write(lines, head="label,age,brand,when"), time_column="when")
    assert rows.has_time and "when" not in kinds(rows)
    assert cells(rows, "moment") == [(1_250_000,), (86_400_000_000,), (86_400_000_000,)]


def test_criteo_has_tabs_gaps_and_no_header(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "train.txt"
    line = ["1", *map(str, range(13)), *(f"{n:08x}" for n in range(26))]
    gaps = ["0", "", *line[2:20], "", *line[21:]]
    path.write_text("\n".join("\t".join(row) for row in (line, gaps)) + "\n")
    rows = load(path, preset="criteo")
    assert [column.kind for column in rows.columns] == ["number"] * 13 + ["category"] * 26
    assert cells(rows, "label, n0, n12, c0, c6, c25") == [
        (1, 0.0, 12.0, "00000000", "00000006", "00000019"),
        (0, None, 12.0, "00000000", "", "00000019"),
    ]


def test_a_folder_may_say_what_its_examples_are(write: Write, load: Load, tmp_path: Path) -> None:
    said = {"label": "clicked", "time_column": "when", "negatives_kept": 0.25, "ignore": ["age"]}
    (tmp_path / "examples.json").write_text(json.dumps(said))
    write([f"{n % 2},{n},{n},a" for n in range(9)], head="clicked,when,age,brand")
    rows = load(tmp_path)
    assert (rows.schema.label, rows.has_time, rows.negatives_kept) == ("clicked", True, 0.25)
    assert kinds(rows) == {"brand": "category"}
    other = load(tmp_path, numeric=("age",), negatives_kept=0.5)
    assert (other.negatives_kept, kinds(other)["age"]) == (0.5, "number")


def test_a_file_of_such_a_folder_is_read_as_the_folder(tmp_path: Path) -> None:
    said = {"label": "clicked", "negatives_kept": 0.1, "ignore": ["list"]}
    (tmp_path / "examples.json").write_text(json.dumps(said))
    of_file = Reading().beside((tmp_path / "a.parquet", tmp_path / "b.parquet"))
    assert of_file == Reading().beside((tmp_path,)) and of_file.negatives_kept == 0.1


def test_folders_that_say_different_things_do_not_go_together(tmp_path: Path) -> None:
    for name, said in (("a", {"label": "clicked"}), ("b", {"label": "ordered"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "examples.json").write_text(json.dumps(said))
    both = tmp_path / "a", tmp_path / "b"
    with pytest.raises(BadInteractions, match="the same label in all, found 'clicked', 'ordered'"):
        Reading().beside(both)
    assert Reading(label="ordered").beside(both).label == "ordered"


def test_folders_that_keep_other_shares_of_negatives_do_not_go_together(tmp_path: Path) -> None:
    for name, said in (("a", {"negatives_kept": 0.1}), ("b", {"negatives_kept": 1}), ("c", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").write_text("label,age\n" + "1,2\n0,3\n" * 3)
        if said:
            (tmp_path / name / "examples.json").write_text(json.dumps(said))
    a, b, c = (tmp_path / name for name in "abc")
    for pair in ((a, b), (c, a)):
        with pytest.raises(BadInteractions, match="the same negatives_kept in all"):
            read(pair, Reading()).__enter__()
    assert Reading().beside((b, c)).negatives_kept == 1
    assert Reading(negatives_kept=0.2).beside((a, b)).negatives_kept == 0.2


@pytest.mark.parametrize("text", ["", "[]", '{"label": 1}', '{"ignore": "age"}', "{"])
def test_a_broken_word_of_a_folder_is_named(
    write: Write, load: Load, tmp_path: Path, text: str
) -> None:
    write(LINES)
    (tmp_path / "examples.json").write_text(text)
    with pytest.raises(BadInteractions, match="examples.json: expected a JSON object"):
        load(tmp_path)


def test_types_of_parquet_stay_what_they_are(tmp_path: Path, load: Load) -> None:
    path = parquet(
        tmp_path / "typed.parquet",
        "SELECT range % 2 = 0 AS label, range::DOUBLE AS price, range % 3 = 0 AS sold, "
        "'b' || range % 2 AS brand, [range] AS list, now() AS seen, "
        "if(range = 2, 'nan'::FLOAT, range) AS odd FROM range(9)",
    )
    rows = load(path)
    assert kinds(rows) == {
        "price": "number",
        "sold": "category",
        "brand": "category",
        "odd": "number",
    }
    assert dict(rows.schema.ignored) == {
        "list": "it is of type BIGINT[]",
        "seen": "it is a time (--time-column)",
    }
    assert cells(rows, "label, n1, c0")[2] == (1, None, "false")


def test_rejected_rows_of_parquet_are_gone(tmp_path: Path, load: Load) -> None:
    path = parquet(
        tmp_path / "some.parquet",
        "SELECT range % 2 AS label, if(range = 3, 'inf'::DOUBLE, range) AS x FROM range(9)",
    )
    rows = load(path)
    assert rows.report.rejected == {"infinite: x": 1}
    assert [label for (label,) in cells(rows, "label")] == [0, 1, 0, 0, 1, 0, 1, 0]


NUMBERS = [0.0, 12.0, -3.0, 0.1, 1e15, 123456789012345.0, 1e22, 1.5e-7, 2.5, -0.0]


def test_categories_of_numbers_are_written_as_the_contract_says(tmp_path: Path, load: Load) -> None:
    rows = ", ".join(f"({n % 2}, {x!r}::DOUBLE, {n})" for n, x in enumerate([*NUMBERS, "nan"]))
    path = parquet(tmp_path / "n.parquet", f"SELECT * FROM (VALUES {rows}) AS t(label, x, n)")
    found = load(path, categorical=("x", "n"))
    assert cells(found, "c0, c1") == [
        (category_text(x), category_text(n)) for n, x in enumerate([*NUMBERS, None])
    ]


def test_a_long_line_is_a_reject_and_no_end(write: Write, load: Load) -> None:
    rows = load(write([*LINES, "1,2," + "x" * 3_000_000 + ",4", *LINES]))
    assert rows.rows == 80 and rows.report.rejected == {"line too long": 1}


TEXTS = ["12.0", "-3.0", "0.0", "-0.0", "007.0", "1.10", "v1.0", "True", "FALSE", "truer", "Ä.0"]


def test_categories_of_text_are_what_the_contract_says(write: Write, load: Load) -> None:
    rows = load(write([f"{n % 2},{text}" for n, text in enumerate(TEXTS)], head="label,a"))
    assert cells(rows, "c0") == [(category_text(text),) for text in TEXTS]


def test_what_a_model_knows_is_read_without_a_label(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    columns = Column("brand", "category"), Column("width", "number"), Column("age", "number")
    path = write(["7,a,1", "8,,2"], head="age,brand,new")
    with read_for([path], reading(), columns) as rows:
        assert cells(rows, "label, n0, n1, c0") == [(0, None, 7.0, "a"), (0, None, 8.0, "")]
    assert "missing in every row: width" in caplog.text


def test_a_table_with_no_column_of_the_model_is_refused(write: Write) -> None:
    with pytest.raises(BadInteractions, match="has none of the 1 columns of the model"):
        with read_for([write(LINES)], reading(), [Column("width", "number")]):
            pass


def test_a_number_of_the_model_that_became_text_rejects_its_rows(write: Write) -> None:
    with pytest.raises(BadInteractions, match="not a number: brand"):
        with read_for([write(LINES)], reading(), [Column("brand", "number")]):
            pass
