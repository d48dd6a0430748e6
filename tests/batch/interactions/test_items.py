"""What an items file becomes: one document for each id."""

import json
from pathlib import Path

import pytest

from batch.errors import BadInteractions
from batch.interactions.items import ITEM_PRESETS, Items, ItemsReport, load_items
from batch.interactions.sources.layout import Layout
from tests.batch.interactions.test_interactions import parquet, rejected, write


def document(items: Items, item: str) -> object:
    (text,) = items.json_objects([item])
    return json.loads(text)


def strict(text: str) -> object:
    """Read JSON as the standard has it: without NaN and infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_documents_come_in_the_order_of_the_ids(tmp_path: Path) -> None:
    items = load_items(write(tmp_path / "a.csv", "item,title,year\n1,One,2001\n01,Uno,\n"))
    assert [document(items, item) for item in ["01", "2", "1"]] == [
        {"title": "Uno", "year": ""},
        {},
        {"title": "One", "year": "2001"},
    ]
    assert list(items.json_objects(["1", "2"])) == ['{"title":"One","year":"2001"}', "{}"]
    assert document(items, "01") == {"title": "Uno", "year": ""}


def test_values_of_text_files_stay_texts(tmp_path: Path) -> None:
    odd = 'q"uote, \\ é😀 \u2028 </script> nan\n2'
    quoted = odd.replace('"', '""')
    items = load_items(write(tmp_path / "a.csv", f'item,"o""dd","Title",title\n1,"{quoted}",1,2\n'))
    assert document(items, "1") == {'o"dd': odd, "Title": "1", "title": "2"}


def test_values_of_parquet_keep_their_types(tmp_path: Path) -> None:
    file = parquet(
        tmp_path / "a.parquet",
        """SELECT 1 AS item, true AS is_new, 0.1::FLOAT AS price, 1.50::DECIMAL(9, 2) AS cost,
        12345678901234567890::UBIGINT AS big, NULL::INTEGER AS nothing, 'é"' AS title,
        ['a', NULL] AS genres, [1.5, 'nan'::DOUBLE] AS numbers,
        {'x': 'inf'::FLOAT, 'y': [{'z': 1}]} AS nested, MAP {'k': '-inf'::DOUBLE} AS by_key,
        DATE '2020-01-31' AS day, TIMESTAMP '2020-01-31 10:00:00.5' AS moment,
        TIMESTAMPTZ '2020-01-31 10:00:00+02' AS instant, TIME '10:00' AS clock""",
    )
    (text,) = load_items(file).json_objects(["1"])
    assert strict(text) == {
        "is_new": True,
        "price": 0.1,
        "cost": 1.5,
        "big": 12345678901234567890,
        "nothing": None,
        "title": 'é"',
        "genres": ["a", None],
        "numbers": [1.5, None],
        "nested": {"x": None, "y": [{"z": 1}]},
        "by_key": {"k": None},
        "day": "2020-01-31",
        "moment": "2020-01-31T10:00:00.5",
        "instant": "2020-01-31T08:00:00Z",
        "clock": "10:00:00",
    }


TYPES = {"price": "number", "sold": "boolean"}


def test_cells_of_a_text_may_be_numbers_and_booleans(tmp_path: Path) -> None:
    long = "12345678901234567890" * 5
    rows = f"01,-0.10,TRUE,7\n02,{long},False,08\n03,,,\n04,1.5E3,true,x\n"
    items = load_items(write(tmp_path / "a.csv", "item,price,sold,size\n" + rows), types=TYPES)
    assert list(items.json_objects(["01", "02", "03"])) == [
        '{"price":-0.1,"sold":true,"size":"7"}',
        f'{{"price":{long},"sold":false,"size":"08"}}',
        '{"price":null,"sold":null,"size":""}',
    ]
    assert document(items, "04") == {"price": 1500, "sold": True, "size": "x"}


@pytest.mark.parametrize(
    "cell",
    ["NaN", "inf", "1e999", "-1e999", "9" * 400, "007", "+5", ".5", "5.", "1,5", "1_0", " 5", "x"],
)
def test_a_cell_that_is_not_of_its_type_is_rejected_with_its_line(
    tmp_path: Path, cell: str
) -> None:
    text = f'item,price,sold\na,5,true\nb,"{cell}",\nc,"5\n",\nd,,yes\n'
    rejects = tmp_path / "rejects.csv"
    items = load_items(write(tmp_path / "a.csv", text), types=TYPES, rejects=rejects, max_rejects=1)
    assert list(items.json_objects("abcd")) == ['{"price":5,"sold":true}', "{}", "{}", "{}"]
    assert rejected(rejects) == [
        (3, "not a number: price"),
        (4, "broken quotes"),
        (6, "not a boolean: sold"),
    ]


def test_texts_of_parquet_may_be_typed_too(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", "SELECT 1 AS item, unnest(['5', NULL]) AS price, 2 AS n")
    assert document(load_items(file, types={"price": "number"}, columns=["price"]), "1") in (
        {"price": 5},
        {"price": None},
    )
    with pytest.raises(BadInteractions, match="'n' to hold one of VARCHAR; found INTEGER"):
        load_items(file, types={"n": "number"})


@pytest.mark.parametrize("column", ["item", "year"])
def test_only_a_column_of_the_documents_has_a_type(tmp_path: Path, column: str) -> None:
    file = write(tmp_path / "a.csv", "item,title,year\n1,One,2001\n")
    with pytest.raises(BadInteractions, match=f"--document-types, found '{column}'"):
        load_items(file, columns=["title"], types={column: "number"})
    with pytest.raises(BadInteractions, match="'cost'.*: correct --document-types$"):
        load_items(file, types={"cost": "number"})


def test_null_lists_and_structs_are_null(tmp_path: Path) -> None:
    file = parquet(
        tmp_path / "a.parquet",
        "SELECT 'a' AS item, NULL::FLOAT[] AS list, NULL::STRUCT(x FLOAT) AS struct, "
        "NULL::MAP(VARCHAR, FLOAT) AS map, [1, NULL]::FLOAT[2] AS pair, [NULL, [0.5]] AS deep",
    )
    assert document(load_items(file), "a") == {
        "list": None,
        "struct": None,
        "map": None,
        "pair": [1, None],
        "deep": [None, [0.5]],
    }


def test_only_chosen_columns_are_shown(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "id,title,secret,score\n1,One,x,5\n")
    items = load_items(file, Layout(item_column="id"), ["title"])
    assert document(items, "1") == {"title": "One"}
    with pytest.raises(BadInteractions, match="'name'.*'title'.*: correct --document-columns$"):
        load_items(file, Layout(item_column="id"), ["name"])


def test_an_items_file_may_hold_nothing_but_ids(tmp_path: Path) -> None:
    assert document(load_items(write(tmp_path / "a.csv", "item,x\n1,2\n"), columns=()), "1") == {}


@pytest.mark.parametrize("column", ["item", "score"])
def test_names_that_the_answer_needs_are_refused(tmp_path: Path, column: str) -> None:
    file = write(tmp_path / "a.csv", f"id,{column}\n1,2\n")
    with pytest.raises(BadInteractions, match=f"{column!r}.*rename it, or choose columns"):
        load_items(file, Layout(item_column="id"))


def test_of_two_rows_with_one_id_the_last_counts(tmp_path: Path) -> None:
    write(tmp_path / "2.csv", "item,title\na,new\n")
    write(tmp_path / "1.csv", "item,title\na,old\nb,other\na,older\n")
    items = load_items(tmp_path)
    assert [document(items, item) for item in ["a", "b"]] == [{"title": "new"}, {"title": "other"}]
    assert items.report == ItemsReport(files=2, rows=4, rejected={}, replaced=2)


def test_rejects_are_listed_and_limited(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", 'item,title\n1,"a\nb"\n,x\n2,x,y\n3\n4,z\n')
    rejects = tmp_path / "rejects.csv"
    items = load_items(file, rejects=rejects, max_rejects=0.6)
    assert sorted(items.texts) == ["1", "4"]
    assert items.report.rejected == {
        "missing item": 1,
        "too many columns": 1,
        "too few columns": 1,
    }
    assert rejected(rejects, "content") == [(4, ",x"), (5, "2,x,y"), (6, "3")]
    with pytest.raises(BadInteractions, match="3 of 5 rows are rejected"):
        load_items(file)


def test_movielens_latest(tmp_path: Path) -> None:
    file = write(
        tmp_path / "movies.csv", 'movieId,title,genres\n11,"American President, The",A|B\n'
    )
    assert document(load_items(file, ITEM_PRESETS["ml-latest"]), "11") == {
        "title": "American President, The",
        "genres": "A|B",
    }
    found = "expected a column 'item', found 'movieId', .* name it with --items-id-column"
    with pytest.raises(BadInteractions, match=found):
        load_items(file)


def test_movielens_100k(tmp_path: Path) -> None:
    row = "543|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/M/|" + "|".join("0" * 19)
    file = write(tmp_path / "u.item", row + "\n", "latin-1")
    items = load_items(file, ITEM_PRESETS["ml-100k"])
    assert document(items, "543") == {"title": "Misérables, Les (1995)"}
    other = load_items(file, ITEM_PRESETS["ml-100k"], ["released"])
    assert document(other, "543") == {"released": "01-Jan-1995"}


def test_movielens_1m(tmp_path: Path) -> None:
    file = write(tmp_path / "movies.dat", "1::Toy Story (1995)::Animation|Comedy\n", "latin-1")
    assert document(load_items(file, ITEM_PRESETS["ml-1m"]), "1") == {
        "title": "Toy Story (1995)",
        "genres": "Animation|Comedy",
    }


def test_book_crossing(tmp_path: Path) -> None:
    text = '"ISBN";"Book-Title"\r\n"0";"The \\"Real\\" ""Café""; &amp; more"\r\n'
    file = write(tmp_path / "BX-Books.csv", text, "latin-1")
    assert document(load_items(file, ITEM_PRESETS["book-crossing"]), "0") == {
        "Book-Title": 'The "Real" "Café"; &amp; more'
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"item;x\n1;2\n", "cut the columns with --items-delimiter ';'"),
        (b"id\n1\n", "name it with --items-id-column, or the delimiter with --items-delimiter"),
        (b"1,2\n3,4\n", "name it with --items-id-column$"),
        (b"it\xe9m,x\n1,2\n", "try --items-encoding latin-1"),
        (b"item,x\n\xe9,2\n", "Try --items-encoding latin-1"),
    ],
)
def test_advice_names_the_options_of_the_items(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(BadInteractions, match=message):
        load_items(tmp_path / "a.csv")


@pytest.mark.parametrize("wrong", [{"delimiter": ""}, {"encoding": "klingon"}])
def test_a_layout_of_items_that_cannot_be_read_names_their_options(wrong: dict[str, str]) -> None:
    with pytest.raises(BadInteractions, match=f"^--items-{next(iter(wrong))} "):
        ITEM_PRESETS["larder"].choose(**wrong)


def test_items_that_match_nothing_are_refused_with_examples(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "item,title\n7,Seven\n8,Eight\n")
    with pytest.raises(BadInteractions, match="--items-id-column.*leading zeros") as caught:
        load_items(file).check(["007", "008", "009", "010"])
    assert "without one are '007', '008', '009', this file has '7', '8':" in str(caught.value)


@pytest.mark.parametrize(("known", "warned"), [("abxyz", True), ("abxy", False), ("ab", False)])
def test_fewer_than_half_described_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, known: str, warned: bool
) -> None:
    file = write(tmp_path / "a.csv", "item,title\na,A\nb,B\n")
    load_items(file).check(list(known))
    assert ("without one are 'x', 'y', 'z', this file has 'a', 'b':" in caplog.text) == warned
    assert bool(caplog.records) == warned


@pytest.mark.parametrize(("text", "message"), [("", "empty file"), ("item,x\n", "found none")])
def test_a_file_without_items_gets_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInteractions, match=message):
        load_items(write(tmp_path / "a.csv", text))
