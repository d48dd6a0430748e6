"""What a click model is asked: candidates for a user, made of rows that were seen for real."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path

from loadtest.api import Api, CannotRun

CANDIDATES = 10
REQUESTS = 500

Columns = Sequence[tuple[str, str]]
"""Name and kind, ``number`` or ``category``, of each column that a model knows."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """A request: its number, its body, and the ids of its candidates."""

    number: int
    body: bytes
    items: frozenset[str]


def of(api: Api, path: Path | None) -> list[Ranking]:
    """What the live click model of a deployment is asked, see ``read``. Raises CannotRun."""
    columns = api.columns()
    if path is None:
        raise CannotRun(
            "a click model is asked about examples: name a CSV file such as it was trained on with "
            "--population FILE"
        )
    return read(path, columns)


def read(path: Path, columns: Columns) -> list[Ranking]:
    """Up to 500 requests of ten candidates each, of the rows of a CSV file. Raises CannotRun.

    The first half of the columns is said once, as those of the user; the others of each candidate.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(islice(csv.DictReader(file), REQUESTS * CANDIDATES))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CannotRun(f"the examples {path} cannot be read: {error}") from error
    missing = [name for name, _ in columns if name not in (rows[0] if rows else {})]
    if missing or len(rows) < CANDIDATES:
        raise CannotRun(
            f"the examples {path} must be CSV of {CANDIDATES} rows or more with all columns of "
            f"the model; {len(rows)} rows were found, missing are {missing[:5]}"
        )
    return list(_rankings(rows, columns))


def _rankings(rows: Sequence[dict[str, str]], columns: Columns) -> Iterator[Ranking]:
    half = len(columns) // 2
    for number in range(len(rows) // CANDIDATES):
        ten = rows[number * CANDIDATES : (number + 1) * CANDIDATES]
        items = [
            {"id": f"item {place}", "features": dict(_cells(row, columns[half:]))}
            for place, row in enumerate(ten)
        ]
        user = {"user": f"user {number}", "features": dict(_cells(ten[0], columns[:half]))}
        body = json.dumps({**user, "items": items}, separators=(",", ":")).encode()
        yield Ranking(number, body, frozenset(str(item["id"]) for item in items))


def _cells(row: dict[str, str], columns: Columns) -> Iterator[tuple[str, float | str]]:
    """What is not missing."""
    for name, kind in columns:
        if cell := row[name]:
            value = float(cell) if kind == "number" else cell
            if isinstance(value, str) or isfinite(value):
                yield name, value
