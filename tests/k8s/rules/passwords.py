"""Where passwords are, and that none is where it can be read."""

import re
from collections.abc import Iterator

from tests.k8s.defects import API, FIRST, FIRST_IN_JOB, LOADTEST, catches, secret
from tests.k8s.manifests import Overlay, contents, dig, literals, title

DOORS = {"api": "api-url", "refresh": "batch-url"}
"""Of whom which key of the Secret larder-cache is: the API's user may only read."""
PASSWORD = re.compile(
    r"[a-z]://[^\s/@]*:[^\s/@]+@|^(requirepass|masterauth|primaryauth)\s+\S", re.MULTILINE
)
OPEN_USER = re.compile(
    r"^user (?!health \w+ nopass resetchannels -@all \+ping$).*\s(nopass\b|>)", re.MULTILINE
)
"""Of Valkey's rules: >password is a plain one, #hash is not; who only pings needs none."""


@catches(API, f"{FIRST}/env/0/valueFrom/secretKeyRef/key", "batch-url")
def each_wing_has_its_own_door_to_the_cache(overlay: Overlay) -> Iterator[str]:
    """The URL of the cache comes from the Secret, by the key whose user may do no more."""
    for workload, container in overlay.containers(*DOORS):
        named = {each["name"]: each for each in container.get("env", [])}
        asked = dig(named.get("LARDER_CACHE_URL"), "valueFrom.secretKeyRef")
        if asked != {"name": "larder-cache", "key": DOORS[workload.component]}:
            yield f"{workload.name}: LARDER_CACHE_URL comes from {asked}"


@catches(LOADTEST, f"{FIRST_IN_JOB}/args/1", "--url=http://me:hush@a.example.com", "production")
@catches("Secret larder-cache", "data/users.acl", secret("user operator on", "user operator on >x"))
def no_password_is_written_down(overlay: Overlay) -> Iterator[str]:
    """Only the demo has passwords of its own; no rules of access hold a readable one."""
    for where, text in _texts(overlay):
        public = overlay.name.startswith("demo") and where.startswith("Secret ")
        if where.startswith("Secret ") and not public:
            yield f"{where}: a secret is the team's to make"
        if OPEN_USER.search(text) or (PASSWORD.search(text) and not public):
            yield f"{where}: holds a plain password"


def _texts(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for each in overlay.of("Secret", "ConfigMap"):
        yield from ((title(each), text) for text in contents(each).values())
    for workload, container in overlay.containers():
        yield from ((workload.name, text) for text in literals(container))
