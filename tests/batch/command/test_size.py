"""The estimates of ``larder size``, held against what real servers say at two sizes."""

import json
from uuid import UUID

import pytest
import redis

from app.contracts.recommendations import Namespace
from batch.command.size import (
    Deployment,
    check_room,
    figures,
    generation_bytes,
    member_bytes,
)
from batch.errors import CacheUnavailable
from batch.generations.lock import hold
from batch.generations.publish import publish
from tests.generations import live_contents, publish_by_hand
from tests.servers import Server, run, run_here

ITEMS = [f"item {number:05}" for number in range(2_000)]
DOCUMENT_BYTES = len('{"item":"item 00000","title":"Title of 1000"}')


def _measured(users: list[str], k: int) -> float:
    """Bytes that a server uses more for a generation, without what any server with clients has."""
    sizes = []
    for some in (users[:1], users):
        with Server() as server, redis.Redis.from_url(server.url) as client:
            before = client.info("memory")["used_memory"]
            publish_by_hand(client, Namespace("size"), users=some, items=ITEMS[: len(some)], k=k)
            sizes.append(client.info("memory")["used_memory"] - before)
    return float(sizes[1] - sizes[0])


@pytest.mark.parametrize("count", [10_000, 40_000])
@pytest.mark.parametrize("k", [10, 20])
def test_the_memory_of_a_generation_is_what_servers_use(count: int, k: int) -> None:
    users = [str(UUID(int=number * 2**64 + 1)) for number in range(count)]
    plan = Deployment(
        users=count, items=len(ITEMS), k=k, id_bytes=36, document_bytes=DOCUMENT_BYTES
    )
    assert generation_bytes(plan) == pytest.approx(_measured(users, k), rel=0.1)


def test_a_list_too_long_to_be_packed_costs_more_than_its_bytes() -> None:
    assert member_bytes(10, 11) - member_bytes(10, 10) > 6 * 5


def test_every_figure_has_a_formula_and_grows_with_its_cause() -> None:
    small = list(figures(Deployment(users=1_000, items=100, requests_per_second=10)))
    large = list(figures(Deployment(users=9_000, items=900, requests_per_second=9_000)))
    for before, after in zip(small, large, strict=True):
        assert before.name == after.name and after.formula
        assert after.amount > before.amount > 0


def test_the_command_prints_them() -> None:
    done = run("size", "--users", "1000000", "--items", "100000", "--rps", "500")
    assert done.returncode == 0
    for name in ("cache memory", "API cores", "network to callers"):
        assert name in done.stdout


def test_programs_read_the_same() -> None:
    done = run_here("size", "--users", "1000", "--items", "100", "--json")
    told = json.loads(done.stdout)
    assert list(told) == [
        "one_generation_in_the_cache",
        "cache_memory_maxmemory",
        "cache_memory_all_copies",
        "api_cores",
        "api_workers",
        "memory_of_one_api_worker",
        "documents_on_each_machine",
        "network_to_callers",
        "network_to_the_cache",
    ]
    first = next(figures(Deployment(users=1000, items=100)))
    assert told["one_generation_in_the_cache"] == {
        "amount": pytest.approx(first.amount, abs=1e-3),
        "unit": "MB",
        "formula": first.formula,
    }


def test_nobody_at_all_is_refused() -> None:
    done = run_here("size", "--users", "0", "--items", "5")
    assert done.returncode == 2
    assert "--users" in done.stderr


@pytest.mark.parametrize(
    "room, told",
    [(None, False), (1.26, False), (1.24, True), (0.81, True), (0.79, None), (0, None)],
)
def test_room_is_compared_with_what_a_generation_takes(
    caplog: pytest.LogCaptureFixture, room: float | None, told: bool | None
) -> None:
    """None: not enough for certain."""
    needed = Deployment(users=1_000_000, items=100_000)
    free = None if room is None else int(room * generation_bytes(needed))
    if told is None:
        with pytest.raises(CacheUnavailable, match="will take about 93.7 MB .* maxmemory"):
            check_room(needed, free)
    else:
        check_room(needed, free)
        assert ("will take about 93.7 MB" in caplog.text) == told


def test_the_memory_of_a_live_generation_is_what_servers_use() -> None:
    users = [str(UUID(int=number * 2**64 + 1)) for number in range(10_000)]
    sizes = []
    for some in (users[:1], users):
        with Server() as server, redis.Redis.from_url(server.url) as client:
            before = client.info("memory")["used_memory"]
            space, items = Namespace("size"), ITEMS[: len(some)]
            manifest, made = live_contents(space, some, items, k=10, stored=50, width=64)
            with hold(client, space) as lease:
                publish(client, space, manifest, made, lease)
            sizes.append(client.info("memory")["used_memory"] - before)
    plan = Deployment(
        users=len(users),
        items=len(ITEMS),
        id_bytes=36,
        document_bytes=DOCUMENT_BYTES,
        stored=50,
        factors=64,
    )
    assert generation_bytes(plan) == pytest.approx(sizes[1] - sizes[0], rel=0.1)


def test_a_live_generation_is_planned_by_what_it_stores() -> None:
    plain, live, longer = (
        json.loads(run_here("size", "--users", "1000", "--items", "100", "--json", *more).stdout)
        for more in ([], ["--live"], ["--live", "--stored", "99", "--factors", "256"])
    )
    for name in (
        "one_generation_in_the_cache",
        "documents_on_each_machine",
        "network_to_the_cache",
        "memory_of_one_api_worker",
    ):
        assert plain[name]["amount"] < live[name]["amount"] < longer[name]["amount"]
