"""Which image a container runs, as whom, and where that program may write."""

import re
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache

from tests.k8s.defects import API, FIRST, POD, catches
from tests.k8s.manifests import HOUSE, Object, Overlay, dig

BUILT = {
    "larder-api": ("app/Dockerfile", "api"),
    "larder-batch": ("batch/Dockerfile", "implicit"),
    "larder-batch-spark": ("batch/Dockerfile", "spark"),
    "larder-clicks": ("app/Dockerfile", "clicks"),
    "larder-decisions": ("batch/Dockerfile", "decisions"),
    "larder-demo": ("batch/Dockerfile", "demo"),
    "larder-loadtest": ("loadtest/Dockerfile", ""),
    "larder-workbench": ("batch/workbench/Dockerfile", ""),
}
"""Our images, the Dockerfile that each is built by, and its stage there."""
FETCHED = {"valkey/valkey:8.1": "999"}
"""The images of others, and the user that each is made for."""


@cache
def version() -> str:
    """That of setup.cfg."""
    parsed = ConfigParser()
    parsed.read(HOUSE / "setup.cfg")
    return parsed["metadata"]["version"]


def image_name(container: Object) -> str:
    """The name of its image, without registry and tag."""
    return str(container.get("image", "")).rpartition("/")[2].partition(":")[0]


@catches(API, f"{FIRST}/image", "larder-api:latest")
@catches(API, f"{POD}/securityContext/runAsUser", 1000)
def images_are_run_as_their_user(overlay: Overlay) -> Iterator[str]:
    """Ours carry the version of setup.cfg, and their files belong to the user of the Dockerfile."""
    for workload, container in overlay.containers():
        image, user = container.get("image", ""), dig(workload.spec, "securityContext.runAsUser")
        made_for = FETCHED.get(image, _user(image_name(container)))
        if image not in FETCHED and not image.endswith(f":{version()}"):
            yield f"{workload.name}: image {image!r} is not of the version {version()}"
        if str(user) != made_for:
            yield f"{workload.name}: runs as {user}, {image!r} is made for {made_for}"


def _user(image: str) -> str | None:
    """Whom the Dockerfile names, where it has the stage of that image."""
    path, stage = BUILT.get(image, ("", ""))
    text = (HOUSE / path).read_text() if path else ""
    users = re.findall(r"^USER (\d+)", text, re.MULTILINE) if f" AS {stage}" in text else []
    return users[-1] if users else None


@catches(API, f"{FIRST}/volumeMounts/0/mountPath", "/var/tmp")
def our_programs_have_a_folder_to_write_to(overlay: Overlay) -> Iterator[str]:
    """Their root is read-only, and they work in /tmp."""
    for workload, container in overlay.containers():
        mounts = [each["mountPath"] for each in container.get("volumeMounts", [])]
        ours = image_name(container) in BUILT and "command" not in container
        if ours and "/tmp" not in mounts:
            yield f"{workload.name}: {container['name']} has no /tmp to write to"
