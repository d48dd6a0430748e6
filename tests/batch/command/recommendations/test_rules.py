"""``larder rules``: a file is put in force, looked at, tried and taken back, in sentences."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from app.contracts.recommendations import Namespace
from app.contracts.rules import KEPT_VERSIONS, Version, rules_key
from tests.app.served import answering, listening
from tests.generations import publish_by_hand
from tests.servers import Server, run_here


@pytest.fixture
def where(server: Server, namespace: Namespace) -> dict[str, str]:
    return {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": namespace.name}


def written(folder: Path, rules: Any) -> str:
    path = folder / "rules.json"
    path.write_text(rules if isinstance(rules, str) else json.dumps(rules))
    return str(path)


def test_rules_are_set_shown_listed_and_rolled_back(
    where: dict[str, str], client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    assert "there are no rules" in run_here("rules", "history", variables=where).stdout
    assert json.loads(run_here("rules", "show", variables=where).stdout) == {}
    first = {"hide": ["i1", "ü"]}
    done = run_here(
        *("rules", "set", written(tmp_path, first), "--note", "recalled"), variables=where
    )
    assert (done.returncode, done.stdout[:21]) == (0, "version 1 is in force")
    assert run_here("rules", "set", written(tmp_path, {}), variables=where).returncode == 0
    assert json.loads(run_here("rules", "show", variables=where).stdout) == {}
    shown = run_here("rules", "show", "1", variables=where)
    assert json.loads(shown.stdout) == first and "recalled" in shown.stderr
    back = run_here("rules", "rollback", "1", variables=where)
    assert "version 3 is in force" in back.stdout
    told = json.loads(run_here("rules", "show", "--json", variables=where).stdout)
    assert (told["version"], told["rules"]) == (3, first)
    listed = run_here("rules", "history", variables=where).stdout
    assert "rolled back to version 1" in listed and "recalled" in listed
    told = json.loads(run_here("rules", "history", "--json", variables=where).stdout)
    assert [each["version"] for each in told["versions"]] == [3, 2, 1]
    key = rules_key(namespace.name)
    for number in range(4, KEPT_VERSIONS + 1):
        client.hset(key, str(number), Version(number, "", "", "", {}).to_json())
    run_here("rules", "set", written(tmp_path, {}), variables=where)
    assert client.hget(key, "1") == b"" != client.hget(key, "2")
    gone = run_here("rules", "rollback", "1", variables=where)
    assert gone.returncode == 2 and "is not kept" in gone.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a JSON object"),
        ("[" * 100_000, "a JSON object"),
        ('{"hide": "i1"}', "hide: expected a list"),
        ('{"hide": ["\\ud800"]}', "lone surrogate"),
        ('{"diversity": NaN}', "diversity"),
        ('{"defaults": {"filter": "genre:a"}}', "no column 'genre'"),
        (" " * 1_100_000, "at most 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_put_in_force_changes_nothing(
    where: dict[str, str], client: Any, namespace: Namespace, tmp_path: Path, text: str, told: str
) -> None:
    publish_by_hand(client, namespace)
    path = written(tmp_path, text)
    for word in ("check", "set"):
        done = run_here("rules", word, path, variables=where)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert not client.exists(rules_key(namespace.name))


def test_rules_come_from_standard_input_too(
    where: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"hide": ["i1"]}')))
    assert run_here("rules", "set", "-", variables=where).returncode == 0
    assert json.loads(run_here("rules", "show", variables=where).stdout) == {"hide": ["i1"]}
    missing = run_here("rules", "set", "nowhere.json", variables=where)
    assert missing.returncode == 2 and "nowhere.json" in missing.stderr
    note = run_here("rules", "set", written(tmp_path, {}), "--note", "a\nb", variables=where)
    assert note.returncode == 2 and "--note must be one line" in note.stderr


def test_of_a_body_that_the_api_does_not_take_the_setting_is_told(
    server: Server, where: dict[str, str], client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    publish_by_hand(client, namespace)
    path = written(tmp_path, {"hide": [f"item-{n}" for n in range(20_000)]})
    with answering(server, namespace, max_body_bytes=200_000) as app, listening(app) as url:
        told = run_here("rules", "check", path, "--api", url, variables=where)
        assert told.returncode == 2
        assert "(LARDER_MAX_BODY_BYTES)" in told.stderr and "check without --api" in told.stderr


def test_the_api_tells_whose_lists_would_change(
    server: Server, where: dict[str, str], client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    publish_by_hand(client, namespace, users=[f"u{n}" for n in range(10)])
    path = written(tmp_path, {"hide": ["i2", "gone"]})
    plain = run_here("rules", "check", path, variables=where)
    assert plain.returncode == 0 and "can be put in force" in plain.stdout
    with answering(server, namespace) as app, listening(app) as url:
        asked = ("rules", "check", path, "--api", url)
        told = run_here(*asked, variables=where).stdout
        assert told.startswith("3 of 10 users of the sample get another list\n  u0: ")
        assert "left: i2" in told and "left out: hide: the generation does not hold" in told
        told = json.loads(run_here(*asked, "--json", variables=where).stdout)
        assert told["changed"] == 3
        wrong = run_here(*asked[:-1], f"{url}/nowhere", variables=where)
        assert wrong.returncode == 2 and "answered 404: nothing is at this path" in wrong.stderr
    away = run_here(*asked, variables=where)
    assert away.returncode == 75 and "does not answer as the API does" in away.stderr
    odd = run_here(*asked[:-1], "file:///etc/passwd", variables=where)
    assert odd.returncode == 2 and "--api must be a URL" in odd.stderr
