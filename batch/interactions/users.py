"""The ids of users alone, whatever else a file says."""

from functools import partial
from pathlib import Path

import duckdb

from batch.interactions.columns import Checks
from batch.interactions.reading import Reading
from batch.interactions.rejects import settle
from batch.interactions.sources.table import Table, reading


def long_users(path: Path, how: Reading, longer: int) -> list[str]:
    """The ids of users of more bytes than ``longer`` in a file or folder, each once.

    Rejected rows are listed nowhere. Raises BadInteractions as ``load`` does.
    """
    return reading(path, how.layout, partial(_long_users, path, how.max_rejects, longer))


def _long_users(
    path: Path,
    max_rejects: float,
    longer: int,
    connection: duckdb.DuckDBPyConnection,
    table: Table,
) -> list[str]:
    checks = Checks(table, path)
    user = checks.id(table.layout.user_column, "--user-column", "missing user")
    said = f"({user})::VARCHAR AS id, {checks.reason} AS reason, count(*) AS n"

    def make(rows: str) -> str:
        return f"CREATE OR REPLACE TEMP TABLE ids AS SELECT {said} FROM ({rows}) GROUP BY ALL"

    settle(connection, checks, "ids", make, None, max_rejects)
    found = f"SELECT id FROM ids WHERE reason = 0 AND strlen(id) > {longer}"
    return [user for (user,) in connection.execute(found).fetchall()]
