"""Make a Redis Cluster of the servers named, or mend one whose servers all have new addresses.

``python form.py HOST:PORT ...``: the first half become masters, the other half their replicas in
the same order; user and password are those of ``LARDER_CACHE_URL``. Each step is taken only where
it is missing, so that another run does no harm; what a failover has turned round stays so.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import redis

SLOTS = 16384
WAIT_SECONDS = 120.0

Node = dict[str, Any]


def main(addresses: Sequence[str], url: str) -> None:
    """Form the cluster. Raises TimeoutError or redis.RedisError; the same run may then help."""
    clients = [_connect(address, url) for address in addresses]
    _until("all servers answer", lambda: all(_answers(each) for each in clients))
    for address in addresses[1:]:
        host, port = address.rsplit(":", 1)
        clients[0].execute_command("CLUSTER MEET", socket.gethostbyname(host), port)
    _until("all servers know each other", lambda: _acquainted(clients))
    _share_out(clients[: len(clients) // 2])
    _until("all know who has which slots", lambda: len({_slots(each) for each in clients}) == 1)
    _replicate(clients)
    _until("the cluster is whole", lambda: all(_whole(each) for each in clients))


def _connect(address: str, url: str) -> Any:
    host, port = address.rsplit(":", 1)
    who = urlsplit(url)
    name, password = unquote(who.username or ""), unquote(who.password or "")
    return redis.Redis(
        host, int(port), username=name or None, password=password or None, driver_info=None
    )


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):  # not started, no name yet, or loading
        return False


def _acquainted(clients: Sequence[Any]) -> bool:
    everybody = {_myself(each)["id"] for each in clients}
    return all(
        everybody <= {node["id"] for node in _nodes(each) if node["connected"]} for each in clients
    )


def _share_out(masters: Sequence[Any]) -> None:
    """Give each master its range of slots, unless somebody has some of them."""
    taken = {slot for node in _nodes(masters[0]) for slot in node["slots"]}
    for number, client in enumerate(masters):
        first, last = SLOTS * number // len(masters), SLOTS * (number + 1) // len(masters) - 1
        if taken.isdisjoint(range(first, last + 1)):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)


def _replicate(clients: Sequence[Any]) -> None:
    """Make each master without slots the replica of the server half the row away."""
    for number, client in enumerate(clients):
        mine = _myself(client)
        if "master" in mine["flags"] and not mine["slots"]:
            partner = clients[(number + len(clients) // 2) % len(clients)]
            client.execute_command("CLUSTER REPLICATE", _myself(partner)["id"])


def _whole(client: Any) -> bool:
    replication = client.info("replication")
    if replication["role"] == "master" and not replication["connected_slaves"]:
        return False
    if replication.get("master_link_status", "up") != "up":
        return False
    state: str = client.execute_command("CLUSTER INFO")["cluster_state"]
    return state == "ok"


def _slots(client: Any) -> frozenset[tuple[str, int]]:
    """Who has how many slots, as the server sees it."""
    return frozenset((node["id"], len(node["slots"])) for node in _nodes(client) if node["slots"])


def _myself(client: Any) -> Node:
    return next(node for node in _nodes(client) if "myself" in node["flags"])


def _nodes(client: Any) -> list[Node]:
    known: dict[str, Any] = client.execute_command("CLUSTER NODES")
    return [
        {
            "id": node["node_id"],
            "flags": node["flags"].split(","),
            "connected": node["connected"] and "handshake" not in node["flags"],
            "slots": {slot for first, *last in node["slots"] for slot in _range(first, *last)},
        }
        for node in known.values()
    ]


def _range(first: str, last: str | None = None) -> range:
    return range(int(first), int(last or first) + 1)


def _until(what: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {WAIT_SECONDS:.0f} seconds: {what}")
        time.sleep(0.2)
    print(what, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ["LARDER_CACHE_URL"])
