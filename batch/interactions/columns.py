"""What a row says and what it is rejected for, as SQL over the columns of a table."""

from pathlib import Path

from app.contracts.recommendations import MAX_ID_BYTES
from batch.errors import BadInteractions
from batch.interactions.counting import ALL, Counting
from batch.interactions.sources.layout import OPTIONAL, PRESETS, Layout, preset_with
from batch.interactions.sources.table import Table

MAX_WEIGHT = 1e12

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
INTEGERS = (*WHOLE, *UNSIGNED)
FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
TEXTS = ("VARCHAR", "ENUM", "UUID")
TIMES = ("DATE", "TIMESTAMP")

JSON_NUMBER = "-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?"
CELL_TYPES = {
    "number": "(regexp_full_match({0}, '" + JSON_NUMBER + "') "
    "AND coalesce(isfinite(TRY_CAST({0} AS DOUBLE)), false))",
    "boolean": "(lower({0}) IN ('true', 'false'))",
}
"""What the cells of a text column may be in a document, and SQL for whether one is."""


class Checks:
    """Collects what a row is rejected for; the first that holds is its one reason."""

    def __init__(self, table: Table, path: str | Path) -> None:
        self.table, self.path = table, path
        self.reasons = [""]
        """What a row can be rejected for; nothing, at position 0, when it is right."""
        self._cases: list[str] = []
        if table.is_text:  # never true; but a column that nobody looks at is not decoded either
            cells = " OR ".join(f"strlen(c{n}) < 0" for n in range(len(table.columns)))
            self.add(cells, "wrong encoding")

    def add(self, sql: str, reason: str, column: str = "") -> None:
        """Reject rows of which this condition holds; the reason names the column to look at."""
        shown = " ".join(column.split())  # a name may hold newlines
        self._cases.append(f"WHEN {sql} THEN {len(self.reasons)}")
        self.reasons.append(f"{reason}: {shown}" if column else reason)

    def refuse(self, is_wrong: str, reason: str, column: str) -> None:
        """Reject rows whose cell is wrong; for broken quotes, where a line breaks in it."""
        if self.table.is_text:
            self.add(f"{is_wrong} AND {broken(self.table.identifier(column))}", "broken quotes")
        self.add(is_wrong, reason, column)

    @property
    def reason(self) -> str:
        """SQL for the position in `reasons` of what a row is rejected for, 0 when it is right."""
        return f"CASE {' '.join(self._cases)} ELSE 0 END" if self._cases else "0"

    def required(self, column: str, option: str) -> str:
        """Return the column's name, or raise BadInteractions when it is not there, once.

        The option is the one of the command line that says which column it is.
        """
        found = self.table.columns
        if column not in found:
            raise BadInteractions(
                f"{self.path}: expected a column {column!r}, found {', '.join(map(repr, found))}: "
                + self._advice(option)
            )
        if found.count(column) > 1 or column.lower() in self.table.doubled:
            raise BadInteractions(f"{self.path}: expected one column {column!r}, found several")
        return column

    def _advice(self, option: str) -> str:
        """Say what to do about a column that is not there."""
        found, layout = self.table.columns, self.table.layout
        is_id = option in ("--user-column", "--item-column")
        name_it, numbered = f"name it with {option}", "--user-column 1 --item-column 2"
        if is_id and (preset := preset_with(found)):
            return f"use --preset {preset}{_leaving_out(layout, preset)}"
        if option in ("--document-columns", "--document-types", "--filter-columns"):
            return f"correct {option}"
        if not self.table.is_text:
            return name_it
        if mark := _delimiter(found):
            return f"cut the columns with {layout.options}delimiter {mark!r}"
        if len(found) == 1:
            return f"{name_it}, or the delimiter with {layout.options}delimiter"
        if is_id and not layout.header and not layout.names:
            return f"without a header the columns are numbered: {numbered}"
        if is_id and layout.header and any(name[:1].isdigit() for name in found):
            return f"is the first line data? then --no-header {numbered}"
        if is_id and layout.header and not {layout.user_column, layout.item_column} & set(found):
            return f"{name_it}, or --no-header {numbered}, if its first line is data"
        return name_it

    def kind(self, column: str, *allowed: str) -> str:
        """Return the type of a column without parameters; raise when it is none of the allowed."""
        name = self.table.type_of(column).split("(")[0]
        if name.endswith("]") or not name.startswith(allowed):
            raise BadInteractions(
                f"{self.path}: expected the column {column!r} to hold one of "
                f"{', '.join(allowed)}; found {self.table.type_of(column)}: convert it"
            )
        return name

    def id(self, column: str, option: str, missing: str) -> str:
        """Return SQL for an id (a text, or a whole number whose digits are the text)."""
        sql = self.table.identifier(self.required(column, option))
        kind = self.kind(column, *TEXTS, *INTEGERS, *FRACTIONS)
        if kind in INTEGERS:
            self.add(f"{sql} IS NULL", missing)
            return sql
        if kind in FRACTIONS:  # pandas makes these of whole numbers with gaps
            self.add(f"{sql} IS NULL OR isnan({sql}::DOUBLE)", missing)
            whole = f"TRY_CAST({sql} AS HUGEINT)"
            self.add(f"{whole} IS NULL OR {whole} != {sql}", "id not whole", column)
            return whole
        text = sql if kind == "VARCHAR" else f"{sql}::VARCHAR"
        self.add(f"{text} IS NULL OR {text} = ''", missing)
        self.add(f"strlen({text}) > {MAX_ID_BYTES}", "id too long", column)
        self.add(f"contains({text}, chr(0))", "NUL byte in id", column)
        self.add(broken(text), "line break in id", column)
        return text

    def typed(self, column: str, kind: str) -> str:
        """Return SQL for a column of texts as JSON of one of `CELL_TYPES`, null where it is empty.

        Any other cell is what its row is rejected for.
        """
        self.kind(column, "VARCHAR")
        sql = self.table.identifier(column)
        is_right = CELL_TYPES[kind].format(sql)
        self.refuse(f"{sql} != '' AND NOT {is_right}", f"not a {kind}", column)
        return f"CASE WHEN {is_right} THEN lower({sql})::JSON END"

    def seconds(self, column: str) -> str:
        """Return SQL for a column of times as seconds since 1970, null where a cell is no time."""
        sql = self.table.identifier(column)
        kind = self.kind(column, "VARCHAR", *TIMES, *INTEGERS, *FRACTIONS)
        if kind.startswith(TIMES):
            return f"epoch({sql})"
        if kind == "VARCHAR":
            moment = f"epoch(CASE WHEN {sql} NOT ILIKE '%epoch%' THEN {sql}::TIMESTAMPTZ END)"
            number = f"TRY_CAST({sql} AS DOUBLE)"
            is_day = f"{number} BETWEEN 19700101 AND 20991231 AND strlen({sql}) = 8"
            return _day_or(sql, is_day, f"coalesce({_seconds(number)}, TRY({moment}))")
        is_day = f"{sql} BETWEEN 19700101 AND 20991231 AND {sql} % 1 = 0"
        text = f"TRY_CAST({sql} AS BIGINT)::VARCHAR"
        return _day_or(text, is_day, _seconds(f"{sql}::DOUBLE"))

    def time(self, column: str, reason: str) -> str:
        """Return SQL for a column of times as seconds; what is none is rejected for the reason."""
        seconds = self.seconds(column)
        self.refuse(f"NOT coalesce(abs({seconds}) < 1e11, false)", reason, column)
        return seconds


class Columns:
    """SQL for what a row of interactions says: user, item, weight, timestamp, reason.

    left_out: as `Counting.left_out` has it.
    """

    def __init__(self, table: Table, path: str | Path, counting: Counting = ALL) -> None:
        self.checks = Checks(table, path)
        layout = table.layout
        self.user = self.checks.id(layout.user_column, "--user-column", "missing user")
        self.item = self.checks.id(layout.item_column, "--item-column", "missing item")
        self.used = {"user": layout.user_column, "item": layout.item_column}
        """The column of each role that there is."""
        rating, weight = self._optional("rating_column"), self._optional("weight_column")
        timestamp = self._optional("timestamp_column")
        if rating and weight:
            raise BadInteractions(
                f"{path}: expected a rating or a weight, found both {rating!r} and {weight!r}: "
                "leave one of them out with --rating-column '' or --weight-column ''"
            )
        self.is_rating = rating is not None
        value = rating or weight
        self.weight = None if value is None else self._weight(value, layout.zero_counts_as)
        self.timestamp = None if timestamp is None else self.checks.time(timestamp, "bad timestamp")
        kind = self._count(counting)
        self.left_out = counting.left_out(f"({self.item})::VARCHAR", kind, self.timestamp)

    def _count(self, counting: Counting) -> str | None:
        """Weigh a row by its type, SQL for which is returned, and by its age."""
        kind, path = None, self.checks.path
        if counting.type_column:
            self.used["type"] = self.checks.required(counting.type_column, "--type-column")
            if self.is_rating:
                raise BadInteractions(
                    f"{path}: expected a rating or a type of each row, found both: leave the one "
                    "out with --rating-column '', or the other without --type-column"
                )
            kind = f"{self.checks.table.identifier(counting.type_column)}::VARCHAR"
            product = f"{counting.of_type(kind)} * ({self.weight or 1})"
            self.weight = f"CASE WHEN {product} > {MAX_WEIGHT} THEN {MAX_WEIGHT} ELSE {product} END"
        if counting.since is not None and self.timestamp is None:
            raise BadInteractions(
                f"{path}: --since needs timestamps and found none: name their column with "
                "--timestamp-column, or leave out --since"
            )
        if counting.half_life is not None and self.timestamp is not None:
            self.weight = counting.faded(self.weight or "1::DOUBLE", self.timestamp)
        return kind

    def unused(self) -> tuple[str, ...]:
        """Return the columns that have no role."""
        used = self.used.values()
        return tuple(name for name in self.checks.table.columns if name not in used)

    def _optional(self, field: str) -> str | None:
        layout = self.checks.table.layout
        column: str | None = getattr(layout, field)
        if column in self.checks.table.columns or layout.must_have(field):
            option = "--" + field.replace("_", "-")
            self.used[OPTIONAL[field]] = self.checks.required(str(column), option)
            return column
        return None

    def _weight(self, column: str, zero: float) -> str:
        sql, checks = self.checks.table.identifier(column), self.checks
        kind = checks.kind(column, "VARCHAR", "BOOLEAN", *INTEGERS, *FRACTIONS)
        number = number_of(sql) if kind == "VARCHAR" else f"{sql}::DOUBLE"
        if kind == "VARCHAR":
            checks.add(f"regexp_full_match({sql}, '[-+]?[0-9]+,[0-9]+')", "comma in number", column)
        checks.refuse(f"{number} IS NULL", "not a number", column)
        if kind in ("VARCHAR", "FLOAT", "DOUBLE"):
            checks.add(f"isnan({number})", "NaN", column)
            checks.add(f"isinf({number})", "infinite", column)
        checks.add(f"{number} < 0", "negative", column)
        checks.add(f"{number} > {MAX_WEIGHT}", "too large", column)
        return f"CASE WHEN {number} = 0 THEN {zero!r}::DOUBLE ELSE {number} END"


def _leaving_out(layout: Layout, preset: str) -> str:
    """Which options or variables name a column in the place of the preset's."""
    pairs = {(each.user_column, each.item_column) for each in PRESETS.values()}
    if (layout.user_column, layout.item_column) in pairs:
        return ""
    wanted = PRESETS[preset]
    roles = {"user": layout.user_column != wanted.user_column}
    roles["item"] = layout.item_column != wanted.item_column
    said = [f"--{role}-column (LARDER_{role.upper()}_COLUMN)" for role in roles if roles[role]]
    return f", and do not set {' and '.join(said)}"


def _delimiter(columns: tuple[str, ...]) -> str | None:
    """Guess what a header that was cut elsewhere, or not at all, should be cut by."""
    text = "\n".join(columns)
    return next((mark for mark in (";", "\t", "|", ",") if text.count(mark) >= len(columns)), None)


def broken(text: str) -> str:
    """Say whether a text has a line break, as values have behind a quote that was not closed."""
    return f"(contains({text}, chr(10)) OR contains({text}, chr(13)))"


def number_of(text: str) -> str:
    """Read a text as a number; DuckDB alone would take 1_000 for one."""
    return f"TRY_CAST(CASE WHEN NOT contains({text}, '_') THEN {text} END AS DOUBLE)"


def _day_or(text: str, is_day: str, seconds: str) -> str:
    """Read an ISO 8601 date without hyphens, such as 20260131, as epoch seconds.

    Taken for seconds it would lie in 1970; one from 1970 to 2099 is meant as a date.
    """
    day = f"epoch(try_strptime({text}, '%Y%m%d'))"
    return f"(CASE WHEN {is_day} THEN {day} ELSE {seconds} END)"


def _seconds(number: str) -> str:
    """Read a number as epoch seconds, or by its magnitude milli-, micro- or nanoseconds."""
    return (
        f"CASE WHEN abs({number}) < 1e11 THEN {number} WHEN abs({number}) < 1e14 "
        f"THEN {number} / 1e3 WHEN abs({number}) < 1e17 THEN {number} / 1e6 "
        f"WHEN abs({number}) < 1e20 THEN {number} / 1e9 END"
    )
