"""What a click model is asked, made of rows of examples."""

import json
from pathlib import Path

import pytest

from loadtest.api import CannotRun
from loadtest.load.candidates import read

COLUMNS = [("hour", "number"), ("shelf", "category"), ("price", "number"), ("colour", "category")]


def _examples(folder: Path, *rows: str) -> Path:
    path = folder / "examples.csv"
    path.write_text("\n".join(["label,colour,price,shelf,hour", *rows]) + "\n")
    return path


def test_ten_rows_are_the_candidates_of_one_user(tmp_path: Path) -> None:
    rows = [f"0,00{number},{number}.5,007,20" for number in range(25)]
    first, second = read(_examples(tmp_path, *rows), COLUMNS)
    asked = json.loads(second.body)
    assert asked["features"] == {"hour": 20.0, "shelf": "007"}
    assert asked["items"][3] == {"id": "item 3", "features": {"price": 13.5, "colour": "0013"}}
    assert second.items == {each["id"] for each in asked["items"]} and len(second.items) == 10
    assert (first.number, second.number) == (0, 1)


def test_what_is_missing_is_not_sent(tmp_path: Path) -> None:
    (found,) = read(_examples(tmp_path, *["1,,nan,,"] * 10), COLUMNS)
    asked = json.loads(found.body)
    assert asked["features"] == {} and asked["items"][0] == {"id": "item 0", "features": {}}


@pytest.mark.parametrize(
    ("rows", "said"), [(["0,red,1,a,2"] * 9, "9 rows"), (["0,red,1,a,2"] * 10, "'age'")]
)
def test_examples_that_do_not_do_are_told(tmp_path: Path, rows: list[str], said: str) -> None:
    columns = [*COLUMNS, ("age", "number")] if "age" in said else COLUMNS
    with pytest.raises(CannotRun, match=said):
        read(_examples(tmp_path, *rows), columns)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="cannot be read"):
        read(tmp_path / "none.csv", COLUMNS)
