"""Examples of our own making, laid out like Criteo's, whose truth is known.

13 heavy-tailed numbers and 26 categories of 5 to 200,000 values, Zipf-distributed, all with gaps;
the log-odds of a click are a sum of what each says. Which value says what is the same for every
seed: the rows of two seeds are two samples of one world. Each cell depends on its row's number, its
column and the seed alone, so the first rows are the same however many there are, and no rows need
be held. In truth, a category of many values says as much as one of few; what a model cannot learn
of the rare ones is what it falls short of the best possible one.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from batch.clicks.examples.layout import CATEGORIES, NUMBERS
from batch.interactions.sources.table import literal, reading_errors

Format = Literal["csv", "parquet", "criteo"]

USER_COLUMNS = (*NUMBERS[:6], *CATEGORIES[:13])
"""What belongs to who sees, and when; the others belong to what is shown."""
ITEM_COLUMNS = (*NUMBERS[6:], *CATEGORIES[13:])

SIZES = tuple(round(5 * 40_000 ** (number / 25)) for number in range(26))
"""How many values each category has."""
_GAPS = (0.45, 0.0, 0.22, 0.22, 0.03, 0.23, 0.04, 0.0, 0.04, 0.45, 0.04, 0.76, 0.22)
"""Which share of each number is missing."""
_NUMBERS_SAY, _CATEGORIES_SAY, _BASE = 0.34, 0.115, -1.54
_ZIPF = 0.86
_START = 1_767_225_600
"""2026-01-01, in seconds since 1970."""
_SECONDS_A_ROW = 10
_DRIFT, _PERIOD = 0.25, 30 * 86_400.0
"""How far the log-odds go up and down with time, and how long that takes, in seconds."""

_OPTIONS: dict[Format, str] = {
    "csv": "FORMAT csv, HEADER",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "criteo": "FORMAT csv, HEADER false, DELIMITER '\t', QUOTE ''",
}


@dataclass(frozen=True, slots=True)
class Truth:
    """What the model would reach that knows the truth, on the rows that were written."""

    rows: int
    clicks: int
    auc: float
    log_loss: float


def generate(out: Path, rows: int, seed: int, form: Format, has_time: bool) -> Truth:
    """Write so many rows into a file; with a column ``time`` if asked, along which the rate drifts.

    Raises BadInteractions or DiskUnavailable when the file cannot be written.
    """
    with reading_errors(out), duckdb.connect(":memory:") as connection:
        truth = f"SELECT {_uniform(0, seed)} < p AS label, * FROM ({_truth(rows, seed, has_time)})"
        time = f"make_timestamp(({_START} + r * {_SECONDS_A_ROW}) * 1000000) AS time, "
        cells = ", ".join([*NUMBERS, *CATEGORIES])
        partial = out.with_name(out.name + ".part")
        connection.execute(
            f"COPY (SELECT label::TINYINT AS label, {time * has_time}{cells} FROM ({truth})) "
            f"TO {literal(str(partial))} ({_OPTIONS[form]})"
        )
        os.replace(partial, out)
        return _judge(connection, truth)


def _judge(connection: duckdb.DuckDBPyConnection, truth: str) -> Truth:
    """Judge the truth itself; the AUC by steps of a millionth of the probability."""
    found = connection.execute(
        "SELECT sum(n)::BIGINT, sum(clicks)::BIGINT, sum(clicks * (below + (n - clicks) / 2)), "
        "sum(loss) FROM (SELECT *, coalesce(sum(n - clicks) OVER (ORDER BY step ROWS BETWEEN "
        "UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS below FROM (SELECT round(p * 1e6) AS step, "
        "count(*) AS n, count_if(label) AS clicks, -sum(ln(if(label, p, 1 - p))) AS loss "
        f"FROM ({truth}) GROUP BY step))"
    ).fetchall()[0]
    rows, clicks, won, loss = found
    pairs = clicks * (rows - clicks)
    return Truth(rows, clicks, won / pairs if pairs else math.nan, loss / rows)


def _truth(rows: int, seed: int, has_time: bool) -> str:
    """SQL for the row's number, its cells, and the probability of a click."""
    cells = [f"{_number(n, seed)} AS {name}" for n, name in enumerate(NUMBERS)]
    cells += [f"{_rank(n, seed)} AS k{n}" for n in range(len(CATEGORIES))]
    said = [_number_says(n, name) for n, name in enumerate(NUMBERS)]
    said += [_category_says(n) for n in range(len(CATEGORIES))]
    drift = f"{_DRIFT} * sin(2 * pi() * r * {_SECONDS_A_ROW} / {_PERIOD})" if has_time else "0"
    names = ", ".join(
        f"if(k{n} = 0, NULL, printf('%08x', hash(k{n}, {n}) >> 32)) AS {name}"
        for n, name in enumerate(CATEGORIES)
    )
    return (
        f"SELECT r, {', '.join(NUMBERS)}, {names}, "
        f"1 / (1 + exp(-({_BASE} + {drift} + {' + '.join(said)}))) AS p "
        f"FROM (SELECT range AS r, {', '.join(cells)} FROM range({rows}))"
    )


def _uniform(column: int, seed: int | None, of: str = "r") -> str:
    """SQL for a number between 0 and 1, neither of which it is."""
    more = "" if seed is None else f", {seed}"
    return f"(((hash({of}, {column}{more}) >> 12)::DOUBLE + 0.5) / {2**52})"


def _logit(number: str) -> str:
    return f"ln({number} / (1 - {number}))"


def _number(number: int, seed: int) -> str:
    """A count, log-logistic; with a gap where another draw is small."""
    spread, middle = 0.4 + 0.05 * number, 1.0 + 0.4 * (number % 7)
    drawn = f"floor(exp({middle} + {spread} * {_logit(_uniform(1 + number, seed))}))"
    is_gap = f"{_uniform(101 + number, seed)} < {_GAPS[number]}"
    return f"if({is_gap}, NULL, least({drawn}, 1e9)::BIGINT)"


def _number_says(number: int, name: str) -> str:
    """Three ways in turn: the more the likelier, a best amount, and waves."""
    spread, middle = 0.4 + 0.05 * number, 1.0 + 0.4 * (number % 7)
    z = f"((ln(1 + {name}) - {middle}) / {1.6 * spread})"
    ways = f"{z}", f"(1 - {z} * {z} / (1 + abs({z})))", f"(1.4 * sin(1.5 * {z}))"
    sign = 1 if number % 2 else -1
    return f"{sign * _NUMBERS_SAY} * coalesce({ways[number % 3]}, 0.5)"


def _rank(column: int, seed: int) -> str:
    """Which value, from 1 for the most frequent one; 0 where it is missing."""
    top, power = (SIZES[column] + 1) ** (1 - _ZIPF) - 1, 1 / (1 - _ZIPF)
    drawn = f"floor(pow(1 + {top} * {_uniform(201 + column, seed)}, {power}))"
    gap = 0.05 * (column % 4)
    return f"if({_uniform(301 + column, seed)} < {gap}, 0, least({drawn}, {SIZES[column]})::BIGINT)"


def _category_says(column: int) -> str:
    says = _CATEGORIES_SAY * (0.5 + column / 25)
    return f"{says} * {_logit(_uniform(401 + column, None, f'k{column}'))}"
