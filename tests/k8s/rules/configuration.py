"""What containers are told: settings, secrets, and that each is there and is read by somebody."""

import base64
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from app.contracts.variables import BATCH, SERVING
from app.errors import BadSettings
from app.settings import Settings
from tests.k8s.manifests import Object, Overlay, Workload, dig, title

READ_BY = {"api": SERVING, "refresh": BATCH, "cache-form": {"LARDER_CACHE_URL"}}
FOREIGN = {"OMP_NUM_THREADS", "SPARK_CONF_DIR"}
"""Read by libraries."""
PRODUCTION = {
    "ConfigMap larder-population": {"users.txt"},
    "Secret larder-api-tls": {"tls.crt", "tls.key"},
    "Secret larder-cache": {"api-url", "batch-url"},
    "ConfigMap larder-cache-ca": {"ca.crt"},
}
TEAM = {"production": PRODUCTION, "spark": PRODUCTION}
"""What the README tells a team to make before it applies an overlay."""
PORTS = {"http": 80, "https": 443, "redis": 6379, "redis+cluster": 6379}
STAND_IN = "rediss://user:password@cache:6379/0"
"""For the value of a secret that the overlay does not hold."""


def every_variable_is_a_setting(overlay: Overlay) -> Iterator[str]:
    """A name that nobody reads ends the API and the job with exit code 2."""
    for workload, container in overlay.containers():
        known = FOREIGN | READ_BY.get(workload.component, frozenset())
        known |= set(re.findall(r"\$\((\w+)\)", str(container.get("args"))))
        for name in sorted(variables(overlay, container).keys() - known):
            yield f"{workload.name}: nothing in {container['name']} reads {name}"


def the_api_states_every_setting(overlay: Overlay) -> Iterator[str]:
    """Whoever wants to change a setting finds it in the ConfigMap, with a value that parses."""
    for workload, container in overlay.containers("api"):
        given = variables(overlay, container)
        for name in sorted(SERVING - given.keys()):
            yield f"{workload.name}: {name} is not stated"
        try:
            Settings.from_environment({name: given[name] for name in SERVING & given.keys()})
        except BadSettings as error:
            yield f"{workload.name}: {error}"


def every_reference_exists(overlay: Overlay) -> Iterator[str]:
    """A key, a claim or an account that a pod asks for is here, or is the team's to make."""
    for workload in overlay.workloads():
        for kind, name, key in _references(workload):
            if not _exists(overlay, kind, name, key):
                yield f"{workload.name}: there is no {kind} {f'{name}/{key}' if key else name}"
    for ingress in overlay.of("Ingress"):
        for tls in ingress["spec"].get("tls", []):
            if not _exists(overlay, "Secret", tls.get("secretName", ""), "tls.crt"):
                yield f"{title(ingress)}: there is no Secret {tls.get('secretName')}"


def every_config_is_used(overlay: Overlay) -> Iterator[str]:
    """One that no pod reads was forgotten, or is asked for by another name."""
    asked = {
        f"{kind} {name}" for each in overlay.workloads() for kind, name, _ in _references(each)
    }
    for each in overlay.of("ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim"):
        if title(each) not in asked:
            yield f"{title(each)}: no pod uses it"


def settings_roll_the_pods(overlay: Overlay) -> Iterator[str]:
    """The name of a ConfigMap ends with a hash of its content, so that a change makes new pods."""
    for each in overlay.of("ConfigMap"):
        if not re.search("-[2-9a-z]{10}$", each["metadata"]["name"]):
            yield f"{title(each)}: its name has no hash; make it by configMapGenerator"


def both_wings_serve_one_tenant(overlay: Overlay) -> Iterator[str]:
    """The refresh publishes to the namespace of the cache that the API reads."""
    named = {
        workload.name: variables(overlay, container).get("LARDER_NAMESPACE", "default")
        for workload in overlay.workloads("api", "refresh")
        for container in workload.spec.get("containers", [])
    }
    if len(set(named.values())) > 1:
        yield f"LARDER_NAMESPACE is not the same everywhere: {named}"


def urls_name_services(overlay: Overlay) -> Iterator[str]:
    """A URL whose host has no dot means a Service of the overlay, and a port of it."""
    for where, text in _urls(overlay):
        url = urlsplit(text)
        if url.hostname and "." not in url.hostname:
            service = overlay.get("Service", url.hostname)
            ports = [each["port"] for each in dig(service, "spec.ports") or []]
            port = url.port or PORTS.get(url.scheme)
            if port not in ports:
                yield f"{where}: no Service answers {url.scheme}://{url.hostname}:{port}"


def _urls(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for workload, container in overlay.containers():
        for word in literals(container):
            if "://" in word:
                yield workload.name, word.removeprefix("--url=")
    for secret in overlay.of("Secret"):
        for key, text in contents(secret).items():
            if key.endswith("-url"):
                yield f"{title(secret)}: {key}", text


def files_named_are_mounted(overlay: Overlay) -> Iterator[str]:
    """A file under /etc that an argument or another such file names comes from a volume."""
    for workload, container in overlay.containers():
        there = files(overlay, workload, container)
        words = [*container.get("command", []), *container.get("args", [])]
        told = "\n".join(there.values())
        included = re.findall(r"^[a-zA-Z.]+ +(/etc/\S+)$", told, re.MULTILINE)
        for word in [*words, *included]:
            if str(word).startswith("/etc/") and word not in there:
                yield f"{workload.name}: {container['name']} has no file {word}"


def files(overlay: Overlay, workload: Workload, container: Object) -> dict[str, str]:
    """Path and text of each file that comes from a ConfigMap or Secret of the overlay."""
    found: dict[str, str] = {}
    volumes = {each["name"]: each for each in workload.spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        for kind, field, name in (
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
        ):
            source = overlay.get(kind, dig(volume, f"{field}.{name}") or "")
            texts = contents(source) if source else {}
            keys = {each["key"]: each["path"] for each in dig(volume, f"{field}.items") or []}
            for key, text in texts.items():
                if not keys or key in keys:
                    found[f"{mount['mountPath']}/{keys.get(key, key)}"] = text
    return found


def variables(overlay: Overlay, container: Object) -> dict[str, str]:
    """The environment of a container, with a stand-in for what only the cluster knows."""
    given: dict[str, str] = {}
    for source in container.get("envFrom", []):
        config = overlay.get("ConfigMap", dig(source, "configMapRef.name") or "")
        prefix = source.get("prefix", "")
        given |= {prefix + name: text for name, text in (dig(config, "data") or {}).items()}
    for each in container.get("env", []):
        given[each["name"]] = _value(overlay, each)
    return given


def _value(overlay: Overlay, variable: Object) -> str:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value", ""))
    for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        reference = source.get(field) or {}
        if found := overlay.get(kind, reference.get("name", "")):
            return contents(found).get(reference["key"], STAND_IN)
    return STAND_IN


def contents(found: Object) -> dict[str, str]:
    """The texts of a ConfigMap or Secret."""
    encoded = (found.get("data") or {}) if found["kind"] == "Secret" else {}
    decoded = {key: base64.b64decode(text).decode() for key, text in encoded.items()}
    plain = found.get("stringData" if found["kind"] == "Secret" else "data") or {}
    return {**decoded, **plain}


def _references(workload: Workload) -> Iterator[tuple[str, str, str]]:
    """Kind, name and key of all that the pods ask for; no key where it is the whole."""
    for container in workload.containers():
        for source in container.get("envFrom", []):
            yield from _reference(source, "configMapRef", "secretRef")
        for variable in container.get("env", []):
            yield from _reference(variable.get("valueFrom", {}), "configMapKeyRef", "secretKeyRef")
    for volume in workload.spec.get("volumes", []):
        yield from _mounted(volume)
        for source in dig(volume, "projected.sources") or []:
            yield from _mounted(source)
    if account := workload.spec.get("serviceAccountName"):
        yield "ServiceAccount", account, ""


def _reference(source: Object, config: str, secret: str) -> Iterator[tuple[str, str, str]]:
    for kind, field in (("ConfigMap", config), ("Secret", secret)):
        if field in source and not source[field].get("optional"):
            yield kind, source[field].get("name", ""), source[field].get("key", "")


def _mounted(volume: Object) -> Iterator[tuple[str, str, str]]:
    if claim := dig(volume, "persistentVolumeClaim.claimName"):
        yield "PersistentVolumeClaim", claim, ""
    for kind, field, name in (
        ("ConfigMap", "configMap", "name"),
        ("Secret", "secret", "secretName"),
    ):
        if field in volume:
            source = volume[field]
            keys = [item["key"] for item in source.get("items", [])] or [""]
            for key in keys:
                yield kind, source.get(name) or source.get("name"), key


def _exists(overlay: Overlay, kind: str, name: str, key: str) -> bool:
    if found := overlay.get(kind, name):
        return not key or key in contents(found)
    keys = TEAM.get(overlay.base, {}).get(f"{kind} {name}")
    return keys is not None and (not key or key in keys)


def literals(container: Object) -> list[str]:
    """All words that the container is given as they stand."""
    words = [*container.get("command", []), *container.get("args", [])]
    return [*words, *(str(each.get("value", "")) for each in container.get("env", []))]
