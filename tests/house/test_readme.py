"""What the README says is so: settings, endpoints, keys, commands, targets."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from app.contracts.recommendations import Namespace
from app.contracts.variables import BATCH, SERVING
from app.http.factory import create_app
from app.recommendations.watcher import Watcher
from app.settings import Settings, variable
from batch.command.cli import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _settings_table() -> str:
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for each in fields(Settings):
        low, high = each.metadata["low"], each.metadata["high"]
        allowed = f" {low:,} to {high:,}." if low is not None else ""
        sentence = each.metadata["sentence"] + allowed
        lines.append(f"| `{variable(each)}` | `{each.default}` | {sentence} |")
    return "\n".join(lines)


def test_the_settings_table_is_that_of_the_code() -> None:
    assert _settings_table() in README, f"paste this into the README:\n{_settings_table()}"


def test_every_endpoint_is_in_the_readme_and_no_other() -> None:
    settings = Settings()
    app = create_app(settings, Watcher(settings))
    served = {
        (method, re.sub("<id:", "<", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = set(re.findall(r"^\| `(GET|POST) (/[^`? ]*)", README, re.MULTILINE))
    assert told == served


def test_the_keys_in_the_readme_are_those_of_the_contract() -> None:
    space = Namespace("shop")
    generation = "20260101T000000.000Z-0a1b"
    for key in (
        space.live,
        space.generations,
        space.lock,
        space.user_bucket(generation, 0),
        space.similar_bucket(generation, 0),
        space.chunk(generation, 0),
        space.popular(generation),
        space.sample(generation),
    ):
        assert f"`{key}`" in README


def test_every_command_and_option_in_the_readme_exists() -> None:
    for command in re.findall(r"\blarder ([a-z]+)\b", README):
        assert command in cli.commands, command
    known = {"--help", *_options_of_loadtest(), *_options_of_benchmarks()}
    for each in cli.commands.values():
        for parameter in each.params:
            known.update(parameter.opts, parameter.secondary_opts)
    for name in re.findall(r"(?<![\w-])--[a-z][a-z-]+", _without_tools(README)):
        assert name in known, name


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", README))))
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_variable_in_the_readme_is_read_by_the_house() -> None:
    for name in re.findall(r"LARDER_[A-Z_]*[A-Z]", README):
        assert name in BATCH | SERVING, name


def _options_of_loadtest() -> set[str]:
    return {word for name in ("slo", "capacity") for word in _words_of_help("loadtest", name)}


def _options_of_benchmarks() -> set[str]:
    return {
        word
        for name in ("refresh", "spark_scale")
        for word in _words_of_help(f"tests.bench.{name}")
    }


def _words_of_help(module: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", module, *arguments, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return re.findall(r"--[a-z-]+", done.stdout)


def _without_tools(text: str) -> str:
    """The README without the options of other programs."""
    text = re.sub(r"^spark-submit (.*\\\n)*.*", "", text, flags=re.MULTILINE)
    text = re.sub(r"docker compose [^`\n]*", "", text)
    return text.replace("mypy --strict", "").replace("`--build-arg", "")
