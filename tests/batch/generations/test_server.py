"""What servers say of themselves: replicas that lag are waited for, room is known beforehand."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import redis

from app.contracts.recommendations import Namespace
from batch.errors import BadSettings, CacheUnavailable
from batch.generations.connect import connect
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.generations.registry import Generations
from batch.generations.server import Replicas, free_bytes
from tests.generations import contents, publish_by_hand, read_back
from tests.servers import Cluster, Server, wait_until

OLD, NEW = "20260101T000000Z-0001", "20260102T000000Z-0002"
USERS, ITEMS = [f"u{n}" for n in range(2000)], ["i0", "i1", "i2"]
AT_ONCE = Replicas(patience_seconds=0)


def finish(client: Any, namespace: Namespace, replicas: Replicas) -> None:
    """Publish the users under the name NEW."""
    manifest, made = contents(namespace, USERS, ITEMS)
    with hold(client, namespace) as lease:
        named = replace(manifest, generation=NEW)
        publish(client, namespace, named, made, lease, replicas=replicas)


def assert_whole(client: Any, namespace: Namespace, name: str) -> None:
    """That generation is live, and every list of it is there."""
    live = Generations(client, namespace).live_manifest()
    assert live is not None and live.generation == name
    assert len(read_back(client, namespace, live, USERS, ITEMS).users) == len(USERS)


@pytest.fixture
def replica(own_server: Server) -> Iterator[Server]:
    """A replica of the test's own server that has all that the server has."""
    with (
        Server(None, replicaof=f"127.0.0.1 {own_server.port}") as started,
        redis.Redis(port=own_server.port) as client,
    ):
        client.config_set("repl-diskless-sync-delay", 0)
        wait_until(lambda: "online" in str(client.info("replication").get("slave0")))
        yield started


def test_nothing_is_pointed_at_that_a_replica_does_not_have(
    own_server: Server, replica: Server, namespace: Namespace
) -> None:
    with closing(connect(own_server.url)) as client:
        publish_by_hand(client, namespace, OLD, USERS, ITEMS)
        replica.freeze()
        with pytest.raises(CacheUnavailable, match="only 0 of 1 replicas have what was written"):
            finish(client, namespace, AT_ONCE)
        assert_whole(client, namespace, OLD)
        finish(client, namespace, Replicas(wanted=0))
        assert_whole(client, namespace, NEW)
        with pytest.raises(CacheUnavailable, match="of 2 replicas"):
            Replicas(2, 0).wait(client)
        replica.thaw()
        Replicas().wait(client)


def test_a_failover_in_a_cluster_leaves_no_pointer_without_lists(namespace: Namespace) -> None:
    with Cluster(replicas=1) as cluster, closing(connect(cluster.url)) as client:
        publish_by_hand(client, namespace, OLD, USERS, ITEMS)
        Replicas().wait(client)
        slot = client.keyslot(namespace.live)
        pointer = sum(slot > last for last in (5460, 10922))  # which of the three has it
        primary, replica = cluster.nodes[(pointer + 1) % 3], cluster.nodes[(pointer + 1) % 3 + 3]
        replica.freeze()
        with pytest.raises(CacheUnavailable, match="only 0 of 1 replicas have what was written"):
            finish(client, namespace, AT_ONCE)
        primary.kill()
        replica.thaw()
        with redis.Redis(port=replica.port) as promoted:
            promoted.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            wait_until(lambda: promoted.info("replication")["role"] == "master")
        with closing(connect(f"redis+cluster://127.0.0.1:{replica.port}")) as again:
            assert_whole(again, namespace, OLD)
            again.disconnect_connection_pools()
        client.disconnect_connection_pools()


def test_a_cache_that_forbids_info_is_not_asked_unless_somebody_insists(
    own_server: Server, namespace: Namespace
) -> None:
    with redis.Redis(port=own_server.port) as client:
        client.execute_command("ACL", "SETUSER", "batch", "on", ">pw", "~*", "+@all", "-info")
        client.config_set("maxmemory", 1)
    with closing(connect(own_server.url.replace("//", "//batch:pw@"))) as batch:
        assert free_bytes(batch) is None
        Replicas().wait(batch)
        with pytest.raises(BadSettings, match="--wait-replicas"):
            Replicas(1).wait(batch)


def test_the_room_of_a_cache_is_known_where_there_is_a_limit_that_is_kept(
    own_server: Server,
) -> None:
    with closing(connect(own_server.url)) as client:
        assert free_bytes(client) is None
        client.config_set("maxmemory", "1gb")
        free = free_bytes(client)
        assert free is not None and 2**29 < free < 2**30
        client.config_set("maxmemory", 1)
        assert free_bytes(client) == 0
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert free_bytes(client) is None


def test_a_cluster_has_the_room_of_all_its_primaries(cluster: Cluster, cluster_client: Any) -> None:
    assert free_bytes(cluster_client) is None
    primaries = cluster_client.PRIMARIES
    cluster_client.config_set("maxmemory", "1gb", target_nodes=primaries)
    try:
        free = free_bytes(cluster_client)
        assert free is not None and 2**31 < free < 3 * 2**30
    finally:
        cluster_client.config_set("maxmemory", 0, target_nodes=primaries)
