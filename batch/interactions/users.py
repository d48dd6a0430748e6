"""The ids of users alone, whatever else a file says."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb

from batch.interactions.columns import Checks
from batch.interactions.reading import Reading
from batch.interactions.rejects import settle
from batch.interactions.table import Table, reading

_AT_A_TIME = 100_000


def long_users(path: Path, how: Reading, longer: int, take: Callable[[list[str]], None]) -> None:
    """Hand over the ids of users of more bytes than ``longer`` in a file or folder, some at a time.

    Raises BadInteractions as ``load`` does; rejected rows are counted, and listed nowhere.
    """
    reading(path, how.layout, partial(_long_users, path, how.max_rejects, longer, take))


def _long_users(
    path: Path,
    max_rejects: float,
    longer: int,
    take: Callable[[list[str]], None],
    connection: duckdb.DuckDBPyConnection,
    table: Table,
) -> None:
    checks = Checks(table, path)
    user = checks.id(table.layout.user_column, "--user-column", "missing user")

    def make(rows: str) -> str:
        return (
            f"CREATE OR REPLACE TEMP TABLE ids AS SELECT ({user})::VARCHAR AS id, "
            f"{checks.reason} AS reason, count(*) AS n FROM ({rows}) GROUP BY ALL"
        )

    settle(connection, checks, "ids", make, None, max_rejects)
    found = connection.execute(f"SELECT id FROM ids WHERE reason = 0 AND strlen(id) > {longer}")
    while some := found.fetchmany(_AT_A_TIME):
        take([user for (user,) in some])
