"""The rules that a worker follows: none is missed, whatever becomes of the cache meanwhile."""

import logging
from pathlib import Path
from typing import Any

import pytest
import redis

from app.cache.connect import connect
from app.cache.resolver import Resolver
from app.contracts.recommendations import Namespace
from app.contracts.rules import NONE, Version, rules_key
from app.recommendations.loading import TIMEOUT_MS
from app.recommendations.rules.known import KnownRules
from app.recommendations.watcher import Watcher
from tests.app.served import following, patient
from tests.generations import publish_by_hand
from tests.servers import Server

FIRST, SECOND = "20260101T000000Z-0001", "20260101T000001Z-0002"
U1 = "/recommendations/u1"


def hide(client: Any, namespace: Namespace, *hidden: str, number: int = 1) -> None:
    """Put such rules in force."""
    text = Version(number, "", "", "", {"hide": [*hidden]}).to_json()
    client.hset(rules_key(namespace.name), str(number), text)


def test_what_could_not_be_read_is_read_at_the_next_look(client: Any, namespace: Namespace) -> None:
    known = KnownRules(namespace.name)
    client.set(known.key, "no hash, so that reading it fails")
    with pytest.raises(redis.ResponseError):
        known.follow(client, 1)
    client.delete(known.key)
    hide(client, namespace, "i2")
    known.follow(client, 1)
    assert known.version.rules == {"hide": ["i2"]}


def test_rules_that_were_written_anew_while_the_cache_was_away_are_seen(
    own_server: Server, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, namespace)
        hide(client, namespace, "i2")
        with following(own_server, namespace) as worker:
            assert "i2" not in worker.items(U1)
            own_server.kill()
            worker.watcher.poll()
            own_server.start()
            publish_by_hand(client, namespace)
            hide(client, namespace, "i1")
            worker.watcher.poll()
            assert "i1" not in worker.items(U1)
    assert "lost the rules" not in caplog.text


def test_what_is_hidden_does_not_wait_for_a_generation_that_loads(
    server: Server, client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    def hiding(url: str, timeout_ms: int, resolver: Resolver) -> Any:
        if timeout_ms == TIMEOUT_MS:  # a load begins
            hide(client, namespace, "i2", number=client.hlen(rules_key(namespace.name)) + 1)
        return connect(url, timeout_ms, resolver)

    publish_by_hand(client, namespace, FIRST)
    settings = patient(server, namespace, documents_folder=str(tmp_path))
    watcher = Watcher(settings, connect=hiding, spread_seconds=0)
    watcher.poll()
    assert watcher.live().rules.version.number == 1
    publish_by_hand(client, namespace, SECOND, items=[f"i{n}" for n in range(5000)])
    client.delete(namespace.part(SECOND, "items:18"))  # so that it is never served
    watcher.poll()
    assert watcher.live().manifest.generation == FIRST
    assert watcher.live().rules.version.number == 2
    watcher.stop()


def test_what_is_left_out_is_logged_once(
    server: Server, client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    publish_by_hand(client, namespace, FIRST)
    with following(server, namespace) as worker:
        publish_by_hand(client, namespace, SECOND)
        hide(client, namespace, "gone")
        worker.watcher.poll()
        assert worker.watcher.live().manifest.generation == SECOND
        assert caplog.text.count("left out of the rules") == 1
        hide(client, namespace, number=2)
        worker.watcher.poll()
        hide(client, namespace, "gone", number=3)
        worker.watcher.poll()
        assert caplog.text.count("left out of the rules") == 2


def test_a_worker_that_starts_without_the_cache_knows_the_rules_of_its_machine(
    own_server: Server, namespace: Namespace, tmp_path: Path
) -> None:
    folder = str(tmp_path)
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, namespace)
        with following(own_server, namespace, documents_folder=folder) as worker:
            assert "i0" in worker.items("/recommendations/nobody")
            hide(client, namespace, "i0")
            worker.watcher.poll()
    own_server.kill()
    with following(own_server, namespace, documents_folder=folder) as worker:
        assert worker.watcher.live().rules.version.number == 1
        assert "i0" not in worker.items("/recommendations/nobody")
        (file,) = tmp_path.glob("*/*.rules")
        file.write_text("1 {")
    with following(own_server, namespace, documents_folder=folder) as worker:
        assert worker.watcher.live().rules.version == NONE
