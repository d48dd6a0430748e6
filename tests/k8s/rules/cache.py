"""The cache, where it is ours: it keeps what it has, and lets in nobody without a password."""

import re
from collections.abc import Iterator
from itertools import pairwise

from tests.k8s.manifests import Object, Overlay, Workload, dig
from tests.k8s.rules.configuration import files

MUST = {"maxmemory-policy": "noeviction", "appendonly": "yes"}
NODE = re.compile(r"[a-z-]+-\d+\.[a-z-]+:\d+")
SHARE = 0.8
"""Of the memory limit, for what is kept; the rest is for buffers and rewriting the log."""


def the_cache_refuses_rather_than_forgets(overlay: Overlay) -> Iterator[str]:
    """It is full before Kubernetes kills it, saves what it has, and throws nothing away."""
    for workload in overlay.workloads("cache"):
        told = _directives(overlay, workload)
        for name, value in MUST.items():
            if told.get(name) != value:
                yield f"{workload.name}: {name} is {told.get(name)}, must be {value}"
        limit = dig(_server(workload), "resources.limits.memory")
        if not 0 < _bytes(told.get("maxmemory")) <= SHARE * _bytes(limit):
            yield f"{workload.name}: maxmemory must be at most {SHARE:.0%} of {limit}"


def the_cache_asks_for_a_password(overlay: Overlay) -> Iterator[str]:
    """Its rules of access are read, and switch off the user that needs none."""
    for workload in overlay.workloads("cache"):
        told = _directives(overlay, workload)
        there = files(overlay, workload, _server(workload))
        if "user default off" not in there.get(told.get("aclfile", ""), ""):
            yield f"{workload.name}: the user default is not off in an aclfile"


def the_cache_may_read_its_own_log(overlay: Overlay) -> Iterator[str]:
    """Valkey 8.1 replays it as the user default: without that user's rights it starts empty."""
    for workload in overlay.workloads("cache"):
        there = files(overlay, workload, _server(workload))
        rules = there.get(_directives(overlay, workload).get("aclfile", ""), "")
        (default,) = [line for line in rules.splitlines() if line.startswith("user default ")]
        if not {"~*", "+@all"} <= set(default.split()):
            yield f"{workload.name}: the user default must keep ~* and +@all, although it is off"


def the_cache_lets_its_probes_ask(overlay: Overlay) -> Iterator[str]:
    """Their user is one of the rules, and may ping."""
    for workload in overlay.workloads("cache"):
        told = _directives(overlay, workload)
        there = files(overlay, workload, _server(workload))
        rules = there.get(told.get("aclfile", ""), "").splitlines()
        allowed = {words[1] for words in map(str.split, rules) if {"on", "+ping"} <= {*words}}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            command = dig(_server(workload), f"{kind}.exec.command") or []
            users = [user for name, user in pairwise(command) if name == "--user"]
            if command[:1] != ["valkey-cli"] or "ping" not in command or not {*users} & allowed:
                yield f"{workload.name}: {kind} must ping as one of {sorted(allowed)}: {command}"


def whoever_names_the_nodes_names_each(overlay: Overlay) -> Iterator[str]:
    """A node that is left out is not of the cluster; one too many is waited for in vain."""
    for workload, container in overlay.containers():
        words = (NODE.fullmatch(str(word)) for word in container.get("args", []))
        named = {word[0] for word in words if word}
        there = {name for each in overlay.of("StatefulSet") for name in _nodes(each)}
        for name in sorted(named ^ there if named else ()):
            yield f"{workload.name}: {name} is named without being there, or not named"


def _nodes(owner: Object) -> list[str]:
    name, service = owner["metadata"]["name"], dig(owner, "spec.serviceName")
    return [f"{name}-{n}.{service}:6379" for n in range(dig(owner, "spec.replicas") or 1)]


def the_cache_writes_to_its_claim(overlay: Overlay) -> Iterator[str]:
    """One that writes elsewhere, or cannot write there, is empty after a restart."""
    for workload in overlay.workloads("cache"):
        claims = dig(workload.owner, "spec.volumeClaimTemplates") or []
        names = [dig(each, "metadata.name") for each in claims]
        container = _server(workload)
        mounts = {each["mountPath"]: each["name"] for each in container.get("volumeMounts", [])}
        folder = _directives(overlay, workload).get("dir", container.get("workingDir"))
        if mounts.get(folder) not in names:
            yield f"{workload.name}: writes to {folder}, which is no claim"


def _directives(overlay: Overlay, workload: Workload) -> dict[str, str]:
    """What the file of its first argument says, and those that are included there."""
    container = _server(workload)
    there = files(overlay, workload, container)
    told: dict[str, str] = {}
    waiting = [str(word) for word in container.get("args", [])[:1]]
    while waiting:
        for line in there.get(waiting.pop(), "").splitlines():
            name, _, value = line.partition(" ")
            if name == "include":
                waiting.append(value)
            elif name and name != "#":
                told[name] = value
    return told


def _server(workload: Workload) -> Object:
    return next(iter(workload.spec.get("containers", [])), {})


def _bytes(text: str | None) -> int:
    """Of Valkey (mb) and of Kubernetes (Mi), which mean the same."""
    found = re.fullmatch(r"(\d+)([kmg]?)[bi]?", str(text).lower())
    return int(found[1]) * 1024 ** " kmg".index(found[2] or " ") if found else 0
