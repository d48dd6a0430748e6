"""The columns of ``rows`` as SQL over the cells of a table, and what rows are rejected for."""

from app.contracts.clicks import MAX_NUMBER, Column
from batch.clicks.rows import Schema
from batch.interactions.columns import (
    FRACTIONS,
    INTEGERS,
    TEXTS,
    Checks,
    broken,
    number_of,
)
from batch.interactions.sources.table import Table

_SAME = (
    "CASE WHEN ends_with({0}, '.0') "
    "THEN regexp_replace({0}, '^(0|-?[1-9][0-9]{{0,14}})[.]0$', '\\1') "
    "WHEN strlen({0}) < 6 AND lower({0}) IN ('true', 'false') THEN lower({0}) ELSE {0} END"
)
"""A text as ``category_text`` of the contract has it."""
_LABELS = "'0', '1', 'false', 'true', '0.0', '1.0'"


class Cells:
    """SQL for what a row of examples says: label, moment, n0.., c0..; and its checks.

    A column of the schema that the table does not have raises BadInteractions, unless it is in
    ``absent``: that is missing in every row.
    """

    def __init__(
        self,
        table: Table,
        path: str,
        schema: Schema,
        absent: frozenset[str] = frozenset(),
    ) -> None:
        self.checks = Checks(table, path)
        self._absent = absent
        self.label = "0" if schema.label is None else self._label(schema.label)
        self.moment = "0" if schema.time is None else self._moment(schema.time)
        self.numbers = [self._number(each) for each in schema.columns if each.kind == "number"]
        self.categories = [
            self._category(each) for each in schema.columns if each.kind == "category"
        ]

    @property
    def columns(self) -> str:
        """SQL of all of them, named as they are in ``rows``."""
        cells = [
            f"CAST({self.label} AS TINYINT) AS label",
            f"CAST({self.moment} AS BIGINT) AS moment",
        ]
        cells += [f"TRY_CAST({sql} AS FLOAT) AS n{n}" for n, sql in enumerate(self.numbers)]
        cells += [f"coalesce({sql}, '') AS c{n}" for n, sql in enumerate(self.categories)]
        return ", ".join(cells)

    def _label(self, name: str) -> str:
        cell = self._cell(name, "--label")
        kind = self.checks.kind(name, "VARCHAR", "BOOLEAN", *INTEGERS, *FRACTIONS)
        if kind == "VARCHAR":
            self.checks.add(f"{cell} IS NULL OR {cell} = ''", "missing label", name)
            if self.checks.table.is_text:
                self.checks.add(broken(cell), "line break in label", name)
            self.checks.add(f"lower({cell}) NOT IN ({_LABELS})", "label not 0 or 1", name)
            return f"if(lower({cell}) IN ('1', 'true', '1.0'), 1, 0)"
        number = f"{cell}::DOUBLE"
        self.checks.add(f"{number} IS NULL OR isnan({number})", "missing label", name)
        self.checks.add(f"{number} NOT IN (0, 1)", "label not 0 or 1", name)
        return f"if({number} = 1, 1, 0)"

    def _moment(self, name: str) -> str:
        self.checks.required(name, "--time-column")
        seconds = self.checks.time(name, "bad time")
        return f"TRY_CAST(round({seconds} * 1e6) AS BIGINT)"

    def _number(self, column: Column) -> str:
        name = column.name
        if name in self._absent:
            return "NULL"
        cell, kind = self._cell(name, "--numeric"), self._kind(name)
        if kind in INTEGERS:
            return cell
        if kind == "BOOLEAN":
            return f"{cell}::TINYINT"
        number = f"{cell}::DOUBLE" if kind in FRACTIONS else number_of(f"{cell}::VARCHAR")
        if kind not in FRACTIONS:
            is_none = f"{number} IS NULL AND {cell} != ''"
            if self.checks.table.is_text:
                self.checks.add(f"{is_none} AND {broken(cell)}", "line break in value", name)
            self.checks.add(is_none, "not a number", name)
        self.checks.add(f"isinf({number})", "infinite", name)
        self.checks.add(
            f"abs({number}) > {MAX_NUMBER!r} AND NOT isnan({number})", "too large", name
        )
        return f"if(isnan({number}), NULL, {number})"

    def _category(self, column: Column) -> str:
        name = column.name
        if name in self._absent:
            return "NULL"
        cell, kind = self._cell(name, "--categorical"), self._kind(name)
        if kind in FRACTIONS:
            return _text(cell)
        if kind != "VARCHAR":
            return f"{cell}::VARCHAR"
        if self.checks.table.is_text:
            self.checks.add(broken(cell), "line break in value", name)
        return _SAME.format(cell)

    def _cell(self, name: str, option: str) -> str:
        return self.checks.table.identifier(self.checks.required(name, option))

    def _kind(self, name: str) -> str:
        return self.checks.kind(name, "BOOLEAN", *TEXTS, *INTEGERS, *FRACTIONS, "DATE", "TIME")


def _text(cell: str) -> str:
    """A number as ``category_text`` of the contract has it; of f32 the shortest that says it."""
    number = f"({cell}::VARCHAR::DOUBLE)"
    is_whole = f"{number} = trunc({number}) AND abs({number}) < 1e15"
    shown = f"if({is_whole}, TRY_CAST({number} AS BIGINT)::VARCHAR, {number}::VARCHAR)"
    return f"if(isfinite({number}), {shown}, '')"
