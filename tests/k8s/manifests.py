"""The objects of ``k8s/`` as kustomize renders them, and where to find what in them."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

HOUSE = Path(__file__).parents[2]
K8S = HOUSE / "k8s"
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"


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


@dataclass(frozen=True, slots=True)
class Overlay:
    """What one folder renders to."""

    name: str
    objects: list[Object]

    @property
    def base(self) -> str:
        """Its folder, whatever components were added."""
        return self.name.partition("+")[0]

    @property
    def demo(self) -> bool:
        """Whether its passwords are public."""
        return self.base.startswith("demo")

    def of(self, *kinds: str) -> list[Object]:
        """The objects of these kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def get(self, kind: str, name: str) -> Object | None:
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

    def _templates(self) -> Iterator[tuple[Object, Object]]:
        for each in self.of("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield each, dig(each, "spec.template") or {}
        for each in self.of("CronJob"):
            yield each, dig(each, "spec.jobTemplate.spec.template") or {}
        for each in self.of("ConfigMap"):
            for template in _pods_inside(each):
                yield each, template


def _pods_inside(config: Object) -> list[Object]:
    """The pod templates that Spark's driver makes executors of."""
    texts = (config.get("data") or {}).values()
    found = [_parsed(text) for text in texts if "kind: Pod\n" in text]
    return [each for each in found if isinstance(each, dict) and each.get("kind") == "Pod"]


@cache
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def title(found: Object) -> str:
    """Kind and name of an object, as a sentence names it."""
    return f"{found['kind']} {found['metadata']['name']}"


def dig(found: Any, path: str) -> Any:
    """What lies at a path such as ``spec.template``; None where a part of it is missing."""
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


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
    """An overlay, or one with a component more: ``demo`` or ``production+monitoring``."""
    overlay, *added = name.split("+")
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
