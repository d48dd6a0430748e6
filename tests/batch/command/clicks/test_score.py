"""``larder clicks score`` as its users run it."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from scipy.special import expit

from app.contracts.clicks import Clicks
from app.contracts.recommendations import Namespace
from tests.batch.command.test_cli import larder, refused
from tests.clicks import log_odds, publish_by_hand
from tests.servers import Server


def test_a_table_is_scored_by_the_live_model(
    tmp_path: Path, server: Server, client: Any, namespace: Namespace
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("who,price,brand\nann,3,bolt\nbob,,acme\ncid,1e300,acme\ndot,99,none\n")
    out, rejects = tmp_path / "scores.csv", tmp_path / "rejects.csv"
    cache = ("--cache-url", server.url, "--namespace", namespace.name)
    more = ("--keep-columns", "who", "--rejects", rejects, "--max-rejects", "1")
    command = ("clicks", "score", rows, out, *more, *cache)
    refused(larder(*command), "no click model is live")
    publish_by_hand(client, Clicks(namespace.name))
    done = larder(*command)
    assert done.returncode == 0, done.stderr
    assert "wrote 3 scores by 20260101T000000.000Z-0001" in done.stdout
    assert "missing in every row: device" in done.stderr
    found = duckdb.connect().execute(f"SELECT who, score FROM '{out}'").fetchall()
    expected = [log_odds(3, "bolt"), log_odds(None, "acme"), log_odds(99, "none")]
    assert [who for who, _ in found] == ["ann", "bob", "dot"]
    scores = [score for _, score in found]
    assert scores == pytest.approx(expit(expected), abs=1e-6)
    refused(larder("clicks", "score", rows, rows, *cache), "is the input itself")
    exported = tmp_path / "model"
    assert larder("clicks", "export", exported, *cache).returncode == 0
    again = larder("clicks", "score", rows, out, *more, "--model", exported)
    assert again.returncode == 0, again.stderr
    assert duckdb.connect().execute(f"SELECT score FROM '{out}'").fetchall() == [
        (score,) for score in scores
    ]
