"""How the tutorial of coffees finds the cache, and waits for the trainer and the API."""

from typing import Any

import pytest

from app.contracts.decisions import Decisions
from app.contracts.recommendations import Namespace
from batch.command.decisions import tutorial
from batch.command.options import CacheOptions
from batch.command.stack.up import get
from batch.errors import Transient
from tests.decisions import publish_by_hand
from tests.servers import Api, Server, wait_until


def test_it_waits_for_an_api_that_has_not_taken_the_model_yet(
    server: Server, client: Any, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has none says null; where nothing is published there is nothing to wait for."""
    learned = Namespace(f"{namespace.name}-learned")
    publish_by_hand(client, Decisions(learned.name))
    monkeypatch.setattr(tutorial, "PATIENCE_SECONDS", 0.3)
    with Api(server.url, namespace.name, decisions="only", auth="proxy") as api:
        tutorial.wait_until_obeyed(api.url, CacheOptions(server.url, namespace))
        with pytest.raises(Transient, match="the API did not take the model"):
            tutorial.wait_until_obeyed(api.url, CacheOptions(server.url, learned))
    with Api(server.url, learned.name, decisions="only", auth="proxy") as api:
        wait_until(lambda: bool(get(f"{api.url}/health/ready")["generation"]))
        for published in (learned, namespace):
            tutorial.wait_until_obeyed(api.url, CacheOptions(server.url, published))


def test_it_finds_the_cache_as_every_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LARDER_CACHE_URL", raising=False)
    monkeypatch.setenv("LARDER_NAMESPACE", "coffee")
    usual = CacheOptions("redis://127.0.0.1:6379/0", Namespace("coffee"))
    assert tutorial.cache_in_force() == usual
    monkeypatch.setenv("LARDER_CACHE_URL", "redis://elsewhere:6380/1")
    assert tutorial.cache_in_force().url == "redis://elsewhere:6380/1"
