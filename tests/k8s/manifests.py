"""The objects of ``k8s/`` as kustomize renders them, and where to find what in them."""

import base64
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

HOUSE = Path(__file__).parents[2]
K8S = HOUSE / "k8s"
BESIDE = ("workbench",)
"""Overlays that are applied beside another, and lean on what that one has."""
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
MOUNTED = (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName"))
STAND_IN = "rediss://user:password@cache:6379/0"
"""For the value of a variable that only the cluster knows."""
SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that makes pods, and the template that it makes them of."""

    owner: Object
    template: Object

    @property
    def name(self) -> str:
        """Kind and name, as a sentence names it."""
        return title(self.owner)

    @property
    def labels(self) -> dict[str, str]:
        """What its pods are called."""
        return dig(self.template, "metadata.labels") or {}

    @property
    def component(self) -> str:
        """Which part of Larder its pods are."""
        return self.labels.get(COMPONENT, "")

    @property
    def spec(self) -> Object:
        """What its pods are made of."""
        return dig(self.template, "spec") or {}

    @property
    def job(self) -> Object:
        """Of a Job or a CronJob, how often its pods are tried."""
        inner = self.owner if self.owner["kind"] == "Job" else dig(self.owner, "spec.jobTemplate")
        return dig(inner, "spec") or {}

    def containers(self) -> list[Object]:
        """All of them, those that come first too."""
        return [*self.spec.get("initContainers", []), *self.spec.get("containers", [])]

    def ports(self) -> dict[str, int]:
        """The ports that its containers open, by name."""
        return {
            port.get("name", str(port["containerPort"])): port["containerPort"]
            for container in self.containers()
            for port in container.get("ports", [])
        }

    def opens(self, port: str | int | None) -> bool:
        """Whether that is the name or the number of one of its ports."""
        return port in {*self.ports(), *self.ports().values()}


@dataclass(frozen=True, slots=True)
class Overlay:
    """What one folder renders to."""

    name: str
    objects: list[Object]

    @property
    def base(self) -> str:
        """Its folder, whatever was added."""
        return self.name.partition("+")[0]

    def of(self, *kinds: str) -> list[Object]:
        """The objects of these kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def get(self, kind: str, name: str | None) -> Object | None:
        """The object of that kind and name, or None."""
        found = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found[0] if found else None

    def workloads(self, *components: str) -> list[Workload]:
        """All that makes pods, or all that makes pods of these components."""
        found = [Workload(each, template) for each, template in self._templates()]
        return [each for each in found if not components or each.component in components]

    def containers(self, *components: str) -> list[tuple[Workload, Object]]:
        """Every container of these workloads, beside what it belongs to."""
        found = self.workloads(*components)
        return [(workload, each) for workload in found for each in workload.containers()]

    def selected(self, labels: dict[str, str]) -> list[Workload]:
        """The workloads whose pods have these labels."""
        return [each for each in self.workloads() if labels.items() <= each.labels.items()]

    def variables(self, container: Object) -> dict[str, str]:
        """The environment of a container, with a stand-in for what only the cluster knows."""
        given: dict[str, str] = {}
        for source in container.get("envFrom", []):
            given |= contents(self.get("ConfigMap", source["configMapRef"]["name"]))
        for each in container.get("env", []):
            given[each["name"]] = self._value(each)
        return given

    def _value(self, variable: Object) -> str:
        if secret := dig(variable, "valueFrom.secretKeyRef"):
            return contents(self.get("Secret", secret["name"])).get(secret["key"], STAND_IN)
        return str(variable.get("value", STAND_IN))

    def files(self, workload: Workload, container: Object) -> dict[str, str]:
        """Path and text of each file that comes from a ConfigMap or Secret of the overlay."""
        found: dict[str, str] = {}
        volumes = {each["name"]: each for each in workload.spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            volume = volumes.get(mount["name"], {})
            for kind, field, name in MOUNTED:
                held = self.get(kind, dig(volume, f"{field}.{name}"))
                texts = contents(held) if held or kind != "Secret" else _made_by_the_team()
                keys = {each["key"]: each["path"] for each in dig(volume, f"{field}.items") or []}
                named = keys or {key: key for key in texts}
                found |= {
                    f"{mount['mountPath']}/{named[key]}": texts[key] for key in texts & named.keys()
                }
        return found

    def _templates(self) -> Iterator[tuple[Object, Object]]:
        for each in self.of("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield each, dig(each, "spec.template") or {}
        for each in self.of("CronJob"):
            yield each, dig(each, "spec.jobTemplate.spec.template") or {}
        for each in self.of("ConfigMap"):  # that which Spark's driver makes executors of
            if text := contents(each).get("executor.yaml"):
                yield each, _parsed(text)


def _made_by_the_team() -> dict[str, str]:
    """A stand-in for the files of a Secret that is not in the tree, made as the README says."""
    return {"users.acl": (K8S / "overlays/demo/users.acl").read_text()}


@cache
def _parsed(text: str) -> Object:
    found: Object = yaml.safe_load(text)
    return found


def title(found: Object) -> str:
    """Kind and name of an object, as a sentence names it."""
    return f"{found['kind']} {found['metadata']['name']}"


def dig(found: Any, path: str) -> Any:
    """What lies at a path such as ``spec.template``; None where a part of it is missing."""
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def contents(found: Object | None) -> dict[str, str]:
    """The texts of a ConfigMap or Secret; none of one that is not there."""
    texts: dict[str, str] = dig(found, "data") or {}
    if found and found["kind"] == "Secret":
        return {key: base64.b64decode(text).decode() for key, text in texts.items()}
    return texts


def literals(container: Object) -> list[str]:
    """All words that a container is given as they stand."""
    words = [*container.get("command", []), *container.get("args", [])]
    return [str(each) for each in words + [env.get("value") for env in container.get("env", [])]]


def quantity(asked: str | int | float) -> Decimal:
    """The number that a quantity of Kubernetes means. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", str(asked))
    if not found or found[2] not in SUFFIXES:
        raise ValueError(f"{asked!r} is not a quantity")
    return Decimal(found[1]) * SUFFIXES[found[2]]


@cache
def kustomize() -> list[str] | None:
    """The command that renders a folder: kubectl's own kustomize 5, or one fetched by make."""
    fetched = Path(sys.executable).with_name("kustomize")
    if shutil.which("kubectl"):
        told = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True)
        if any(f"Kustomize Version: v{major}." in told.stdout for major in range(5, 10)):
            return ["kubectl", "kustomize"]
    return [str(fetched), "build"] if fetched.exists() else None


@cache
def render(folder: Path) -> list[Object]:
    """The objects that a folder renders to; fails with what kustomize said."""
    command = kustomize()
    assert command, "there is no kustomize"
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # a warning: of a field that is deprecated, say
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def overlays() -> list[str]:
    """The folders that a team applies."""
    return sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    """The folders that an overlay may add."""
    return sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))


@cache
def load(name: str) -> Overlay:
    """An overlay, one with a component more, or two of them: ``demo``, ``production+monitoring``,
    ``demo+workbench``.
    """
    overlay, *added = name.split("+")
    if added and added[-1] in BESIDE:
        both = (load(name.rpartition("+")[0]), load(added[-1]))
        return Overlay(name, [each for one in both for each in one.objects])
    if not added:
        return Overlay(name, render(K8S / "overlays" / overlay))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(shutil.copytree(K8S, Path(made, "k8s"))) / "overlays" / overlay
        file = folder / "kustomization.yaml"
        kustomization = yaml.safe_load(file.read_text())
        more = [f"../../components/{each}" for each in added]
        kustomization["components"] = [*kustomization.get("components", []), *more]
        file.write_text(yaml.safe_dump(kustomization))
        return Overlay(name, render(folder))
