"""The cache and the events' server, where they are ours: each keeps what it has, and lets in nobody
without a password.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from tests.k8s.defects import CACHE, FIRST, catches, secret, text
from tests.k8s.manifests import Object, Overlay, Workload, dig, title

NODE = re.compile(r"[a-z-]+-\d+\.[a-z-]+:\d+")
SERVERS = ("cache", "events")
EVENTS = "ConfigMap larder-events"
SHARE = 0.8
"""Of the memory limit, for what is kept; the rest is for buffers and rewriting the log."""


@catches("ConfigMap larder-cache", "data/valkey.conf", text("noeviction", "allkeys-lru"))
@catches("ConfigMap larder-cache", "data/valkey.conf", text("maxmemory 640mb", "maxmemory 900mb"))
@catches(EVENTS, "data/valkey.conf", text("appendonly yes", "appendonly no"), "production")
def the_cache_refuses_rather_than_forgets(overlay: Overlay) -> Iterator[str]:
    """It is full before Kubernetes kills it, saves what it has, and throws nothing away."""
    for workload in overlay.workloads(*SERVERS):
        told = _directives(overlay, workload)
        if (told.get("maxmemory-policy"), told.get("appendonly")) != ("noeviction", "yes"):
            yield f"{workload.name}: must be noeviction, and appendonly"
        limit = dig(_server(workload), "resources.limits.memory")
        if not 0 < _bytes(told.get("maxmemory")) <= SHARE * _bytes(limit):
            yield f"{workload.name}: maxmemory must be at most {SHARE:.0%} of {limit}"


@catches(EVENTS, "data/valkey.conf", text("always", "everysec"), "production")
def an_acknowledged_event_is_on_the_disk(overlay: Overlay) -> Iterator[str]:
    """Lists can be made again, what users did cannot."""
    for workload in overlay.workloads("events"):
        if _directives(overlay, workload).get("appendfsync") != "always":
            yield f"{workload.name}: appendfsync must be always"


@catches("PersistentVolumeClaim larder-events", "spec/accessModes", ["ReadWriteOnce"], "spark")
def what_many_nodes_mount_can_be_mounted(overlay: Overlay) -> Iterator[str]:
    """Spark's executors read the claim that its driver writes."""
    for each in overlay.of("PersistentVolumeClaim"):
        name = each["metadata"]["name"]
        mounting = [pod for pod in overlay.workloads() if f"'claimName': '{name}'" in str(pod.spec)]
        if len(mounting) > 1 and each["spec"]["accessModes"] != ["ReadWriteMany"]:
            yield f"{title(each)}: {len(mounting)} kinds of pods mount it, on several nodes"


@catches(
    "Secret larder-cache", "data/users.acl", secret("user default off ~* &*", "user default off")
)
def nobody_gets_in_without_a_user(overlay: Overlay) -> Iterator[str]:
    """The default user is off, but keeps its rights: as such Valkey 8.1 replays its own log."""
    for workload in overlay.workloads(*SERVERS):
        if "user default off ~* &* +@all" not in _users(overlay, workload):
            yield f"{workload.name}: the user default is not off with all rights in an aclfile"


@catches("Secret larder-cache", "data/users.acl", secret("user health on", "user health off"))
@catches(CACHE, f"{FIRST}/livenessProbe/exec/command/3", "me")
def the_cache_lets_its_probes_ask(overlay: Overlay) -> Iterator[str]:
    """Their user is one of the rules, and may ping."""
    for workload in overlay.workloads(*SERVERS):
        users = [line.split() for line in _users(overlay, workload)]
        allowed = {words[1] for words in users if {"on", "+ping"} <= {*words}}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            command = dig(_server(workload), f"{kind}.exec.command") or []
            asks_as = {user for name, user in pairwise(command) if name == "--user"}
            if command[:1] != ["valkey-cli"] or "ping" not in command or not asks_as & allowed:
                yield f"{workload.name}: {kind} must ping as one of {sorted(allowed)}: {command}"


@catches(CACHE, "spec/replicas", 5, "demo-redis-cluster")
def whoever_names_the_nodes_names_each(overlay: Overlay) -> Iterator[str]:
    """A node that is left out is not of the cluster; one too many is waited for in vain."""
    there = {
        f"{each['metadata']['name']}-{number}.{dig(each, 'spec.serviceName')}:6379"
        for each in overlay.of("StatefulSet")
        for number in range(dig(each, "spec.replicas") or 1)
    }
    for workload, container in overlay.containers():
        named = {word for word in container.get("args", []) if NODE.fullmatch(word)}
        if named and named != there:
            yield f"{workload.name}: {sorted(named ^ there)} are not there, or not named"


@catches(CACHE, f"{FIRST}/volumeMounts/0/mountPath", "/dat")
def the_cache_writes_to_its_claim(overlay: Overlay) -> Iterator[str]:
    """One that writes elsewhere, or cannot write there, is empty after a restart."""
    for workload in overlay.workloads(*SERVERS):
        claims = [
            dig(each, "metadata.name") for each in workload.owner["spec"]["volumeClaimTemplates"]
        ]
        mounts = {each["mountPath"]: each["name"] for each in _server(workload)["volumeMounts"]}
        folder = _directives(overlay, workload).get("dir", "")
        if mounts.get(folder) not in claims:
            yield f"{workload.name}: writes to {folder}, which is no claim"


def _users(overlay: Overlay, workload: Workload) -> list[str]:
    """The lines of the rules of access that the server is told to read."""
    path = _directives(overlay, workload).get("aclfile", "")
    return overlay.files(workload, _server(workload)).get(path, "").splitlines()


def _directives(overlay: Overlay, workload: Workload) -> dict[str, str]:
    """What the file of its first argument says, and those that are included there."""
    there = overlay.files(workload, _server(workload))
    told: dict[str, str] = {}
    waiting = [str(word) for word in _server(workload).get("args", [])[:1]]
    while waiting:
        for line in there.get(waiting.pop(), "").splitlines():
            name, _, value = line.partition(" ")
            if name == "include":
                waiting.append(value)
            elif name and name != "#":
                told[name] = value
    return told


def _server(workload: Workload) -> Object:
    return workload.containers()[0]


def _bytes(told: str | None) -> int:
    """Of Valkey (mb) and of Kubernetes (Mi), which mean the same."""
    found = re.fullmatch(r"(\d+)([kmg]?)[bi]?", str(told).lower())
    return int(found[1]) * 1024 ** " kmg".index(found[2] or " ") if found else 0
