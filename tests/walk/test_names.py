"""Name servers that drop, delay and change their answers: no request ever waits for one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import redis

from app.contracts.recommendations import Namespace
from tests.app.wire import Answer, get
from tests.generations import publish_by_hand
from tests.names import NameServer
from tests.servers import Cluster, Gunicorn, Server, wait_until

NAME = "cache.larder.test"
SHOP = Namespace("shop")
RARELY = {"watch_interval_ms": "60000"}
API = {"namespace": SHOP.name, "workers": "1", "near_cache_users": "0"}


def whole(url: str) -> bool:
    answer = get(url, "/health/ready")
    return answer.status == 200 and not answer.json()["degraded"]


def ask_for_everybody(url: str) -> list[Answer]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda n: get(url, f"/recommendations/u{n}"), range(40)))


def close_all_connections(client: Any) -> None:
    client.execute_command("CLIENT", "KILL", "TYPE", "normal")


def test_a_silent_name_server_costs_no_request_its_list(own_server: Server, tmp_path: Path) -> None:
    url = own_server.url.replace("127.0.0.1", NAME)
    with NameServer() as names, redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, SHOP)
        api = Gunicorn("app.http.wsgi:app", cache_url=url, **API, **RARELY)
        with names.asked_by(api, tmp_path) as asked:
            wait_until(lambda: whole(asked.url))
            names.silent = True
            close_all_connections(client)
            answers = ask_for_everybody(asked.url)
    assert [answer.json()["source"] for answer in answers] == ["personal"] * len(answers)


def test_a_name_that_is_told_late_and_then_changes_is_followed(
    own_server: Server, tmp_path: Path
) -> None:
    url = own_server.url.replace("127.0.0.1", NAME)
    with NameServer(address="127.0.0.2") as names, redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, SHOP)
        names.answering.clear()
        api = Gunicorn("app.http.wsgi:app", cache_url=url, **API, watch_interval_ms="50")
        with names.asked_by(api, tmp_path) as asked:
            assert get(asked.url, "/health/live").status == 200
            assert get(asked.url, "/recommendations/u1").json()["title"] == "Cache unavailable"
            names.answering.set()
            before = names.asked
            wait_until(lambda: names.asked > before + 2)
            assert not whole(asked.url), "nothing listens at the first address"
            names.address = "127.0.0.1"
            wait_until(lambda: whole(asked.url))


def test_nodes_that_a_cluster_calls_by_name_are_known_ahead_of_time(tmp_path: Path) -> None:
    with Cluster() as cluster, NameServer() as names:
        with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
            publish_by_hand(client, SHOP)
            client.disconnect_connection_pools()
        nodes: list[Any] = [redis.Redis(port=node.port) for node in cluster.nodes]
        for node in nodes:
            node.config_set("cluster-announce-hostname", NAME)
            node.config_set("cluster-preferred-endpoint-type", "hostname")
        wait_until(lambda: str(nodes[0].execute_command("CLUSTER SLOTS")).count(NAME) == 3)
        api = Gunicorn("app.http.wsgi:app", cache_url=cluster.url, **API, **RARELY)
        with names.asked_by(api, tmp_path) as asked:
            wait_until(lambda: whole(asked.url))
            names.silent = True
            for node in nodes:
                close_all_connections(node)
                node.close()
            answers = ask_for_everybody(asked.url)
        assert names.asked, "the nodes were called by name"
    assert [answer.json()["source"] for answer in answers] == ["personal"] * len(answers)
