"""A model that somebody goes back to comes with its policy."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.contracts.decisions import Decisions, Policy
from app.contracts.learning.policies import DEFAULT
from app.contracts.recommendations import Namespace
from batch.command.cli import cli
from batch.decisions.desk import Desk
from tests.decisions import ONE, SLOTS, TWO, publish_by_hand
from tests.servers import Server


@pytest.fixture
def space(client: Any, namespace: Namespace) -> Iterator[Decisions]:
    """Two models of two policies, of which the second is in force."""
    made = Decisions(namespace.name)
    publish_by_hand(client, made)
    publish_by_hand(client, made, TWO, arguments=SLOTS)
    client.hset(made.desk, "policy", Policy("slots", SLOTS).to_json())
    yield made


def test_a_rollback_puts_the_policy_of_its_model_in_force(
    server: Server, client: Any, space: Decisions, capsys: Any
) -> None:
    def larder(*words: str) -> str:
        where = ["--cache-url", server.url, "--namespace", space.name]
        cli.main(["decisions", *words, *where], standalone_mode=False)
        return str(capsys.readouterr().out)

    assert f"{TWO} (live)" in larder("show") and "guard" not in larder("show")
    client.hset(space.desk, "guard", '{"at": "2026-01-01", "why": "it earned less"}')
    assert "the guard, 2026-01-01: it earned less" in larder("show")
    assert "is in force again" in larder("rollback")
    assert Desk(client, space).policy().arguments == DEFAULT.arguments
    assert f"{TWO} (withdrawn)" in larder("show", TWO) and f"{ONE} (live)" in larder("show")
    assert "is in force again" in larder("rollback", TWO)
    assert Desk(client, space).policy().arguments == SLOTS
    assert "in force" not in larder("rollback", TWO)
