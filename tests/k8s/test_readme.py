"""What k8s/README.md names is there: folders, objects, alerts, images, what a team must make."""

import re
from collections.abc import Iterator

import pytest

from loadtest.__main__ import parser
from tests.k8s.defects import WITH_CLICKS, WITH_DECISIONS
from tests.k8s.manifests import K8S, dig, load, overlays
from tests.k8s.rules.images import BUILT, version
from tests.k8s.rules.references import TEAM
from tests.k8s.test_rules import WITH_COMPONENTS, needs_kustomize

README = (K8S / "README.md").read_text(encoding="utf-8")


def test_every_folder_that_it_names_is_there() -> None:
    named = set(re.findall(r"\b(?:overlays|components|base)/[a-z0-9-]+(?:/[a-z.-]+\w)?", README))
    assert named
    assert not [path for path in named if not (K8S / path).exists()]


def test_every_overlay_and_component_is_in_it() -> None:
    there = [path.parent for path in K8S.glob("[co]*/*/kustomization.yaml")]
    assert not [path.name for path in there if f"`{path.parent.name}/{path.name}`" not in README]


@needs_kustomize
def test_every_object_that_its_commands_name_is_there_or_made_by_them() -> None:
    kinds = "cronjob|deployment|job|service|statefulset|secret|configmap"
    named = set(re.findall(rf"\b({kinds})[ /](larder-[a-z0-9-]+)", README))
    made = {
        name for _, name in re.findall(rf"create ({kinds})(?: \w+)? (larder-[a-z0-9-]+)", README)
    }
    assert len(named) > 5
    assert not {f"{kind} {name}" for kind, name in named if name not in made} - set(_titles())


def _titles() -> Iterator[str]:
    for overlay in (*overlays(), WITH_CLICKS, WITH_DECISIONS):
        for each in load(overlay).objects:
            name = re.sub("-[2-9a-z]{10}$", "", each["metadata"]["name"])
            yield f"{each['kind'].lower()} {name}"


@needs_kustomize
def test_it_says_what_to_do_about_each_alert() -> None:
    alerts = {
        rule["alert"]
        for rules in load(WITH_COMPONENTS[0]).of("PrometheusRule")
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
    }
    assert set(re.findall(r"`(Larder[A-Z]\w+)`", README)) == alerts


def test_it_says_how_each_image_is_built() -> None:
    tags = dict(re.findall(r"(larder-[a-z-]+):(\d+\.\d+\.\d+)", README))
    assert set(tags) <= set(BUILT)
    assert set(tags.values()) == {version()}


@pytest.mark.parametrize("overlay", TEAM)
def test_it_says_how_to_make_what_an_overlay_does_not_hold(overlay: str) -> None:
    assert overlay in overlays()
    for title, keys in TEAM[overlay].items():
        kind, name = title.lower().split()
        command = re.search(rf"create {kind}(?: generic| tls)? {name}((?:.*\\\n)*.*)", README)
        assert command, title
        assert all(key in command[1] for key in keys), (title, keys)


@needs_kustomize
@pytest.mark.parametrize("overlay", ["demo", "production"])
def test_the_load_test_of_events_is_one_and_the_api_takes_them(overlay: str) -> None:
    assert '"path": "/spec/template/spec/containers/0/args/0", "value": "live"' in README
    ((_, loadtest),) = load(overlay).containers("loadtest")
    assert loadtest["args"][0] == "slo"
    assert parser().parse_args(["live", *loadtest["args"][1:]]).url
    ((_, api),) = load(overlay).containers("api")
    assert load(overlay).variables(api)["LARDER_EVENTS"] == "true"


@needs_kustomize
def test_the_namespace_is_the_one_of_its_commands() -> None:
    spaces = {dig(each, "metadata.namespace") for each in load("production").objects} - {None}
    assert set(re.findall(r"kubectl -n (\w+)", README)) == spaces
