"""A server beside a notebook follows what is published, and a notebook waits for that."""

import re
from collections.abc import Iterator

import pytest
import redis

from app.contracts.recommendations import Namespace
from batch.errors import Transient
from batch.generations.registry import Generations
from batch.workbench import Service, serve
from tests.generations import publish_by_hand
from tests.servers import Server

SPACE = Namespace("follow")


@pytest.fixture
def api(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("LARDER_CACHE_URL", server.url)
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE, "g1")
    service = serve(namespace=SPACE.name, workers=1)
    yield service
    service.stop()


def test_it_waits_until_another_generation_answers(api: Service, server: Server) -> None:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE, "g2")
        api.wait_for("g2")
        Generations(client, SPACE).roll_back()
        api.wait_for("g1")


def test_it_says_what_answers_in_place_of_what_is_waited_for(api: Service) -> None:
    with pytest.raises(Transient, match=re.escape("still answers from 'g1', not from 'g9'")):
        api.wait_for("g9", seconds=0)
