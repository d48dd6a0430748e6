"""A stand-in for the parts of Kubernetes that Spark's driver meets, with podman for a node.

``Api`` answers HTTPS as the API server does: create, get, list, watch, delete and deletecollection
of pods in one namespace, after the token and the Role were asked. ``Node`` makes a container of each
pod, tells how it ends, and kills it when the pod is deleted. What a pod owns is deleted with it.
"""

import json
import ssl
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from kubernetes_validate import ValidationError, validate

from tests.containers.engine import Engine
from tests.k8s.manifests import Object, Overlay, dig
from tests.k8s.rules.pods import pods_are_restricted
from tests.k8s.rules.schema import MINORS

HOST = "kubernetes.default.svc"
VERBS = {"POST": "create", "DELETE": "delete", "PATCH": "patch", "PUT": "update"}
_HANDSHAKE = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


class Refused(Exception):
    """An answer other than 2xx: its code, its reason, a sentence."""

    def __init__(self, code: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.reason = code, reason


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, as the rules of a Role name it."""

    verb: str
    resource: str
    name: str
    query: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, method: str, target: str, namespace: str) -> "Request":
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        start = f"/api/v1/namespaces/{namespace}/"
        resource, _, name = url.path.removeprefix(start).partition("/")
        if not url.path.startswith(start) or "/" in name:
            return cls(method.lower(), url.path, "", query)
        if method == "GET":
            watches = query.get("watch") in ("true", "1")
            verb = "watch" if watches else "get" if name else "list"
        else:
            verb = VERBS[method] if name or method == "POST" else "deletecollection"
        return cls(verb, resource, name, query)

    def means(self, pod: Object) -> bool:
        """Whether a pod has the labels and fields that are asked for."""
        return all(
            _value(labels_or_pod, key) in wanted
            for labels_or_pod, selector in (
                (dig(pod, "metadata.labels") or {}, self.query.get("labelSelector", "")),
                (pod, self.query.get("fieldSelector", "")),
            )
            for key, wanted in _requirements(selector)
        )


def _value(found: Object, key: str) -> Any:
    return found[key] if key in found else dig(found, key)


def _requirements(selector: str) -> Iterator[tuple[str, list[str]]]:
    """``a=1,b in (2,3)``: what each must be."""
    while selector:
        if " in (" in selector.partition(",")[0]:
            key, _, rest = selector.partition(" in (")
            values, _, selector = rest.partition(")")
            yield key, values.split(",")
        else:
            one, _, selector = selector.partition(",")
            key, _, value = one.partition("=")
            yield key, [value.removeprefix("=")]
        selector = selector.removeprefix(",")


class Pods:
    """The pods of a namespace and what happened to them, in order."""

    def __init__(self) -> None:
        self._found: dict[str, Object] = {}
        self._events: list[tuple[str, Object]] = []
        self.changed = Condition()

    def put(self, kind: str, pod: Object) -> Object:
        """Note that a pod was ADDED, MODIFIED or DELETED."""
        with self.changed:
            name = pod["metadata"]["name"]
            if kind == "ADDED" and name in self._found:
                raise Refused(409, "AlreadyExists", f'pods "{name}" already exists')
            if kind != "ADDED" and name not in self._found:
                raise Refused(404, "NotFound", f'pods "{name}" not found')
            pod = deepcopy(pod)
            pod["metadata"]["resourceVersion"] = str(len(self._events) + 1)
            self._events.append((kind, pod))
            self._found[name] = pod
            if kind == "DELETED":
                del self._found[name]
            self.changed.notify_all()
            return pod

    def get(self, name: str) -> Object:
        with self.changed:
            if name not in self._found:
                raise Refused(404, "NotFound", f'pods "{name}" not found')
            return deepcopy(self._found[name])

    def all(self) -> list[Object]:
        with self.changed:
            return deepcopy(list(self._found.values()))

    @property
    def version(self) -> int:
        with self.changed:
            return len(self._events)

    def since(self, version: int) -> list[tuple[str, Object]]:
        """What happened after a version; waits for it, a quarter of a second at most."""
        with self.changed:
            self.changed.wait_for(lambda: len(self._events) > version, 0.25)
            return deepcopy(self._events[version:])


class Node:
    """Makes containers of pods by podman, as the kubelet does by its runtime.

    images: the name that podman knows an image by; contents: of a kind, a name and a key, the text.
    """

    def __init__(
        self,
        engine: Engine,
        network: str,
        folder: Path,
        pods: Pods,
        images: Callable[[str], str],
        contents: Callable[[str, str], dict[str, str]],
        identity: Path,
    ) -> None:
        self._engine, self._network, self._folder, self._pods = engine, network, folder, pods
        self._images, self._contents, self._identity = images, contents, identity
        (found,) = json.loads(engine("network", "inspect", network))
        (subnet,) = found["subnets"]
        self.gateway: str = subnet["gateway"]
        self._prefix = self.gateway.rpartition(".")[0]
        self._last = 100
        self._made: dict[str, str] = {}
        self.logs: dict[str, str] = {}
        self.doing: list[Thread] = []

    def run(self, pod: Object) -> None:
        """Make its containers; says so, and later how it ended."""
        self._start(self._run, pod)

    def remove(self, pod: Object) -> None:
        """Kill it, and say that it is gone."""
        self._start(self._remove, pod)

    def container(self, pod: Object) -> str:
        """What podman calls the container of a pod."""
        return self._made[pod["metadata"]["uid"]]

    def _start(self, what: Callable[[Object], None], pod: Object) -> None:
        self.doing.append(Thread(target=what, args=(pod,), daemon=True))
        self.doing[-1].start()

    def _run(self, pod: Object) -> None:
        self._last += 1
        address = f"{self._prefix}.{self._last}"
        identifier = self._engine("run", *self._words(pod, address)).splitlines()[-1]
        self._made[pod["metadata"]["uid"]] = identifier
        (container,) = pod["spec"]["containers"]
        told = {"name": container["name"], "ready": True, "state": {"running": {}}}
        status = {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
        self._tell(pod, "Running", {**status, "containerStatuses": [told]})
        code = int(self._engine("wait", identifier))
        told = {**told, "ready": False, "state": {"terminated": {"exitCode": code}}}
        self._tell(
            pod, "Failed" if code else "Succeeded", {"podIP": address, "containerStatuses": [told]}
        )

    def _tell(self, pod: Object, phase: str, status: Object) -> None:
        with suppress(Refused):  # it was deleted meanwhile
            now = self._pods.get(pod["metadata"]["name"])
            if now["metadata"]["uid"] == pod["metadata"]["uid"]:
                self._pods.put("MODIFIED", {**now, "status": {"phase": phase, **status}})

    def _remove(self, pod: Object) -> None:
        if identifier := self._made.get(pod["metadata"]["uid"]):
            self._engine("stop", "--time=5", identifier)
            done = self._engine.run("podman", "logs", identifier)
            self.logs[pod["metadata"]["name"]] = done.stdout + done.stderr
            self._engine("rm", "--force", "--time=0", "--volumes", identifier)
        with suppress(Refused):
            self._pods.put("DELETED", pod)

    def _words(self, pod: Object, address: str) -> Iterator[str]:
        """The arguments of ``podman run`` that do what the pod says."""
        (container,) = pod["spec"]["containers"]
        given = self._variables(pod, container, address)
        secured = container["securityContext"]
        user = dig(pod, "spec.securityContext.runAsUser")
        yield from ("--detach", f"--network={self._network}", f"--ip={address}")
        yield from (f"--hostname={pod['metadata']['name'][-63:]}", f"--user={user}:{user}")
        yield f"--add-host={HOST}:{self.gateway}"
        yield from ("--read-only-tmpfs=false", f"--read-only={secured['readOnlyRootFilesystem']}")
        yield from (f"--cap-drop={each}" for each in secured["capabilities"]["drop"])
        if secured["allowPrivilegeEscalation"] is False:
            yield "--security-opt=no-new-privileges"
        memory = container["resources"]["limits"]["memory"].removesuffix("i").lower()
        yield from (f"--memory={memory}", f"--memory-swap={memory}")
        yield from (f"--env={name}={value}" for name, value in given.items())
        yield from self._volumes(pod, container)
        if "command" in container:
            yield f"--entrypoint={json.dumps(container['command'])}"
        yield self._images(container["image"])
        for word in container.get("args", []):
            for name, value in given.items():
                word = word.replace(f"$({name})", value)
            yield word

    def _variables(self, pod: Object, container: Object, address: str) -> dict[str, str]:
        given: dict[str, str] = {}
        known = {**pod, "status": {"podIP": address}, "limits": dig(container, "resources.limits")}
        for source in container.get("envFrom", []):
            given |= self._contents("ConfigMap", dig(source, "configMapRef.name"))
        for each in container.get("env", []):
            source = each.get("valueFrom", {})
            if path := dig(source, "fieldRef.fieldPath") or dig(source, "resourceFieldRef.resource"):
                given[each["name"]] = str(dig(known, path))
            elif secret := source.get("secretKeyRef"):
                given[each["name"]] = self._contents("Secret", secret["name"])[secret["key"]]
            else:
                assert not source, f"the stand-in does not understand {each}"
                given[each["name"]] = str(each.get("value", ""))
        return given

    def _volumes(self, pod: Object, container: Object) -> Iterator[str]:
        volumes = {each["name"]: each for each in pod["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            folder = self._folder / pod["metadata"]["uid"] / mount["name"]
            folder.mkdir(parents=True)
            if "configMap" in volume:
                for key, text in self._contents("ConfigMap", volume["configMap"]["name"]).items():
                    (folder / key).write_text(text)
            else:
                assert "emptyDir" in volume, f"the stand-in does not understand {volume}"
                folder.chmod(0o777)
            rights = "ro" if mount.get("readOnly") else "rw"
            yield f"--volume={folder}:{mount['mountPath']}:{rights}"
        if pod["spec"].get("automountServiceAccountToken") is not False:
            yield f"--volume={self._identity}:/var/run/secrets/kubernetes.io/serviceaccount:ro"


class Api:
    """The API server of one namespace, of an overlay's objects.

    role: what whoever comes with the token may do. asked: how often each verb was, allowed or not.
    """

    def __init__(
        self,
        engine: Engine,
        network: str,
        folder: Path,
        overlay: Overlay,
        secrets: dict[str, dict[str, str]],
        images: Callable[[str], str],
    ) -> None:
        self._overlay, self._secrets = overlay, secrets
        self.namespace: str = overlay.of("Namespace")[0]["metadata"]["name"]
        self.role: list[Object] = []
        self.asked: Counter[str] = Counter()
        self.refused: list[str] = []
        self.created: list[Object] = []
        self.pods = Pods()
        self._token = uuid.uuid4().hex
        identity = self._identity(engine, folder)
        self.node = Node(engine, network, folder, self.pods, images, self._contents, identity)
        self._server = _Server((self.node.gateway, 443), _Handler)
        self._server.api = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity / "ca.crt", folder / "key.pem")
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    def _identity(self, engine: Engine, folder: Path) -> Path:
        """The files that a pod with a token finds, and the server's own key beside."""
        found = folder / "identity"
        found.mkdir()
        done = engine.run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"),
            *("-keyout", str(folder / "key.pem"), "-out", str(found / "ca.crt")),
        )
        assert done.returncode == 0, done.stderr
        (found / "token").write_text(self._token)
        (found / "namespace").write_text(self.namespace)
        return found

    def _contents(self, kind: str, name: str) -> dict[str, str]:
        if kind == "Secret":
            return self._secrets[name]
        found = self._overlay.get(kind, name)
        assert found, f"there is no {kind} {name}"
        return dict(found["data"])

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        for pod in self.pods.all():
            self.delete(pod)
        for each in self.node.doing:
            each.join(60)
        self._server.ended = True
        self._server.shutdown()
        self._server.server_close()

    def create(self, pod: Object) -> Object:
        """Take a pod in, as whoever may."""
        self._admit(pod)
        made = deepcopy(pod)
        made["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "namespace": self.namespace,
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        made["status"] = {"phase": "Pending"}
        made = self.pods.put("ADDED", made)
        self.created.append(made)
        self.node.run(made)
        return made

    def _admit(self, pod: Object) -> None:
        """Refuse what Kubernetes' schema does not know, and what is not restricted."""
        for minor in MINORS:
            try:
                validate(pod, minor, strict=True)
            except ValidationError as error:
                raise Refused(422, "Invalid", error.message) from error
        job = {"kind": "Job", "metadata": pod["metadata"], "spec": {"template": pod}}
        if problems := list(pods_are_restricted(Overlay("any", [job]))):
            raise Refused(403, "Forbidden", f"violates PodSecurity: {problems}")

    def delete(self, pod: Object) -> None:
        """Delete a pod, and what it owns."""
        for each in self.pods.all():
            owners = [owner["uid"] for owner in each["metadata"].get("ownerReferences", [])]
            if pod["metadata"]["uid"] in owners:
                self.delete(each)
        self.node.remove(pod)

    def authorize(self, token: str, request: Request) -> None:
        """Raises Refused, unless a rule of the Role allows it."""
        if token != f"Bearer {self._token}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        what = f"{request.verb} {request.resource}"
        self.asked[what] += 1
        if not any(
            "" in rule["apiGroups"]
            and request.resource in rule["resources"]
            and request.verb in rule["verbs"]
            and request.name in rule.get("resourceNames", [request.name])
            for rule in self.role
        ):
            self.refused.append(what)
            raise Refused(403, "Forbidden", f"cannot {what}")

    def answer(self, request: Request, body: Object) -> tuple[int, Object]:
        """Do what is asked and allowed, for all but a watch."""
        if request.verb == "create":
            return 201, self.create(body)
        if request.verb == "get":
            return 200, self.pods.get(request.name)
        if request.verb == "delete":
            pod = self.pods.get(request.name)
            self.delete(pod)
            return 200, pod
        found = [pod for pod in self.pods.all() if request.means(pod)]
        if request.verb == "deletecollection":
            for pod in found:
                self.delete(pod)
        elif request.verb != "list":
            raise Refused(405, "MethodNotAllowed", f"the stand-in knows no {request.verb}")
        version = {"resourceVersion": str(self.pods.version)}
        return 200, {"apiVersion": "v1", "kind": "PodList", "metadata": version, "items": found}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: Api
    ended = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        api = self.server.api
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        try:
            request = Request.of(self.command, self.path, api.namespace)
            api.authorize(self.headers.get("Authorization", ""), request)
            if request.verb == "watch":
                self._watch(request)
            else:
                self._send(*api.answer(request, body))
        except Refused as refused:
            status = {"apiVersion": "v1", "kind": "Status", "status": "Failure"}
            told = {"message": str(refused), "reason": refused.reason, "code": refused.code}
            self._send(refused.code, {**status, **told})

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _serve

    def _send(self, code: int, found: Object) -> None:
        content = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _watch(self, request: Request) -> None:
        """Tell what happens for as long as somebody listens, over a WebSocket."""
        self.close_connection = True
        key = self.headers.get("Sec-WebSocket-Key")
        if key is None:
            raise Refused(400, "BadRequest", "the stand-in lets watch over a WebSocket only")
        accepted = b64encode(sha1((key + _HANDSHAKE).encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accepted)
        self.end_headers()
        pods = self.server.api.pods
        version = int(request.query.get("resourceVersion") or 0)
        with suppress(OSError):
            while not self.server.ended:
                for kind, pod in pods.since(version):
                    version = int(pod["metadata"]["resourceVersion"])
                    if request.means(pod):
                        self._frame({"type": kind, "object": pod})

    def _frame(self, found: Object) -> None:
        content = json.dumps(found).encode()
        size = len(content)
        length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)
        self.wfile.write(b"\x81" + (length if size < 65536 else b"\x7f" + size.to_bytes(8)) + content)

    def log_message(self, *arguments: object) -> None:
        """Nothing: what was asked is counted."""
