"""The notebook that tests the API under load, and says what a deployment needs."""

from pathlib import Path

import pytest

from tests.notebooks.conftest import Execute

USERS, SECONDS = 200, 10


def test_10_asks_as_users_would_and_sizes_a_deployment(execute: Execute, tmp_path: Path) -> None:
    figures = execute("10", users=USERS, seconds=SECONDS)
    assert figures["errors"] == figures["failed"] == 0
    assert figures["requests"] > USERS * SECONDS / 4 and figures["points"] >= SECONDS
    assert figures["users"] == [1, 2, 4, 8, 16] and figures["answered"] > 100
    assert {each.name for each in (tmp_path / "load").iterdir()} == {"slo", "capacity"}

    needed = figures["size"]
    assert needed["one_generation_in_the_cache"] == pytest.approx(93.7, abs=0.1)
    assert needed["cache_memory_maxmemory"] == pytest.approx(468.2, abs=0.1)
    assert needed["api_workers"] == 2
    assert figures["units"] == ["MB", "Mbit/s", "cores", "processes"]
    charted = figures["charted"]
    assert charted["plain"][2] == pytest.approx(0.468, abs=0.001)
    assert charted["live"] == sorted(charted["live"]) and charted["live"][2] > 2
