"""What a user does over HTTP is felt by every worker of a real server."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from app.contracts.recommendations import Namespace
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Api, Server, wait_until


@pytest.mark.parametrize("kind", SERVERS)
def test_what_was_bought_never_comes_back_from_any_worker(
    server: Server, client: Any, namespace: Namespace, kind: str
) -> None:
    publish_by_hand(client, namespace)
    settings = {"server": kind, "events": "true", "watch_interval_ms": "50"}
    with Api(server.url, namespace.name, **settings) as api:
        wait_until(lambda: all("i2" in each for each in _lists(api)))
        event = {"type": "purchase", "user": "u1", "item": "i2"}
        assert _ask(f"{api.url}/events", event)["accepted"] == 1
        wait_until(lambda: not any("i2" in each for each in _lists(api)))
        assert _lists(api) == [["i3", "i1"]] * 30


def _lists(api: Api) -> list[list[str]]:
    """Those of enough requests, each on a connection of its own, that no worker is left out."""
    answers = [_ask(f"{api.url}/recommendations/u1") for _ in range(30)]
    return [[each["item"] for each in answer["recommendations"]] for answer in answers]


def _ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return {"recommendations": [], "problem": json.load(error)}
