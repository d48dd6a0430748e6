"""The rendered objects of the demo overlay, played by podman: its cache, and pods of its API."""

import base64
import json
from copy import deepcopy
from pathlib import Path

import yaml

from tests.containers.engine import Container, Engine, ask
from tests.k8s.manifests import Object, Overlay, dig
from tests.servers import free_port

PATIENT = {"LARDER_CACHE_TIMEOUT_MS": "8000"}
"""Pods wait so long for a cache that is only slow, as it is on a busy machine."""


class Demo:
    """What the overlay says, as podman needs it."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self.secret: dict[str, bytes] = {
            key: base64.b64decode(value) for key, value in overlay.of("Secret")[0]["data"].items()
        }

    def url(self, key: str) -> str:
        """Where the cache is, by a key of the Secret; its host is ``larder-cache``."""
        return self.secret[key].decode().strip()

    def settings(self, start: str) -> dict[str, str]:
        """Those of the ConfigMap whose name starts so."""
        return dict(self._config(start)["data"])

    def cache(self, engine: Engine, image: str, network: str, folder: Path) -> Container:
        """The cache of the StatefulSet, with its settings, users and rights."""
        (workload,) = self._overlay.workloads("cache")
        (container,) = workload.containers()
        (folder / "valkey.conf").write_text(self.settings("larder-cache")["valkey.conf"])
        (folder / "users.acl").write_bytes(self.secret["users.acl"])
        options = [
            f"--network={network}",
            "--network-alias=larder-cache",
            f"--user={dig(workload.spec, 'securityContext.runAsUser')}",
            "--memory=1g",
            "--memory-swap=1g",
            f"--volume={folder / 'valkey.conf'}:/etc/larder/valkey.conf:ro",
            f"--volume={folder / 'users.acl'}:/etc/larder-users/users.acl:ro",
        ]
        return Container(engine, image, *container["command"], *container["args"], options=options)

    def pod(self, name: str, port: int, server: str, waits: dict[str, str]) -> str:
        """The API's Deployment as YAML for one pod that is reached on a port of loopback."""
        settings = deepcopy(self._config("larder-api"))
        settings["data"] |= {"LARDER_SERVER": server, **waits}
        deployment = deepcopy(self._overlay.of("Deployment")[0])
        deployment["metadata"]["name"] = name
        deployment["spec"]["replicas"] = 1
        (container,) = dig(deployment, "spec.template.spec.containers")
        (opened,) = container["ports"]
        opened |= {"hostIP": "127.0.0.1", "hostPort": port}
        text: str = yaml.safe_dump_all([settings, deployment])
        return text

    @property
    def pre_stop_seconds(self) -> int:
        (container,) = dig(self._overlay.of("Deployment")[0], "spec.template.spec.containers")
        return int(dig(container, "lifecycle.preStop.sleep.seconds"))

    def _config(self, start: str) -> Object:
        (found,) = [
            each
            for each in self._overlay.of("ConfigMap")
            if each["metadata"]["name"].startswith(start)
        ]
        return found


class Pod(Container):
    """A pod of the API's Deployment, played by podman."""

    def __init__(
        self,
        engine: Engine,
        demo: Demo,
        network: str,
        name: str,
        server: str = "gunicorn",
        waits: dict[str, str] = PATIENT,
    ) -> None:
        super().__init__(engine, "")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._network = network
        self._text = demo.pod(name, self.port, server, waits)
        self._name = name

    def start(self) -> None:
        self._engine("play", "kube", f"--network={self._network}", "-", given=self._text)
        self.id = f"{self._name}-pod-0-api"

    def ready(self) -> bool:
        """Ask its readiness probe's path."""
        return bool(ask(f"{self.url}/health/ready"))

    def degraded(self) -> bool:
        """Whether it serves what is in memory."""
        answer = ask(f"{self.url}/health/ready")
        return answer is not None and answer.json()["degraded"] is True

    def __exit__(self, *raised: object) -> None:
        self._engine("pod", "rm", "--force", "--ignore", "--time=0", f"{self._name}-pod-0")


def known_secret(engine: Engine, secret: dict[str, bytes]) -> None:
    """Give podman the Secret, in the form that its ``secretKeyRef`` reads."""
    encoded = {key: base64.b64encode(value).decode() for key, value in secret.items()}
    engine.run("podman", "secret", "rm", "larder-cache")  # of a run that was killed
    engine("secret", "create", "larder-cache", "-", given=json.dumps(encoded))
