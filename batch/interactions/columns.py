"""What a row says and what it is rejected for, as SQL over the columns of a table."""

from pathlib import Path

from app.contracts.recommendations import MAX_ID_BYTES
from batch.errors import BadInteractions
from batch.interactions.layout import preset_with
from batch.interactions.table import Table

MAX_WEIGHT = 1e12

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
INTEGERS = (*WHOLE, *UNSIGNED)
FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
TEXTS = ("VARCHAR", "ENUM", "UUID")
TIMES = ("DATE", "TIMESTAMP")

REASONS = (
    "",
    "missing user",
    "missing item",
    "id too long",
    "NUL byte in id",
    "line break in id",
    "id not whole",
    "not a number",
    "NaN",
    "infinite",
    "negative",
    "too large",
    "bad timestamp",
    "wrong encoding",
    "broken quotes",
)


class Checks:
    """Collects what a row is rejected for; the first that holds is its one reason."""

    def __init__(self, table: Table, path: Path) -> None:
        self.table, self.path = table, path
        self._cases: list[str] = []
        if table.is_text:  # never true; but a column that nobody looks at is not decoded either
            cells = " OR ".join(f"strlen(c{n}) < 0" for n in range(len(table.columns)))
            self.add(cells, "wrong encoding")

    def add(self, sql: str, reason: str) -> None:
        """Reject rows of which this condition holds."""
        self._cases.append(f"WHEN {sql} THEN {REASONS.index(reason)}")

    @property
    def reason(self) -> str:
        """SQL for the position in REASONS of what a row is rejected for, 0 when it is right."""
        return f"CASE {' '.join(self._cases)} ELSE 0 END"

    def required(self, column: str) -> str:
        """Return the column's name, or raise BadInteractions when it is not there, once."""
        found = self.table.columns
        if column not in found:
            preset = preset_with(found)
            advice = "say which column to use" if len(found) > 1 else "say which delimiter to use"
            raise BadInteractions(
                f"{self.path}: expected a column {column!r}, found {', '.join(map(repr, found))}: "
                + (f"use the preset {preset}" if preset else advice)
            )
        if found.count(column) > 1:
            raise BadInteractions(f"{self.path}: expected one column {column!r}, found several")
        return column

    def kind(self, column: str, *allowed: str) -> str:
        """Return the type of a column without parameters; raise when it is none of the allowed."""
        name = self.table.type_of(column).split("(")[0]
        if name.endswith("]") or not name.startswith(allowed):
            raise BadInteractions(
                f"{self.path}: expected the column {column!r} to hold one of "
                f"{', '.join(allowed)}; found {self.table.type_of(column)}: convert it"
            )
        return name

    def id(self, column: str, missing: str) -> str:
        """Return SQL for an id (a text, or a whole number whose digits are the text)."""
        sql = self.table.identifier(self.required(column))
        kind = self.kind(column, *TEXTS, *INTEGERS, *FRACTIONS)
        if kind in INTEGERS:
            self.add(f"{sql} IS NULL", missing)
            return sql
        if kind in FRACTIONS:  # pandas makes these of whole numbers with gaps
            self.add(f"{sql} IS NULL OR isnan({sql}::DOUBLE)", missing)
            whole = f"TRY_CAST({sql} AS HUGEINT)"
            self.add(f"{whole} IS NULL OR {whole} != {sql}", "id not whole")
            return whole
        text = sql if kind == "VARCHAR" else f"{sql}::VARCHAR"
        self.add(f"{text} IS NULL OR {text} = ''", missing)
        self.add(f"strlen({text}) > {MAX_ID_BYTES}", "id too long")
        self.add(f"contains({text}, chr(0))", "NUL byte in id")
        self.add(_broken(text), "line break in id")
        return text


class Columns:
    """SQL for what a row of interactions says: user, item, weight, timestamp, reason."""

    def __init__(self, table: Table, path: Path) -> None:
        self.checks = Checks(table, path)
        layout = table.layout
        self.user = self.checks.id(layout.user_column, "missing user")
        self.item = self.checks.id(layout.item_column, "missing item")
        rating, weight = self._optional("rating_column"), self._optional("weight_column")
        timestamp = self._optional("timestamp_column")
        if rating and weight:
            raise BadInteractions(
                f"{path}: expected a rating or a weight, found both {rating!r} and {weight!r}: "
                "say which one counts by giving the other an empty column name"
            )
        self.is_rating = rating is not None
        value = rating or weight
        self.weight = None if value is None else self._weight(value, layout.zero_counts_as)
        self.timestamp = None if timestamp is None else self._timestamp(timestamp)

    def _optional(self, field: str) -> str | None:
        layout = self.checks.table.layout
        column: str | None = getattr(layout, field)
        if column in self.checks.table.columns or layout.must_have(field):
            return self.checks.required(str(column))
        return None

    def _weight(self, column: str, zero: float) -> str:
        sql, checks = self.checks.table.identifier(column), self.checks
        kind = checks.kind(column, "VARCHAR", "BOOLEAN", *INTEGERS, *FRACTIONS)
        number = f"TRY_CAST({sql} AS DOUBLE)" if kind == "VARCHAR" else f"{sql}::DOUBLE"
        if checks.table.is_text:
            checks.add(f"{number} IS NULL AND {_broken(sql)}", "broken quotes")
        checks.add(f"{number} IS NULL", "not a number")
        if kind in ("VARCHAR", "FLOAT", "DOUBLE"):
            checks.add(f"isnan({number})", "NaN")
            checks.add(f"isinf({number})", "infinite")
        checks.add(f"{number} < 0", "negative")
        checks.add(f"{number} > {MAX_WEIGHT}", "too large")
        return f"CASE WHEN {number} = 0 THEN {zero!r}::DOUBLE ELSE {number} END"

    def _timestamp(self, column: str) -> str:
        sql = self.checks.table.identifier(column)
        kind = self.checks.kind(column, "VARCHAR", *TIMES, *INTEGERS, *FRACTIONS)
        if kind.startswith(TIMES):
            seconds = f"epoch({sql})"
        elif kind == "VARCHAR":
            seconds = (
                f"coalesce({_seconds(f'TRY_CAST({sql} AS DOUBLE)')}, "
                f"epoch(TRY_CAST({sql} AS TIMESTAMPTZ)))"
            )
        else:
            seconds = _seconds(f"{sql}::DOUBLE")
        is_bad = f"NOT coalesce(abs({seconds}) < 1e11, false)"
        if self.checks.table.is_text:
            self.checks.add(f"{is_bad} AND {_broken(sql)}", "broken quotes")
        self.checks.add(is_bad, "bad timestamp")
        return seconds


def _broken(text: str) -> str:
    """Say whether a text has a line break, as values have behind a quote that was not closed."""
    return f"(contains({text}, chr(10)) OR contains({text}, chr(13)))"


def _seconds(number: str) -> str:
    """Read a number as epoch seconds, or by its magnitude milli-, micro- or nanoseconds."""
    return (
        f"CASE WHEN abs({number}) < 1e11 THEN {number} WHEN abs({number}) < 1e14 "
        f"THEN {number} / 1e3 WHEN abs({number}) < 1e17 THEN {number} / 1e6 "
        f"WHEN abs({number}) < 1e20 THEN {number} / 1e9 END"
    )
