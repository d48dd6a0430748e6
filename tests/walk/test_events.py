"""Events over the wire: every server takes them, other trackers' own clients, and on bad days."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from threading import Event as Flag
from typing import Any

import psutil
import pytest
import redis
from redis.crc import key_slot

from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace
from app.errors import EventsUnavailable
from app.events.stream import Stream
from app.settings import Settings
from tests.app.served import Heedful
from tests.app.wire import Answer, kept_alive, send
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Api, Cluster, Server, environment, wait_until

SPACE = Namespace("events")
KEY = Streams(SPACE.name).events
JSON = {"Content-Type": "application/json"}

SDKS = """
import sys

import segment.analytics.client
import rudderstack.analytics.client

for module, write_key in ((segment.analytics, "segment"), (rudderstack.analytics, "rudder")):
    failed = []
    tell = lambda error, items: failed.append(error)
    client = module.client.Client(write_key, host=sys.argv[1], on_error=tell, max_retries=0)
    client.identify("019mr8mf4r", {"email": "a@b.example"})
    client.track("019mr8mf4r", "Product Viewed", {"product_id": write_key + "-1"})
    client.track("019mr8mf4r", "Order Completed", {"products": [{"product_id": write_key + "-2"}]})
    client.page("019mr8mf4r", "Docs", "Python")
    client.flush()
    client.join()
    assert not failed, failed
"""


@pytest.fixture(scope="module", params=SERVERS)
def api(request: pytest.FixtureRequest, server: Server) -> Iterator[Api]:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)
    with Api(server.url, SPACE.name, server=request.param, events="true", workers="1") as started:
        yield started


@pytest.fixture(autouse=True)
def empty(client: Any) -> None:
    client.delete(KEY)


def written(client: Any) -> list[Event]:
    return [Event.decode(entry) for _, entry in client.xrange(KEY)]


def click(number: int) -> dict[str, Any]:
    return {"id": f"e{number}", "type": "click", "user": f"u{number % 7}", "item": "i"}


def post(api: Api, body: Any, **headers: str) -> Answer:
    return send(api.url, "POST", "/events", body, {**JSON, **headers})


def test_every_server_takes_events_whole_and_in_pieces(api: Api, client: Any) -> None:
    whole = json.dumps([click(number) for number in range(500)])
    assert post(api, whole).json()["accepted"] == 500
    pieces = (piece.encode() for piece in ('{"events":[', json.dumps(click(500)), "]}"))
    answer = post(api, pieces, **{"Content-Type": "text/plain"})
    assert (answer.status, answer.json()["accepted"]) == (202, 1)
    assert [each.id for each in written(client)] == [f"e{number}" for number in range(501)]
    assert post(api, "x" * 524_289).status == 413


def test_the_clients_of_segment_and_rudderstack_deliver(api: Api, client: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SDKS, api.url], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [(each.type, each.item, each.user) for each in written(client)] == [
        (kind, f"{tracker}-{number}", "019mr8mf4r")
        for tracker in ("segment", "rudder")
        for number, kind in ((1, "click"), (2, "purchase"))
    ]


def test_the_program_of_the_readme_delivers_a_purchase(api: Api, client: Any) -> None:
    text = (Path(__file__).parents[2] / "app" / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"(?ms)^```python\n(from segment.*?)^```", text)
    told = program.replace("http://127.0.0.1:8000", api.url)
    subprocess.run([sys.executable, "-c", told], env=environment(), check=True)
    (event,) = written(client)
    assert (event.type, event.item, event.user) == ("purchase", "356", "a-visitor")


def test_no_acknowledged_event_is_lost_when_their_server_or_the_api_is_killed(
    server: Server, tmp_path: Path
) -> None:
    durable = Server(tmp_path, appendonly="yes", appendfsync="always")
    acknowledged: list[str] = []
    ended = Flag()

    def load(url: str, numbers: Iterator[int]) -> None:
        while not ended.is_set():
            with suppress(OSError, HTTPException), kept_alive(url) as connection:
                send_some(connection, numbers)  # until the worker is killed

    def send_some(connection: HTTPConnection, numbers: Iterator[int]) -> None:
        while not ended.is_set():
            number = next(numbers)
            connection.request("POST", "/events", json.dumps(click(number)), JSON)
            response = connection.getresponse()
            response.read()
            if response.status == 202:
                acknowledged.append(f"e{number}")
            else:
                assert response.status == 503

    def more() -> None:
        known = len(acknowledged)
        wait_until(lambda: len(acknowledged) > known + 50)

    settings = {"events_url": durable.url, "events": "true", "workers": "1"}
    with (
        durable,
        Api(server.url, SPACE.name, **settings) as started,
        ThreadPoolExecutor(3) as threads,
    ):
        loads = [threads.submit(load, started.url, count(part * 1_000_000)) for part in range(3)]
        try:
            for _ in range(3):
                more()
                durable.kill()
                durable.start()
                more()
                assert started._process is not None
                psutil.Process(started._process.pid).children()[0].kill()
            more()
        finally:
            ended.set()
        for each in loads:
            each.result()
        with redis.Redis.from_url(durable.url) as client:
            kept = {each.id for each in written(client)}
    assert set(acknowledged) <= kept
    assert len(acknowledged) > 200


def test_a_cluster_takes_events_again_when_the_node_of_its_url_has_died() -> None:
    names = (f"shop-{number}" for number in range(100))
    name = next(name for name in names if key_slot(Streams(name).events.encode()) <= 5460)
    with Cluster(replicas=1) as cluster:
        first, *others = cluster.nodes
        settings = Settings(cache_url=cluster.url, namespace=name, cache_timeout_ms=4000)
        with closing(Stream(settings, Heedful())) as stream:
            stream.add([Event(id="e1", type="click", time=1, user="u", item="i")], 1)
            with redis.Redis(port=first.port) as master:
                wait_until(lambda: _has_copied(master.info("replication")))
            for each in cluster.nodes:  # before, a node that is late is not held for dead
                with redis.Redis(port=each.port) as node:
                    node.config_set("cluster-node-timeout", 1000)
            first.kill()
            wait_until(lambda: _is_taken(stream, "e2"))
        with closing(redis.RedisCluster(port=others[0].port, host="127.0.0.1")) as client:
            found: Any = client.xrange(Streams(name).events)
            client.disconnect_connection_pools()
    assert [entry[b"id"] for _, entry in found] == [b"e1", b"e2"]


def _has_copied(told: Any) -> bool:
    """Whether the replica has all; what it lacks is lost with its master."""
    return bool(told["slave0"]["offset"] == told["master_repl_offset"])


def _is_taken(stream: Stream, name: str) -> bool:
    try:
        stream.add([Event(id=name, type="click", time=1, user="u", item="i")], 1)
    except EventsUnavailable:
        return False
    return True
