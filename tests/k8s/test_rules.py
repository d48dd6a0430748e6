"""Every rule holds in everything that a team may apply, and catches what it is there to catch."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.k8s.defects import DEFECTS, WITH_CLICKS, WITH_DECISIONS, WITH_WORKBENCH, Defect, Rule
from tests.k8s.manifests import BESIDE, K8S, components, kustomize, load, overlays, title
from tests.k8s.rules import RULES

WITH_COMPONENTS = (
    "demo+monitoring",
    "production+monitoring",
    WITH_CLICKS,
    "demo+clicks",
    WITH_DECISIONS,
    "demo+decisions",
    WITH_WORKBENCH,
    "demo-redis-cluster+workbench",
)
WHOLE = tuple(name for name in overlays() if name not in BESIDE)
"""Overlays that a team may apply without another."""

needs_kustomize = pytest.mark.skipif(
    kustomize() is None, reason="there is no kubectl with kustomize 5: make kustomize fetches one"
)


@cache
def told(rule: Rule, overlay: str) -> frozenset[str]:
    """What the rule says of the overlay as it is."""
    return frozenset(rule(load(overlay)))


@needs_kustomize
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", [*WHOLE, *WITH_COMPONENTS])
def test_it_holds(name: str, rule: Rule) -> None:
    problems = told(rule, name)
    assert not problems, "\n".join(sorted(problems))


@needs_kustomize
@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_only_the_rule_that_is_meant_catches_it(defect: Defect) -> None:
    broken = defect.seed()
    assert broken != load(defect.overlay)
    more = {rule.__name__: set(rule(broken)) - told(rule, defect.overlay) for rule in RULES}
    assert {name for name in more if more[name]} == {defect.rule.__name__}, more


def test_every_component_is_rendered_with_an_overlay() -> None:
    rendered = {added for name in WITH_COMPONENTS for added in name.split("+")[1:]}
    for name in WHOLE:
        kustomization = yaml.safe_load((K8S / "overlays" / name / "kustomization.yaml").read_text())
        rendered |= {Path(each).name for each in kustomization.get("components", [])}
    assert rendered == {*components(), *BESIDE}


@needs_kustomize
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_applied_beside_an_overlay_goes_without_it(name: str) -> None:
    """To delete it deletes no object of another, above all not the namespace."""
    own = {title(each) for each in load(name).objects}
    others = {title(each) for whole in WHOLE for each in load(whole).objects}
    assert own
    assert not own & others


def test_there_is_something_to_render() -> None:
    assert {"demo", "production"} <= set(overlays())
    assert len(RULES) > 25
