"""What stands at the desk, when several change it, and when it cannot be read."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.contracts.decisions import Configuration, Decisions, Evaluation, Order, Policy
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Namespace
from app.decisions.desk import Desk, Look
from app.errors import CacheUnavailable
from tests.app.api.decisions.office import linked
from tests.servers import Cluster, Server


@pytest.fixture
def space(namespace: Namespace) -> Decisions:
    return Decisions(namespace.name)


@pytest.fixture
def desk(server: Server, space: Decisions) -> Iterator[Desk]:
    with linked(server) as link:
        yield Desk(link, space)


def exploring(look: Look, share: float) -> tuple[Look, str]:
    return replace(look, configuration=replace(look.configuration, exploration=share)), "why"


def test_a_change_begins_anew_where_another_was_faster(
    desk: Desk, client: Any, space: Decisions
) -> None:
    seen: list[float] = []

    def wanted(look: Look) -> tuple[Look, str]:
        seen.append(look.configuration.exploration)
        if len(seen) == 1:
            desk.change(lambda look: exploring(look, 0.9))
        return exploring(look, look.configuration.exploration / 2)

    assert desk.change(wanted).configuration.exploration == 0.45
    assert seen == [0.2, 0.9] and desk.look().configuration.exploration == 0.45
    assert client.llen(space.orders) == 2, "one for each change that was done"


def test_who_is_always_overtaken_gives_up(desk: Desk, client: Any, space: Decisions) -> None:
    def wanted(look: Look) -> tuple[Look, str]:
        desk.put_policy(Policy(str(look.policy), "--cb_explore_adf"))
        return exploring(look, 0.5)

    with pytest.raises(CacheUnavailable, match="try again"):
        desk.change(wanted)
    assert desk.look().configuration == Configuration()
    client.delete(space.desk)


@pytest.mark.parametrize("field", ["configuration", "policy", "apprentice", "logs"])
@pytest.mark.parametrize("text", ["{", "\xff", "[" * 100_000])
def test_what_no_larder_wrote_is_told(
    desk: Desk, client: Any, space: Decisions, field: str, text: str
) -> None:
    client.hset(space.desk, field, text.encode("latin-1"))
    with pytest.raises(BrokenRecord):
        desk.look()


def test_a_cluster_holds_the_desk_in_one_place(
    cluster: Cluster, cluster_client: Any, space: Decisions
) -> None:
    with linked(cluster) as link:
        desk = Desk(link, space)
        desk.put_policy(Policy("mine", "--cb_explore_adf --epsilon 0.4"))
        desk.import_model(b"\x00model", "because")
        desk.order(Order("reset"))
        assert desk.evaluations.add(Evaluation("e", "one", "", "", ""))
        assert desk.look().configuration.exploration == 0.4
    assert json.loads(cluster_client.hget(space.desk, "policy"))["name"] == "mine"
    orders = [Order.from_json(each) for each in cluster_client.lrange(space.orders, 0, -1)]
    assert [each.do for each in orders] == ["retrain", "import", "reset"]
    assert cluster_client.get(space.imported) == b"\x00model"
