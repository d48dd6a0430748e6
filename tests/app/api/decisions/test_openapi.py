"""The document of decisions names what is there, all of it, and its examples are answers."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from flask import Flask
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from app.api.decisions import VERSIONS
from app.api.decisions.application import ROOT
from app.contracts.recommendations import Namespace
from app.http.keys.scopes import scope_of_decisions
from tests.app.served import deciding
from tests.k8s.manifests import HOUSE
from tests.servers import Server

PATH = HOUSE / "app" / "api" / "decisions" / "openapi.yaml"
DOCUMENT: Any = yaml.load(PATH.read_text(encoding="utf-8"), yaml.CSafeLoader)
METHODS = {"get", "put", "patch", "post", "delete"}


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[Flask]:
    with deciding(server, Namespace("wire-document")) as made:
        yield made


def operations() -> Iterator[tuple[str, str, Any]]:
    """Method, path as it is asked for, operation."""
    for path, item in DOCUMENT["paths"].items():
        bases = [each["url"].rstrip("/") for each in item.get("servers", DOCUMENT["servers"])]
        for method in item.keys() & METHODS:
            for base in bases:
                yield method.upper(), base + path, item[method]


def test_it_is_openapi() -> None:
    validate(DOCUMENT)


def test_every_path_and_method_is_in_it_and_no_other(app: Flask) -> None:
    there = set()
    for rule in app.url_map.iter_rules():
        for version in VERSIONS if "<version:" in rule.rule else ("",):
            path = re.sub("<version:version>", version, rule.rule)
            path = re.sub("<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", path)
            there |= {(each, path) for each in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert {(method, path) for method, path, _ in operations()} == there


def test_it_names_the_scope_that_a_key_needs() -> None:
    for method, path, operation in operations():
        scope = scope_of_decisions(method, path)
        told = operation.get("security", DOCUMENT["security"])
        assert [roles for each in told for roles in each.values()] == (
            [[scope]] * 2 if scope else []
        ), path
        assert (scope is None) == (not path.startswith(ROOT))


def test_an_example_is_what_is_answered(app: Flask) -> None:
    asked, names = app.test_client(), []
    for operation in {id(each): each for _, _, each in operations()}.values():
        bodies = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                for name, told in content.get("examples", {}).items():
                    method, target = told["summary"].split()
                    body = bodies.get("examples", {}).get(name, {}).get("value")
                    answer = asked.open(target, method=method, json=body)
                    assert (str(answer.status_code), answer.json) == (status, told["value"]), name
                    schema = {"components": DOCUMENT["components"], "allOf": [content["schema"]]}
                    OAS31Validator(schema).validate(answer.json)
                    names.append(name)
    told = re.findall("summary: '?(?:GET|POST|PUT|DELETE) /", PATH.read_text(encoding="utf-8"))
    assert len(names) == len(told) > 0


def test_the_page_and_what_it_needs_come_with_the_release(app: Flask) -> None:
    asked = app.test_client()
    page = asked.get("/swagger")
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "http" not in policy
    wanted = re.findall('(?:src|href)="([^":]+)"', page.get_data(as_text=True))
    assert {"docs/swagger-ui.css", "docs/docs.js", "openapi.yaml"} <= set(wanted)
    for path in wanted:
        assert asked.get(f"/{path}").status_code == 200, path
    assert asked.get("/openapi.yaml").data == PATH.read_bytes()
