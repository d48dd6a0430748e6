"""openapi.yaml: what it names is there, what is there it names, and its examples are answers."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import pytest
import yaml
from flask import Flask
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from app.contracts.recommendations import Manifest, Namespace
from app.http.keys.scopes import scope_of
from app.http.problems import KINDS
from tests.app.films import BEARER, EVERYTHING, publish_films
from tests.app.served import answering, following
from tests.k8s.manifests import HOUSE
from tests.servers import Server

TEXT = (HOUSE / "app" / "openapi.yaml").read_text(encoding="utf-8")
DOCUMENT: Any = yaml.load(TEXT, yaml.CSafeLoader)
VOLATILE = {"started_at", "published_at", "checksum", "code_version", "at", "by", "list"}
"""Members of a manifest, and of a version of the rules, that differ from one run to the next."""


@dataclass(frozen=True, slots=True)
class Example:
    """An answer that the document shows, with the request in its summary."""

    name: str
    method: str
    target: str
    has_key: bool
    body: Any
    status: str
    schema: Any
    value: Any


OF_PAGES = {"/problems/overtaken", "/problems/unknown-generation"}
"""Of the explorer, whose pages are for people: the document has none of them."""


def resolve(found: Any) -> Any:
    """What a reference leads to."""
    while "$ref" in found and found["$ref"].startswith("#/components/responses"):
        found = DOCUMENT["components"]["responses"][found["$ref"].rpartition("/")[2]]
    if "$ref" in found and "/requestBodies/" in found["$ref"]:
        found = DOCUMENT["components"]["requestBodies"][found["$ref"].rpartition("/")[2]]
    return found


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def answers(operation: Any) -> Iterator[tuple[str, Any]]:
    """Its statuses, and what the document says of each."""
    for status, response in operation["responses"].items():
        yield status, resolve(response)


def examples() -> Iterator[Example]:
    for method, path, operation in operations():
        bodies = resolve(operation.get("requestBody", {})).get("content", {})
        given = bodies.get("application/json", {}).get("examples", {})
        template = re.compile(re.sub(r"{\w+}", "[^?]+", path) + r"(\?.*)?")
        for status, response in answers(operation):
            for content in response.get("content", {}).values():
                for name, told in content.get("examples", {}).items():
                    asked, target, without_key = re.fullmatch(
                        r"(\w+) (\S+)( without a key)?", told["summary"]
                    ).groups()  # type: ignore[union-attr]
                    if asked == method and template.fullmatch(target):
                        body = given.get(name, {}).get("value")
                        yield Example(
                            name,
                            method,
                            target,
                            not without_key,
                            body,
                            status,
                            content["schema"],
                            told["value"],
                        )


def problems_with(value: Any, schema: Any) -> list[str]:
    """Where a value is not what a schema of the document says."""
    whole = OAS31Validator({"components": DOCUMENT["components"], "allOf": [schema]})
    return [f"{each.json_path}: {each.message[:200]}" for each in whole.iter_errors(value)]


@pytest.fixture
def served(server: Server, client: Any, namespace: Namespace) -> Iterator[Flask]:
    """The API with all that it can do, after some events."""
    publish_films(client, namespace)
    with following(server, namespace, **EVERYTHING) as worker:
        for event in (
            {"type": "click", "session": "8f14e45f", "item": "356"},
            {"type": "purchase", "user": "23", "item": "1"},
        ):
            sent = worker.app.test_client().post("/events", json=event, headers=BEARER)
            assert sent.status_code == 202
        yield worker.app


def test_it_is_openapi() -> None:
    validate(DOCUMENT)


def test_every_path_and_method_is_in_it_and_no_other(served: Flask) -> None:
    there = {
        (method, re.sub("<(id:)?([a-z]+)>", r"{\2}", rule.rule))
        for rule in served.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path) for method, path, _ in operations()} == there


def test_it_names_the_scope_that_a_key_needs() -> None:
    for method, path, operation in operations():
        scope = scope_of(method, path)
        told = operation.get("security", DOCUMENT["security"])
        asked = [[scope]] * len(DOCUMENT["components"]["securitySchemes"]) if scope else []
        assert [roles for each in told for roles in each.values()] == asked, path
        assert ("401" in operation["responses"]) == bool(scope), path


def test_every_type_of_problem_is_in_it_with_its_status() -> None:
    named = set()
    for method, path, operation in operations():
        for status, response in answers(operation):
            problem = response.get("content", {}).get("application/problem+json")
            if problem is None:
                continue
            told = problem["schema"]["properties"]
            kinds = told["type"]["enum"]
            statuses = told["status"].get("enum", [told["status"].get("const")])
            assert status in ("default", str(statuses[0])), (path, status)
            assert {KINDS[each].status for each in kinds} == set(statuses), (path, status)
            named.update(kinds)
    assert named == set(KINDS) - OF_PAGES


def test_a_type_of_problem_answers_with_a_sentence(served: Flask) -> None:
    asked = served.test_client()
    for path, kind in KINDS.items():
        answer = asked.get(path)
        assert answer.status_code == 200
        assert answer.get_json() == {
            "type": path,
            "title": kind.title,
            "status": kind.status,
            "detail": kind.sentence,
        }
        assert kind.sentence.endswith("."), path
        assert asked.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert asked.get("/problems/nothing").status_code == 404


def test_every_member_of_a_manifest_is_in_it() -> None:
    told = DOCUMENT["components"]["schemas"]["Manifest"]
    assert set(told["required"]) == {each.name for each in fields(Manifest)}
    assert set(told["properties"]) == {*told["required"], "following"}


def test_every_answer_of_json_has_an_example() -> None:
    shown = {(each.method, each.target.partition("?")[0]) for each in examples()}
    for method, path, operation in operations():
        template = re.compile(re.sub(r"{\w+}", ".+", path))
        kinds = {kind for _, each in answers(operation) for kind in each.get("content", {})}
        is_shown = any(method == each and template.fullmatch(at) for each, at in shown)
        assert is_shown or "application/json" not in kinds or path in ("/", "/v1/track"), path


def test_an_example_is_what_the_api_answers(served: Flask) -> None:
    """Members that differ from one run to the next are compared by their shape."""
    asked, found = served.test_client(), {}
    for each in examples():
        answer = asked.open(
            each.target,
            method=each.method,
            json=each.body,
            headers=BEARER if each.has_key else {},
        )
        where = f"{each.method} {each.target} ({each.name})"
        assert str(answer.status_code) == each.status, (where, answer.data)
        found[where] = answer.get_json()
        assert not problems_with(found[where], each.schema), where
        assert _steady(found[where]) == _steady(each.value), where
    told = re.findall(r"^ +summary: ((?:GET|POST|PUT|DELETE) .*)", TEXT, re.MULTILINE)
    assert len(found) == len(told)


def _steady(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: type(each) if name in VOLATILE else each for name, each in value.items()}


def test_it_is_served_as_it_is_and_may_be_kept(served: Flask) -> None:
    asked = served.test_client()
    answer = asked.get("/openapi.yaml")
    assert answer.get_data(as_text=True) == TEXT
    assert answer.content_type == "application/yaml"
    again = asked.get("/openapi.yaml", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_is_packed_for_those_who_take_it_so(served: Flask) -> None:
    asked = served.test_client()
    for name in ("swagger-ui.css", "swagger-ui-bundle.js"):
        packed = asked.get(f"/docs/{name}", headers={"Accept-Encoding": "br, gzip"})
        plain = asked.get(f"/docs/{name}", headers={"Accept-Encoding": "gzip;q=0"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert gzip.decompress(packed.data) == plain.data
        assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert packed.headers["ETag"] != plain.headers["ETag"]
    assert asked.get("/docs/NOTICE").status_code == 404


def test_there_is_no_page_unless_it_is_allowed(server: Server, namespace: Namespace) -> None:
    with answering(server, namespace) as app:
        asked = app.test_client()
        for path in ("/docs", "/docs/docs.js"):
            answer = asked.get(path)
            assert answer.status_code == 404
            assert "LARDER_DOCS=true" in answer.get_json()["detail"]
        assert asked.get("/openapi.yaml").status_code == 200


@pytest.mark.parametrize("name", ["README.md", "app/README.md"])
def test_an_answer_that_a_readme_shows_is_one_of_the_document(name: str) -> None:
    """Each follows the command that asks for it."""
    text = (HOUSE / name).read_text(encoding="utf-8")
    shown = re.findall(r"(?ms)^`?(curl [^\n]*?)`?\n(?:```\n)?\n+```json\n(.*?)^```", text)
    assert len(shown) >= (1 if name == "README.md" else 6)
    for command, answer in shown:
        path = re.search(r"http://127\.0\.0\.1:8000(/[^?' `]*)", command)
        method = "POST" if " -d " in command else "GET"
        assert path, command
        schemas = [
            content["schema"]
            for asked, template, operation in operations()
            if asked == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path[1])
            for _, response in answers(operation)
            for content in response.get("content", {}).values()
        ]
        assert any(not problems_with(json.loads(answer), each) for each in schemas), command
