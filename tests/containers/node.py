"""A stand-in for a node of Kubernetes and the list of its pods: podman makes containers of them.

It reads what our overlay and Spark write into a pod, and fails at anything else.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import count
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from batch.datasets.movielens import SMALL
from tests.containers.engine import Engine
from tests.containers.images import tag
from tests.k8s.manifests import Object, dig
from tests.k8s.rules.pods import image_name

SERVER = "kubernetes.default.svc"
"""What pods call the API server."""
FILMS = "/films"
"""Where all pods find them, as they would find a team's storage."""
IDENTITY = "/var/run/secrets/kubernetes.io/serviceaccount"
GRACE_SECONDS = 5
FIRST_ADDRESS = 201
"""Of those that podman gives out last."""


class Refused(Exception):
    """An answer that is not 2xx: its code, its reason, a sentence."""

    def __init__(self, code: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.reason = code, reason


class Pods:
    """The pods of a namespace, and what happened to them in order."""

    def __init__(self) -> None:
        self._found: dict[str, Object] = {}
        self._events: list[tuple[str, Object]] = []
        self._changed = Condition()

    def put(self, kind: str, pod: Object) -> Object:
        """Note that a pod was ADDED, MODIFIED or DELETED. Raises Refused."""
        name = pod["metadata"]["name"]
        with self._changed:
            if kind == "ADDED" and name in self._found:
                raise Refused(409, "AlreadyExists", f'pods "{name}" already exists')
            if kind != "ADDED":
                self.get(name)
            pod = deepcopy(pod)
            pod["metadata"]["resourceVersion"] = str(len(self._events) + 1)
            self._events.append((kind, pod))
            self._found[name] = pod
            if kind == "DELETED":
                del self._found[name]
            self._changed.notify_all()
            return pod

    def get(self, name: str) -> Object:
        """Raises Refused when it is not there."""
        with self._changed:
            if name not in self._found:
                raise Refused(404, "NotFound", f'pods "{name}" not found')
            return deepcopy(self._found[name])

    def all(self) -> list[Object]:
        with self._changed:
            return deepcopy(list(self._found.values()))

    @property
    def version(self) -> int:
        with self._changed:
            return len(self._events)

    def since(self, version: int) -> list[tuple[str, Object]]:
        """What happened after a version; waits for something, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._events) > version, 0.25)
            return deepcopy(self._events[version:])


class Node:
    """Makes a container of each pod, tells how it ends, removes it.

    contents: of a kind and a name, what that ConfigMap or Secret holds; identity: of an account,
    the folder with its token.
    """

    def __init__(
        self,
        engine: Engine,
        network: str,
        folder: Path,
        contents: Callable[[str, str], dict[str, str]],
        identity: Callable[[str], Path],
    ) -> None:
        self._engine, self._network, self._folder = engine, network, folder
        self._contents, self._identity = contents, identity
        (found,) = json.loads(engine("network", "inspect", network))
        self.gateway: str = found["subnets"][0]["gateway"]
        self._numbers = count(FIRST_ADDRESS)
        self._containers: dict[str, str] = {}
        self._threads: list[Thread] = []
        self._logs: dict[str, str] = {}
        self.pods = Pods()

    def start(self, pod: Object) -> None:
        """Make its container; says when it runs and, later, how it ended."""
        address = f"{self.gateway.rpartition('.')[0]}.{next(self._numbers)}"
        made = self._engine("run", *self._words(pod, address)).splitlines()[-1]
        self._containers[_uid(pod)] = made
        self._tell(pod, address, "Running", {"running": {}})
        self._later(self._follow, pod, address)

    def remove(self, pod: Object) -> None:
        """End it, and say when it is gone."""
        self._later(self._remove, pod)

    def kill(self, pod: Object) -> None:
        """Kill -9 its first process."""
        self._engine("kill", self._containers[_uid(pod)])

    def logs(self, pod: Object) -> str:
        """What it said, also when it is gone."""
        if _uid(pod) in self._logs:
            return self._logs[_uid(pod)]
        done = self._engine.run("podman", "logs", self._containers[_uid(pod)])
        return done.stdout + done.stderr

    def command_lines(self, pod: Object) -> str:
        """Those of all its processes, as anybody on the node sees them."""
        return self._engine("top", self._containers[_uid(pod)], "args")

    def join(self) -> None:
        """Wait until all that was begun is done."""
        for each in self._threads:
            each.join(60)

    def _later(self, do: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(Thread(target=do, args=arguments, daemon=True))
        self._threads[-1].start()

    def _follow(self, pod: Object, address: str) -> None:
        code = int(self._engine("wait", self._containers[_uid(pod)]))
        phase = "Failed" if code else "Succeeded"
        self._tell(pod, address, phase, {"terminated": {"exitCode": code}})

    def _tell(self, pod: Object, address: str, phase: str, state: Object) -> None:
        ready = "running" in state
        status = {
            "phase": phase,
            "podIP": address,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": pod["spec"]["containers"][0]["name"], "ready": ready, "state": state}
            ],
        }
        with suppress(Refused):  # it was deleted meanwhile
            now = self.pods.get(pod["metadata"]["name"])
            self.pods.put("MODIFIED", {**now, "status": status})

    def _remove(self, pod: Object) -> None:
        identifier = self._containers[_uid(pod)]
        self._engine.run("podman", "stop", f"--time={GRACE_SECONDS}", identifier)
        self._logs.setdefault(_uid(pod), self.logs(pod))
        self._engine.run("podman", "rm", "--force", "--time=0", "--volumes", identifier)
        with suppress(Refused):  # it was deleted twice
            self.pods.put("DELETED", pod)

    def _words(self, pod: Object, address: str) -> Iterator[str]:
        """The arguments of ``podman run`` that do what the pod says, and bring the films."""
        (container,) = pod["spec"]["containers"]
        given = self._variables(pod, container, address)
        user = dig(pod, "spec.securityContext.runAsUser")
        yield from ("--detach", "--passwd=false", f"--network={self._network}", f"--ip={address}")
        yield from (f"--hostname={pod['metadata']['name'][-63:]}", f"--user={user}:{user}")
        yield f"--add-host={SERVER}:{self.gateway}"
        yield from _rights(container)
        yield from (f"--env={name}={value}" for name, value in given.items())
        yield from self._volumes(pod, container)
        yield f"--volume={SMALL}:{FILMS}:ro"
        if "command" in container:
            yield f"--entrypoint={json.dumps(container['command'])}"
        yield tag(image_name(container))
        for word in container.get("args", []):
            for name, value in given.items():
                word = word.replace(f"$({name})", value)
            yield word

    def _variables(self, pod: Object, container: Object, address: str) -> dict[str, str]:
        known = {**pod, "status": {"podIP": address}, "limits": dig(container, "resources.limits")}
        given: dict[str, str] = {}
        for source in container.get("envFrom", []):
            given |= self._contents("ConfigMap", source["configMapRef"]["name"])
        for each in container.get("env", []):
            given[each["name"]] = self._value(each, known)
        return given

    def _value(self, variable: Object, known: Object) -> str:
        source = variable.get("valueFrom", {})
        if secret := source.get("secretKeyRef"):
            return self._contents("Secret", secret["name"])[secret["key"]]
        if path := dig(source, "fieldRef.fieldPath") or dig(source, "resourceFieldRef.resource"):
            return str(dig(known, path))
        assert not source, f"the stand-in does not understand {variable}"
        return str(variable.get("value", ""))

    def _volumes(self, pod: Object, container: Object) -> Iterator[str]:
        volumes = {each["name"]: each for each in pod["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            folder = self._folder / _uid(pod) / mount["name"]
            folder.mkdir(parents=True)
            if "configMap" in volume:
                for key, text in self._files(volume["configMap"]).items():
                    (folder / key).write_text(text)
            else:
                assert "emptyDir" in volume, f"the stand-in does not understand {volume}"
                folder.chmod(0o777)
            rights = "ro" if mount.get("readOnly") else "rw"
            yield f"--volume={folder}:{mount['mountPath']}:{rights}"
        if pod["spec"].get("automountServiceAccountToken") is not False:
            identity = self._identity(pod["spec"]["serviceAccountName"])
            yield f"--volume={identity}:{IDENTITY}:ro"

    def _files(self, source: Object) -> dict[str, str]:
        """Those of a ConfigMap; none of one that is optional and not there."""
        try:
            return self._contents("ConfigMap", source["name"])
        except LookupError:
            if not source.get("optional"):
                raise
            return {}


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def _rights(container: Object) -> Iterator[str]:
    secured = container["securityContext"]
    memory = container["resources"]["limits"]["memory"].removesuffix("i").lower()
    yield from (f"--memory={memory}", f"--memory-swap={memory}")
    yield from ("--read-only-tmpfs=false", f"--read-only={secured['readOnlyRootFilesystem']}")
    yield from (f"--cap-drop={each}" for each in secured["capabilities"]["drop"])
    if secured["allowPrivilegeEscalation"] is False:
        yield "--security-opt=no-new-privileges"
