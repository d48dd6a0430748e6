"""What the cache keeps of how a run ended, whatever the end."""

from pathlib import Path
from typing import Any

import pytest

from app.contracts.recommendations import Namespace
from app.contracts.refreshes import KEPT, Refresh, refreshes_key
from batch.command.endings import ending, noted
from batch.command.options import CacheOptions
from batch.generations.lock import hold
from tests.generations import publish_by_hand
from tests.servers import Server, run_here


@pytest.fixture
def where(server: Server, namespace: Namespace) -> dict[str, str]:
    return {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": namespace.name}


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    path = tmp_path / "pairs.csv"
    rows = (f"u{user},i{(user * 3 + n) % 20}\n" for user in range(30) for n in range(6))
    path.write_text("user,item\n" + "".join(rows))
    return str(path)


def records(client: Any, namespace: Namespace) -> list[Refresh]:
    return [Refresh.from_json(each) for each in client.lrange(refreshes_key(namespace.name), 0, -1)]


def test_every_end_is_noted_the_newest_first(
    where: dict[str, str], pairs: str, client: Any, namespace: Namespace
) -> None:
    quick = ("--factors", "4", "--iterations", "1")
    codes = [run_here("refresh", pairs, "--holdout", "0", "--force", *quick, variables=where)]
    codes.append(run_here("refresh", pairs, *quick, "--min-ndcg", "1", variables=where))
    codes.append(run_here("refresh", f"{pairs}.none", variables=where))
    with hold(client, namespace):
        codes.append(run_here("refresh", pairs, variables=where))
    found = records(client, namespace)
    assert [each.exit for each in found] == [75, 2, 2, 0] == [c.returncode for c in codes][::-1]
    locked, unread, bad, good = found
    assert client.get(namespace.live).decode() == good.generation
    assert (good.reason, good.kind) == ("", "refresh") and good.seconds > 0
    assert {each.generation for each in (locked, unread, bad)} == {""}
    assert "is being refreshed by process" in locked.reason
    assert "pairs.csv.none" in unread.reason
    assert f"error: {bad.reason}\n" in codes[1].stderr


def test_who_rolls_back_is_noted_too(
    where: dict[str, str], client: Any, namespace: Namespace
) -> None:
    for name in ("20260101T000000Z-0001", "20260102T000000Z-0002"):
        publish_by_hand(client, namespace, name)
    assert run_here("rollback", variables=where).returncode == 0
    (only,) = records(client, namespace)
    assert (only.kind, only.exit, only.generation) == ("rollback", 0, "20260101T000000Z-0001")


def test_no_more_are_kept_than_a_page_shows(
    server: Server, client: Any, namespace: Namespace
) -> None:
    cache = CacheOptions(server.url, namespace)
    for number in range(KEPT + 2):
        noted(cache, f"g{number}".__str__)
    found = records(client, namespace)
    assert [found[0].generation, found[-1].generation] == [f"g{KEPT + 1}", "g2"]


def test_a_run_that_a_signal_ends_is_noted(
    server: Server, client: Any, namespace: Namespace
) -> None:
    def stopped() -> str:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        noted(CacheOptions(server.url, namespace), stopped)
    (only,) = records(client, namespace)
    assert (only.exit, only.reason) == (143, "stopped by a signal")


def test_a_cache_that_takes_no_record_changes_nothing(
    server: Server, client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    client.set(refreshes_key(namespace.name), "of another type")
    noted(CacheOptions(server.url, namespace), "a generation".__str__)
    assert "keeps no record of this run" in caplog.text


def test_what_nobody_expected_has_a_code_too() -> None:
    assert ending(ValueError("odd")) == ("ValueError: odd", 1)
