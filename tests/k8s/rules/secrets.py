"""Where passwords are, and that none is where it can be read."""

import hashlib
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from tests.k8s.manifests import Overlay, dig, title
from tests.k8s.rules.configuration import contents, literals

DOORS = {"api": "api-url", "refresh": "batch-url"}
"""Of whom which key of the Secret larder-cache is: the API's user may only read."""


def each_wing_has_its_own_door_to_the_cache(overlay: Overlay) -> Iterator[str]:
    """The URL of the cache comes from the Secret, by the key whose user may do no more."""
    for workload in overlay.workloads(*DOORS):
        wanted = ("larder-cache", DOORS[workload.component])
        for container in workload.spec.get("containers", []):
            by_name = {each.get("name"): each for each in container.get("env", [])}
            asked = dig(by_name.get("LARDER_CACHE_URL"), "valueFrom.secretKeyRef") or {}
            if (asked.get("name"), asked.get("key")) != wanted:
                yield f"{workload.name}: LARDER_CACHE_URL must come from {wanted}, not {asked}"


def no_more_of_a_secret_is_mounted_than_is_read(overlay: Overlay) -> Iterator[str]:
    """The cache has no use for the URLs of those who ask it."""
    for workload in overlay.workloads():
        for volume in workload.spec.get("volumes", []):
            if "secret" in volume and not volume["secret"].get("items"):
                yield f"{workload.name}: volume {volume['name']} must name the keys of its Secret"


def no_password_is_written_down(overlay: Overlay) -> Iterator[str]:
    """Only the demo has passwords of its own; no rules of access hold a readable one."""
    for each in overlay.of("Secret"):
        if not overlay.demo:
            yield f"{title(each)}: a secret is the team's to make"
    for each in overlay.of("Secret", "ConfigMap"):
        for key, text in contents(each).items():
            public = overlay.demo and each["kind"] == "Secret"
            if _has_plain_rule(text) or (_has_password(text) and not public):
                yield f"{title(each)}: {key} holds a plain password"
    for workload, container in overlay.containers():
        for text in literals(container):
            if _has_password(text) or _has_plain_rule(text):
                yield f"{workload.name}: {container['name']} holds a plain password"


def _has_password(text: str) -> bool:
    """In a URL, or as a directive of Valkey's own."""
    directive = r"^(requirepass|masterauth|primaryauth)\s+\S"
    return bool(re.search(rf"[a-z]://[^\s/@]*:[^\s/@]+@|{directive}", text, re.MULTILINE))


def _has_plain_rule(text: str) -> bool:
    """Valkey's rules: >password is a plain one, #hash is not; who only pings needs none."""
    for line in text.splitlines():
        words = line.split()
        may = {word for word in words if word.startswith(("+", "~", "allkeys", "allcommands"))}
        open_door = "nopass" in words and may != {"+ping"}
        if words[:1] == ["user"] and (open_door or any(word[0] == ">" for word in words)):
            return True
    return False


def the_cache_knows_the_passwords_of_its_urls(overlay: Overlay) -> Iterator[str]:
    """Where the cache is ours, each URL names a user whose hash is that of the URL's password."""
    for secret in overlay.of("Secret"):
        held = contents(secret)
        lines = [line.split() for line in held.get("users.acl", "").splitlines()]
        rules = {words[1]: words for words in lines if words[:1] == ["user"]}
        for key, text in held.items():
            url = urlsplit(text) if key.endswith("-url") else urlsplit("")
            digest = "#" + hashlib.sha256(unquote(url.password or "").encode()).hexdigest()
            if url.username and rules and digest not in rules.get(unquote(url.username), []):
                yield f"{title(secret)}: users.acl does not let the user of {key} in"
