"""``larder decisions train``, ``models``, ``show``, ``export``, ``rollback``, as users run them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vowpalwabbit import Workspace

from app.contracts.decisions import Decisions
from app.contracts.recommendations import Namespace
from tests.batch.decisions.logged import context, entry, ranked, taste, write
from tests.servers import Server, run_here

Larder = Callable[..., Any]


@pytest.fixture
def larder(server: Server, namespace: Namespace) -> Larder:
    variables = {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": namespace.name}
    return lambda *given: run_here("decisions", *given, variables=variables)


def test_a_log_becomes_models_that_are_listed_shown_and_taken_away(
    larder: Larder, client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    space = Decisions(namespace.name)
    write(client, space, taste(50))
    done = larder("train", f"{tmp_path / 'logs'}")
    assert done.returncode == 0 and "0 entries wait for their windows to close" in done.stdout
    write(client, space, [entry(0, ranked("x"), 10_000_000)])
    assert larder("train", f"{tmp_path / 'logs'}").returncode == 0
    told = json.loads(larder("models", "--json").stdout)
    newest, first = told["generations"]
    assert newest["generation"] == told["live"] and newest["events"] == first["events"] + 1
    lines = larder("models").stdout.splitlines()
    assert newest["generation"] in lines[1] and " live " in lines[1]
    assert (
        f"learned {newest['events']} decisions until {newest['position']}" in larder("show").stdout
    )
    assert json.loads(larder("show", first["generation"], "--json").stdout)["hash"]
    model = tmp_path / "model.vw"
    assert larder("export", f"{model}").returncode == 0
    said = Workspace(f"-i {model} --json --quiet -t").predict(context(3).decode())
    assert len(said) == 3 and sum(said) == pytest.approx(1)
    assert larder("rollback").returncode == 0
    assert json.loads(larder("models", "--json").stdout)["live"] == first["generation"]


def test_commands_say_that_nothing_is_published(larder: Larder) -> None:
    for done in (larder("show"), larder("rollback")):
        assert done.returncode == 2 and "nothing" in done.stderr or "no model" in done.stderr
    assert "there is no model 'x'; published are: none" in larder("show", "x").stderr
    assert larder("models").stdout.startswith("nothing is published")
    assert larder("train").stdout.startswith("learned until nothing")
