"""The commands about what users do, and a refresh that learns from it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import redis

from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace
from batch.command.cli import cli
from batch.errors import BadSettings
from batch.events.stream import Stream
from batch.generations.registry import Generations
from tests.batch.events.streams import event, rows, write
from tests.batch.pairs import checkerboard
from tests.servers import Server

QUICKLY = ["--holdout", "0", "--force", "--factors", "4", "--iterations", "2", "--no-similar"]


@pytest.fixture
def where(server: Server, namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> Streams:
    """The keys of this test's events, which the commands find by variables."""
    for name in [name for name in os.environ if name.startswith("LARDER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LARDER_CACHE_URL", server.url)
    monkeypatch.setenv("LARDER_NAMESPACE", namespace.name)
    return Streams(namespace.name)


def larder(capsys: Any, *arguments: str | Path) -> str:
    """Run the command in this process; its output."""
    cli.main([*map(str, arguments)], standalone_mode=False)
    return str(capsys.readouterr().out)


def board() -> list[Event]:
    return [
        event(number, f"u{user}", "click", f"i{item}")
        for number, (user, item) in enumerate(checkerboard())
    ]


def test_a_refresh_exports_first_and_notes_how_far_it_learned(
    capsys: Any, client: Any, where: Streams, namespace: Namespace, tmp_path: Path
) -> None:
    (tmp_path / "orders.csv").write_text("user,item\nu1,i1\nu99,i2\n")
    write(client, where, [*board(), event(10**6, "u1", "hide", "i0")])
    last = client.xrevrange(where.events, count=1)[0][0].decode()
    inputs = [tmp_path / "orders.csv", tmp_path / "events"]
    weights = ["--event-weights", "click=2", "--half-life", "52w", "--rejects", f"{tmp_path}/r.csv"]

    shown = larder(capsys, "refresh", *inputs, *weights, *QUICKLY, "--k", "20")

    assert f"exported {len(board()) + 1} events" in shown
    manifest = Generations(client, namespace).live_manifest()
    assert manifest is not None and manifest.events_until == last and manifest.users == 41
    assert manifest.settings["event_weights"] == {"click": 2}
    assert manifest.settings["half_life"] == "52w"
    listed = json.loads(larder(capsys, "show", "u1", "--json"))["recommendations"]
    assert listed and "i0" not in {entry["item"] for entry in listed}

    found = json.loads(larder(capsys, "check", *inputs, *weights, "--json"))
    assert (found["users"], found["rejected"]) == (41, {})
    (tmp_path / "r.csv").write_text("file,line,reason,content\n")
    empty = larder(capsys, "check", inputs[0], tmp_path / "new", *weights, "--json")
    assert json.loads(empty)["users"] == 2
    assert "exported 0 events" in larder(capsys, "refresh", *inputs, *weights, *QUICKLY)


def test_the_variable_names_an_input_a_line(
    capsys: Any, where: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one file.csv", "two.csv"):
        (tmp_path / name).write_text(f"user,item\nu1,{name}\n")
    both = f"{tmp_path / 'one file.csv'}\n{tmp_path / 'two.csv'}\n"
    monkeypatch.setenv("LARDER_INTERACTIONS", both)
    assert json.loads(larder(capsys, "check", "--json"))["pairs"] == 2


def test_a_model_is_evaluated_on_events(
    capsys: Any, client: Any, where: Streams, tmp_path: Path
) -> None:
    lines = [f"u{user},i{item}" for user, item in checkerboard()]
    (tmp_path / "train.csv").write_text("\n".join(["user,item", *lines]) + "\n")
    write(client, where, [event(1, "u0", item="i0"), event(2, "u3", item="i2")])
    larder(capsys, "events", "export", tmp_path / "events")
    inputs = ["--train", f"{tmp_path}/train.csv", "--test", f"{tmp_path}/events"]
    quick = ["--k", "3", "--factors", "4", "--iterations", "2"]
    rejects = ["--rejects", f"{tmp_path}/r.csv"]
    shown = larder(capsys, "evaluate", *inputs, *quick, *rejects, "--json")
    assert json.loads(shown)["model"]["users"] == 2


def test_status_and_tail_say_what_there_is(
    capsys: Any, client: Any, where: Streams, tmp_path: Path
) -> None:
    told = larder(capsys, "events", "status")
    assert f"0 events in the stream of namespace {where.name!r}" in told
    write(client, where, [event(1), event(2)], 1_700_000_000_000)
    assert "exported 2 events" in larder(capsys, "events", "export", tmp_path / "events")
    assert "in 1 file(s)" not in larder(capsys, "events", "export", tmp_path / "events")
    write(client, where, [event(3), Event("e4", "impression", 5, "u", items=("a", "b"))])
    client.xadd(where.events, {"clear": "1"})

    found = json.loads(larder(capsys, "events", "status", "--json"))
    assert (found["length"], found["pending"], found["until"]) == (2, 2, "1700000001000-0")
    assert found["rate"] == 2 / 60 and found["oldest"] < found["newest"]

    first, second, third = larder(capsys, "events", "tail", "--count", "3").splitlines()
    assert json.loads(first)["item"] == "i1" and json.loads(second)["items"] == ["a", "b"]
    assert json.loads(third)["clear"] == "1"
    assert larder(capsys, "events", "export", tmp_path / "events").startswith("exported 2 events")
    found = json.loads(larder(capsys, "events", "status", "--json"))
    assert (found["length"], found["pending"]) == (2, 0)
    client.xadd(where.events, {"clear": "1"})
    told = larder(capsys, "events", "export", tmp_path / "events")
    assert told == f"exported 0 events to {tmp_path / 'events'}\n"
    found = json.loads(larder(capsys, "events", "status", "--json"))
    assert (found["length"], found["pending"]) == (2, 0)
    assert rows(tmp_path / "events") == ["e1", "e2", "e3", "e4"]


def test_a_server_that_may_throw_events_away_is_told_of(
    capsys: Any, caplog: Any, own_server: Server, where: Streams, tmp_path: Path
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    for command in (["export", str(tmp_path / "events")], ["status"]):
        caplog.clear()
        larder(capsys, "events", *command, "--events-url", own_server.url)
        assert "throw away events" in caplog.text and "allkeys-lru" in caplog.text


def test_tail_goes_on_with_what_comes(client: Any, where: Streams) -> None:
    follow = Stream(client, where).follow("")
    for number in (1, 2):
        write(client, where, [event(number)])
        assert next(follow)[1][b"id"] == f"e{number}".encode()


def test_an_url_that_is_none_is_told_by_its_own_name(
    capsys: Any, where: Streams, tmp_path: Path
) -> None:
    with pytest.raises(BadSettings, match="^--events-url "):
        larder(capsys, "events", "export", tmp_path, "--events-url", "http://x")
