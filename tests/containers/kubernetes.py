"""A stand-in for the API server of Kubernetes, as far as Spark's driver asks it.

It answers HTTPS: create, get, list, watch, delete and deletecollection of pods in one namespace.
Who asks is known by a token, and may do what the overlay's RoleBindings and Roles say. A pod must
fit the schema and the restricted profile; what a pod owns is deleted with it.
"""

import json
import re
import ssl
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Self
from urllib.parse import parse_qs, urlsplit

from kubernetes_validate import ValidationError, validate

from tests.containers.engine import Engine
from tests.containers.node import SERVER, Node, Refused
from tests.k8s.manifests import Object, Overlay, dig
from tests.k8s.rules.pods import pods_are_restricted
from tests.k8s.rules.schema import MINORS

VERBS = {"POST": "create", "DELETE": "delete", "PATCH": "patch", "PUT": "update"}
HANDSHAKE = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, in the words of a Role."""

    verb: str
    resource: str
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, method: str, target: str, namespace: str) -> "Request":
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        start = f"/api/v1/namespaces/{namespace}/"
        resource, _, name = url.path.removeprefix(start).partition("/")
        if not url.path.startswith(start) or "/" in name:
            return cls(method.lower(), url.path)
        if method == "GET":
            verb = "watch" if query.get("watch") == "true" else "get" if name else "list"
        else:
            verb = VERBS[method] if name or method == "POST" else "deletecollection"
        return cls(verb, resource, name, query)

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"

    def means(self, pod: Object) -> bool:
        """Whether a pod has the labels and fields that are asked for. Raises Refused."""
        labels = dig(pod, "metadata.labels") or {}
        return all(
            (labels.get(key) in values) is wanted
            for key, values, wanted in _requirements(self.query.get("labelSelector", ""))
        ) and all(
            (dig(pod, key) in values) is wanted
            for key, values, wanted in _requirements(self.query.get("fieldSelector", ""))
        )


def _requirements(selector: str) -> Iterator[tuple[str, list[str], bool]]:
    """``a=1,b!=2,c in (3,4)``: a key, values, and whether it must be one of them."""
    for one in re.split(r",(?![^(]*\))", selector) if selector else []:
        found = re.fullmatch(r"([\w./-]+)(?:(==?|!=)([^=(]*)| (in|notin) \((.*)\))", one)
        if not found:
            raise Refused(501, "NotImplemented", f"the stand-in does not understand {one!r}")
        values = [found[3]] if found[2] else found[5].split(",")
        yield found[1], values, (found[2] or found[4]) in ("=", "==", "in")


class Api:
    """The API server of an overlay's namespace, with one node.

    secrets: what the team makes, by name and key. asked: how often each request was; refused: what
    was neither done nor not there; created: the pods, as they were asked for.
    """

    def __init__(
        self,
        engine: Engine,
        network: str,
        folder: Path,
        overlay: Overlay,
        secrets: Mapping[str, dict[str, str]],
    ) -> None:
        self._engine, self._folder = engine, folder
        self._overlay, self._secrets = overlay, secrets
        self._accounts: dict[str, str] = {}
        self.namespace: str = overlay.of("Namespace")[0]["metadata"]["name"]
        self.asked: Counter[str] = Counter()
        self.refused: list[str] = []
        self.created: list[Object] = []
        self.node = Node(engine, network, folder, self._contents, self._identity)
        self.pods = self.node.pods
        self._server = _Server((self.node.gateway, 443), _Handler)
        self._server.api = self
        self._server.encrypt(*self._certificate())

    def _certificate(self) -> tuple[Path, Path]:
        certificate, key = self._folder / "ca.crt", self._folder / "ca.key"
        subject = ("-subj", f"/CN={SERVER}", "-addext", f"subjectAltName=DNS:{SERVER}")
        files = ("-keyout", str(key), "-out", str(certificate))
        done = self._engine.run("openssl", "req", "-x509", "-days", "2", *KEY, *subject, *files)
        assert done.returncode == 0, done.stderr
        return certificate, key

    def _identity(self, account: str) -> Path:
        """The files that a pod of this account finds: a token of its own, and whom to trust."""
        token = uuid.uuid4().hex
        self._accounts[f"Bearer {token}"] = account
        found = self._folder / token
        found.mkdir()
        (found / "token").write_text(token)
        (found / "namespace").write_text(self.namespace)
        (found / "ca.crt").write_bytes((self._folder / "ca.crt").read_bytes())
        return found

    def _contents(self, kind: str, name: str) -> dict[str, str]:
        if kind == "Secret":
            return self._secrets[name]
        found = self._overlay.get(kind, name)
        if not found:
            raise LookupError(f"there is no {kind} {name}")
        return dict(found["data"])

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        for pod in self.pods.all():
            self.delete(pod)
        self.node.join()
        self._server.ended = True
        self._server.shutdown()
        self._server.server_close()

    def create(self, pod: Object) -> Object:
        """Take a pod in and start it. Raises Refused."""
        _admit(pod)
        made = deepcopy(pod)
        made["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "namespace": self.namespace,
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        made = self.pods.put("ADDED", {**made, "status": {"phase": "Pending"}})
        self.created.append(made)
        self.node.start(made)
        return made

    def delete(self, pod: Object) -> None:
        """Delete a pod, and what it owns."""
        for each in self.pods.all():
            owners = [owner["uid"] for owner in each["metadata"].get("ownerReferences", [])]
            if pod["metadata"]["uid"] in owners:
                self.delete(each)
        self.node.remove(pod)

    def authorize(self, token: str, request: Request) -> None:
        """Raises Refused, unless a Role of the token's account allows it."""
        self.asked[str(request)] += 1
        if token not in self._accounts:
            raise Refused(401, "Unauthorized", "Unauthorized")
        for rule in self._rules(self._accounts[token]):
            if "" in rule["apiGroups"] and request.resource in rule["resources"]:
                if request.verb in rule["verbs"] and not rule.get("resourceNames"):
                    return
        raise Refused(403, "Forbidden", f"{self._accounts[token]} cannot {request}")

    def _rules(self, account: str) -> Iterator[Object]:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.namespace}
        for binding in self._overlay.of("RoleBinding"):
            role = self._overlay.get(binding["roleRef"]["kind"], binding["roleRef"]["name"])
            if subject in binding["subjects"]:
                yield from dig(role, "rules") or []

    def answer(self, request: Request, body: Object) -> tuple[int, Object]:
        """Do what was allowed, all but a watch. Raises Refused."""
        if request.verb == "create":
            return 201, self.create(body)
        if request.verb == "get":
            return 200, self.pods.get(request.name)
        if request.verb == "delete":
            pod = self.pods.get(request.name)
            self.delete(pod)
            return 200, pod
        if request.verb not in ("list", "deletecollection"):
            raise Refused(501, "NotImplemented", f"the stand-in knows no {request.verb}")
        version = {"resourceVersion": str(self.pods.version)}
        found = [pod for pod in self.pods.all() if request.means(pod)]
        if request.verb == "deletecollection":
            for pod in found:
                self.delete(pod)
        return 200, {"apiVersion": "v1", "kind": "PodList", "metadata": version, "items": found}


def _admit(pod: Object) -> None:
    """Raises Refused for what the schema does not know, a name twice, or rights."""
    for minor in MINORS:
        try:
            validate(pod, minor, strict=True)
        except ValidationError as error:
            raise Refused(422, "Invalid", error.message) from error
    for container in pod["spec"]["containers"]:
        for several, key in (("ports", "name"), ("volumeMounts", "mountPath")):
            names = [each[key] for each in container.get(several, [])]
            if len(names) > len(set(names)):
                raise Refused(422, "Invalid", f"{several}: {key} is there twice: {names}")
    job = {"kind": "Job", "metadata": pod["metadata"], "spec": {"template": pod}}
    if problems := list(pods_are_restricted(Overlay("any", [job]))):
        raise Refused(403, "Forbidden", f"violates PodSecurity: {problems}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: Api
    ended = False

    def encrypt(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # The handshake is the business of the request's own thread.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        api = self.server.api
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        request = Request.of(self.command, self.path, api.namespace)
        try:
            api.authorize(self.headers.get("Authorization", ""), request)
            if request.verb == "watch":
                self._watch(request)
            else:
                self._send(*api.answer(request, body))
        except Refused as refused:
            if refused.code != 404:  # Spark asks once more for what it has deleted
                api.refused.append(f"{request}: {refused}")
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
        """Tell what happens for as long as somebody listens, over a WebSocket. Raises Refused."""
        key = self.headers.get("Sec-WebSocket-Key")
        if key is None:
            raise Refused(501, "NotImplemented", "the stand-in watches over WebSockets only")
        self.close_connection = True
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accepted = sha1((key + HANDSHAKE).encode()).digest()
        self.send_header("Sec-WebSocket-Accept", b64encode(accepted).decode())
        self.end_headers()
        with suppress(OSError):  # nobody listens any more
            self._tell(request)

    def _tell(self, request: Request) -> None:
        version = int(request.query.get("resourceVersion") or 0)
        while not self.server.ended:
            for kind, pod in self.server.api.pods.since(version):
                version = int(pod["metadata"]["resourceVersion"])
                if request.means(pod):
                    self.wfile.write(_frame(json.dumps({"type": kind, "object": pod}).encode()))

    def log_message(self, *arguments: object) -> None:
        """Nothing: what was asked is counted."""


def _frame(content: bytes) -> bytes:
    """A WebSocket's frame of text."""
    size = len(content)
    if size < 126:
        return bytes([0x81, size]) + content
    return b"\x81\x7e" + size.to_bytes(2, "big") + content
