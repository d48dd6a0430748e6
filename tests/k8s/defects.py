"""A rule yields a sentence for each thing that is wrong; beside it stands a defect that it catches.

Kubernetes takes an object that its schema allows, and most mistakes are of another kind: a selector
that selects nothing, a setting that nobody reads, a probe of a path that nothing answers.
"""

import base64
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.k8s.manifests import COMPONENT, NAME, Overlay, load, title

Rule = Callable[[Overlay], Iterator[str]]

API = "Deployment larder-api"
CLICKS = "Deployment larder-clicks"
WITH_CLICKS = "production+monitoring+clicks+clicks-monitoring"
DECISIONS = "Deployment larder-decisions"
TRAINER = "Deployment larder-decisions-train"
WITH_DECISIONS = "production+monitoring+decisions+decisions-events+decisions-monitoring"
WORKBENCH = "Deployment larder-workbench"
WITH_WORKBENCH = "demo+workbench"
TRAINING = "CronJob larder-clicks-train"
CACHE = "StatefulSet larder-cache"
LOADTEST = "CronJob larder-loadtest"
REFRESH = "CronJob larder-refresh"
POD = "spec/template/spec"
FIRST = f"{POD}/containers/0"
JOB = "spec/jobTemplate/spec"
IN_JOB = f"{JOB}/template/spec"
FIRST_IN_JOB = f"{IN_JOB}/containers/0"
TYPO = {NAME: "larder", COMPONENT: "apis"}
GONE = object()


@dataclass(frozen=True, slots=True)
class Defect:
    """One field of one object, set to what it must not be, changed by a function, or GONE."""

    rule: Rule
    found: str
    path: str
    value: Any
    overlay: str

    def __str__(self) -> str:
        return f"{self.rule.__name__}: {self.found} {self.path}"

    def seed(self) -> Overlay:
        """The overlay with this defect."""
        objects = deepcopy(load(self.overlay).objects)
        names = re.compile(rf"{self.found}(-[2-9a-z]{{10}})?")
        holder: Any = next(each for each in objects if names.fullmatch(title(each)))
        *way, last = [int(part) if part.isdigit() else part for part in self.path.split("/")]
        for part in way:
            holder = holder[part]
        if self.value is GONE:
            del holder[last]
        else:
            holder[last] = self.value(holder[last]) if callable(self.value) else self.value
        return Overlay(self.overlay, objects)


DEFECTS: list[Defect] = []


def catches(found: str, path: str, value: Any, overlay: str = "demo") -> Callable[[Rule], Rule]:
    """Make a function a rule, by something that it alone must catch."""

    def noted(rule: Rule) -> Rule:
        DEFECTS.append(Defect(rule, found, path, value, overlay))
        return rule

    return noted


def text(old: str, new: str) -> Callable[[str], str]:
    """Replace a part of a text; the part must be there."""

    def replaced(found: str) -> str:
        assert old in found, f"{old!r} is not in {found!r}"
        return found.replace(old, new)

    return replaced


def secret(old: str, new: str) -> Callable[[str], str]:
    """The same in the value of a Secret."""
    replaced = text(old, new)
    return lambda found: base64.b64encode(
        replaced(base64.b64decode(found).decode()).encode()
    ).decode()
