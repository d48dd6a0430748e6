"""Every rule holds in everything that a team may apply."""

from pathlib import Path

import pytest
import yaml

from tests.k8s.manifests import K8S, components, kustomize, load, overlays
from tests.k8s.rules import RULES, Rule

WITH_COMPONENTS = ("demo+monitoring", "production+monitoring")

needs_kustomize = pytest.mark.skipif(
    kustomize() is None, reason="there is no kubectl with kustomize 5: make kustomize fetches one"
)


@needs_kustomize
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", [*overlays(), *WITH_COMPONENTS])
def test_it_holds(name: str, rule: Rule) -> None:
    problems = list(rule(load(name)))
    assert not problems, "\n".join(problems)


def test_every_component_is_rendered_with_an_overlay() -> None:
    rendered = {added for name in WITH_COMPONENTS for added in name.split("+")[1:]}
    for name in overlays():
        kustomization = yaml.safe_load((K8S / "overlays" / name / "kustomization.yaml").read_text())
        rendered |= {Path(each).name for each in kustomization.get("components", [])}
    assert rendered == set(components())


def test_there_is_something_to_render() -> None:
    assert {"demo", "production"} <= set(overlays())
    assert len(RULES) > 25
