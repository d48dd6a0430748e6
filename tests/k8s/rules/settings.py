"""What containers are told: settings, URLs, files that exist, and no password in the open."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from app.contracts.variables import BATCH, SERVING
from app.errors import BadSettings
from app.settings import Settings
from tests.k8s.defects import (
    API,
    CLICKS,
    DECISIONS,
    FIRST,
    FIRST_IN_JOB,
    GONE,
    LOADTEST,
    WITH_CLICKS,
    WITH_DECISIONS,
    catches,
    secret,
    text,
)
from tests.k8s.manifests import Overlay, contents, dig, literals, title

READ_BY = {
    "api": SERVING,
    "refresh": BATCH,
    "clicks": SERVING,
    "clicks-train": BATCH,
    "decisions": SERVING,
    "decisions-train": BATCH,
    "workbench": BATCH,
    "cache-form": {"LARDER_CACHE_URL"},
    "loadtest": {"LOADTEST_KEY"},
}
FOREIGN = {"OMP_NUM_THREADS", "SPARK_CONF_DIR"}
"""Read by libraries."""
CLUSTER = "demo-redis-cluster"
IN_THE_OPEN = "redis://api:hush@larder-events:6379/0"
DOORS = {
    "api": "api-url",
    "refresh": "batch-url",
    "clicks": "api-url",
    "clicks-train": "batch-url",
    "decisions": "api-url",
    "decisions-train": "batch-url",
}
"""Of whom which key of the Secrets is: the API's user publishes nothing."""
WITH_EVENTS = ("api", "refresh", "decisions", "decisions-train")
"""Who has work on the server of the events, where there is one."""
PASSWORD = re.compile(
    r"[a-z]://[^\s/@]*:[^\s/@]+@|^(requirepass|masterauth|primaryauth)\s+\S", re.MULTILINE
)
OPEN_USER = re.compile(
    r"^user (?!health \w+ nopass resetchannels -@all \+ping$).*\s(nopass\b|>)", re.MULTILINE
)
"""Of Valkey's rules: >password is a plain one, #hash is not; who only pings needs none."""
PORTS = {"http": 80, "https": 443, "redis": 6379, "redis+cluster": 6379}


@catches("ConfigMap larder-api", "data/LARDER_K", "10")
def every_variable_is_a_setting(overlay: Overlay) -> Iterator[str]:
    """A name that nobody reads ends the API and the job with exit code 2."""
    for workload, container in overlay.containers():
        known = FOREIGN | READ_BY.get(workload.component, frozenset())
        known |= set(re.findall(r"\$\((\w+)\)", str(container.get("args"))))
        for name in sorted(overlay.variables(container).keys() - known):
            yield f"{workload.name}: nothing in {container['name']} reads {name}"


@catches("ConfigMap larder-api", "data/LARDER_LOG_LEVEL", GONE)
@catches("ConfigMap larder-api", "data/LARDER_NEAR_CACHE_USERS", "many")
@catches("ConfigMap larder-clicks", "data/LARDER_WATCH_INTERVAL_MS", GONE, WITH_CLICKS)
@catches("ConfigMap larder-decisions", "data/LARDER_THREADS", GONE, WITH_DECISIONS)
def the_api_states_every_setting(overlay: Overlay) -> Iterator[str]:
    """Whoever wants to change a setting finds it in the ConfigMap, with a value that parses."""
    for workload, container in overlay.containers("api", "clicks", "decisions"):
        given = overlay.variables(container)
        for name in sorted(SERVING - given.keys()):
            yield f"{workload.name}: {name} is not stated"
        try:
            Settings.from_environment({name: given[name] for name in SERVING & given.keys()})
        except BadSettings as error:
            yield f"{workload.name}: {error}"


@catches("ConfigMap larder-refresh", "data/LARDER_NAMESPACE", "shop")
@catches("ConfigMap larder-clicks-train", "data/LARDER_NAMESPACE", "shop", WITH_CLICKS)
@catches("ConfigMap larder-decisions-train", "data/LARDER_NAMESPACE", "shop", WITH_DECISIONS)
def both_wings_serve_one_tenant(overlay: Overlay) -> Iterator[str]:
    """The refresh publishes to the namespace of the cache that the API reads."""
    named = {
        workload.name: overlay.variables(container).get("LARDER_NAMESPACE", "default")
        for workload, container in overlay.containers(*DOORS)
    }
    if len(set(named.values())) > 1:
        yield f"LARDER_NAMESPACE is not the same everywhere: {named}"


@catches(LOADTEST, f"{FIRST_IN_JOB}/args/1", "--url=http://larder-api:8000")
@catches("Secret larder-cache", "data/batch-url", secret("larder-cache:6379", "larder-redis:6379"))
def urls_name_services(overlay: Overlay) -> Iterator[str]:
    """A URL whose host has no dot means a Service of the overlay, and a port of it."""
    for where, word in _words(overlay):
        url = urlsplit(word.removeprefix("--url=")) if "://" in word else urlsplit("")
        if url.hostname and "." not in url.hostname:
            service = overlay.get("Service", url.hostname)
            ports = [each["port"] for each in dig(service, "spec.ports") or []]
            if (url.port or PORTS.get(url.scheme)) not in ports:
                yield f"{where}: no Service answers {url.scheme}://{url.hostname}:{url.port}"


def _words(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for workload, container in overlay.containers():
        yield from ((workload.name, word) for word in literals(container))
    for each in overlay.of("Secret"):
        yield from ((title(each), word) for word in contents(each).values() if "\n" not in word)


@catches("Job larder-cache-form", f"{FIRST}/command/1", "/etc/larder/x.py", CLUSTER)
@catches("ConfigMap larder-cache", "data/cluster.conf", text("replication.conf", "x"), CLUSTER)
def files_named_are_mounted(overlay: Overlay) -> Iterator[str]:
    """A file under /etc that an argument or another such file names comes from a volume."""
    for workload, container in overlay.containers():
        there = overlay.files(workload, container)
        told = "\n".join(there.values())
        included = re.findall(r"^[a-zA-Z.]+ +(/etc/\S+)$", told, re.MULTILINE)
        for word in [*container.get("command", []), *container.get("args", []), *included]:
            if word.startswith("/etc/") and word not in there:
                yield f"{workload.name}: {container['name']} has no file {word}"


@catches(API, f"{FIRST}/env/0/valueFrom/secretKeyRef/key", "batch-url")
@catches(API, f"{FIRST}/env/1", {"name": "LARDER_EVENTS_URL", "value": ""}, "production")
@catches(CLICKS, f"{FIRST}/env/0/valueFrom/secretKeyRef/key", "batch-url", WITH_CLICKS)
@catches(DECISIONS, f"{FIRST}/env/1/valueFrom/secretKeyRef/key", "batch-url", WITH_DECISIONS)
def each_wing_has_its_own_door_to_a_server(overlay: Overlay) -> Iterator[str]:
    """The URLs come from the Secrets, by the key whose user may do no more."""
    for workload, container in overlay.containers(*DOORS):
        servers = {"LARDER_CACHE_URL": "larder-cache"}
        if overlay.workloads("events") and workload.component in WITH_EVENTS:
            servers["LARDER_EVENTS_URL"] = "larder-events"
        named = {each["name"]: each for each in container.get("env", [])}
        for variable, secret_name in servers.items():
            asked = dig(named.get(variable), "valueFrom.secretKeyRef")
            if asked != {"name": secret_name, "key": DOORS[workload.component]}:
                yield f"{workload.name}: {variable} comes from {asked}"


@catches(LOADTEST, f"{FIRST_IN_JOB}/args/1", "--url=http://me:hush@a.example.com", "production")
@catches("Secret larder-cache", "data/users.acl", secret("user operator on", "user operator on >x"))
@catches("ConfigMap larder-api", "data/LARDER_EVENTS_URL", IN_THE_OPEN, "production")
def no_password_is_written_down(overlay: Overlay) -> Iterator[str]:
    """Only the demo has passwords of its own; no rules of access hold a readable one."""
    for where, found in _texts(overlay):
        public = overlay.name.startswith("demo") and where.startswith("Secret ")
        if where.startswith("Secret ") and not public:
            yield f"{where}: a secret is the team's to make"
        if OPEN_USER.search(found) or (PASSWORD.search(found) and not public):
            yield f"{where}: holds a plain password"


def _texts(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for each in overlay.of("Secret", "ConfigMap"):
        yield from ((title(each), found) for found in contents(each).values())
    for workload, container in overlay.containers():
        yield from ((workload.name, word) for word in literals(container))
