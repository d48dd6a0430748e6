"""``larder export`` and ``larder compare`` as a user runs them."""

import csv
import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis

from app.contracts.recommendations import Namespace
from tests.generations import publish_by_hand
from tests.servers import Server, run_here

READS = "+ping +info +get +hget +hgetall +hlen +strlen"


@pytest.fixture
def variables(own_server: Server) -> Iterator[dict[str, str]]:
    """Two generations, and a user who may only read, as whom the command comes."""
    space = Namespace("shop")
    with redis.Redis.from_url(own_server.url) as client:
        quality = {"model": {"ndcg": 0.25}}
        publish_by_hand(client, space, "g1", [f"u{n}" for n in range(90)], metrics=quality)
        publish_by_hand(client, space, "g2", items=[f"i{n}" for n in range(1, 12)], metrics=quality)
        keys = "~larder:1:{shop}:* ~larder:1:shop:*"
        client.execute_command(*f"ACL SETUSER reader on >ab {keys} -@all {READS}".split())
        url = own_server.url.replace("//", "//reader:ab@")
        yield {"LARDER_CACHE_URL": url, "LARDER_NAMESPACE": "shop"}
        assert client.acl_log() == []


def larder(variables: dict[str, str], *arguments: str | Path) -> Any:
    return run_here(*map(str, arguments), variables=variables)


def test_an_export_of_the_live_lists(variables: dict[str, str], tmp_path: Path) -> None:
    done = larder(variables, "export", tmp_path / "new", "--format", "csv", "--k", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    file = tmp_path / "new" / "recommendations-g2.csv"
    counts = {"users": 100, "popular": 0, "unnamed": 0, "similar": 0}
    assert told == {"generation": "g2", "k": 2, **counts, "files": [str(file)]}
    with open(file, newline="") as stream:
        head, *rows = csv.reader(stream)
    assert head == ["user", "rank", "item", "score", "source"] and len(rows) == 200
    assert ["u3", "2", "i5", "0.875", "personal"] in rows
    named = larder(variables, "export", tmp_path, "--generation", "g1", "--similar")
    assert named.stdout == (
        "exported lists of 90 users, 0 of which are what is popular, and of 10 items, from "
        "generation g1\n"
        f"{tmp_path}/recommendations-g1.parquet\n{tmp_path}/similar-g1.parquet\n"
    )


def test_ids_come_from_files_of_any_layout(own_server: Server, tmp_path: Path) -> None:
    users = [f"customer-{n:012}" for n in range(10)]
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, Namespace("default"), users=users)
    variables = {"LARDER_CACHE_URL": own_server.url}
    (tmp_path / "one.csv").write_text("".join(f"{user};x\n" for user in users[:4]), "latin-1")
    (tmp_path / "two.csv").write_text("".join(f"{user};x\n" for user in users[3:9]))
    files = ("--users", tmp_path / "one.csv", "--users", tmp_path / "two.csv")
    layout = ("--no-header", "--user-column", "1", "--delimiter", ";", "--encoding", "latin-1")
    done = larder(variables, "export", tmp_path / "new", *files, *layout, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["users"] == 9
    assert "left out 1 users: no file of --users has their ids" in done.stderr
    without = larder(variables, "export", tmp_path / "new")
    assert without.returncode == 2 and "name the files that have them" in without.stderr


def test_what_cannot_be_exported_is_told(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = larder(variables, "export", tmp_path / "new", "--generation", "g9")
    assert unknown.returncode == 2
    assert "there is no generation 'g9'; published are: g1, g2" in unknown.stderr

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    done = larder(variables, "export", tmp_path)
    assert done.returncode == 75 and "a disk is full or fails" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_signal_of_which_duckdb_makes_an_error_is_told_as_one(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does when a handler raises while it looks at Python's objects."""

    def interrupted(*given: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit as error:
            raise duckdb.InvalidInputException("Traceback (most recent call last):") from error

    monkeypatch.setattr("batch.recommendations.published.export.copy", interrupted)
    done = larder(variables, "export", tmp_path / "new")
    assert done.returncode == 143 and done.stderr.endswith("error: stopped by SIGTERM\n")
    assert not (tmp_path / "new").exists()


def test_a_comparison_of_the_last_two(variables: dict[str, str]) -> None:
    done = larder(variables, "compare", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["before"], told["after"], told["k"]) == ("g1", "g2", 3)
    assert told["users"] == {"both": 90, "entered": 10, "left": 0}
    assert told["items"] == {"both": 9, "entered": 2, "left": 1} == told["listed"]
    assert told["metrics"] == {"ndcg": [0.25, 0.25]} and told["settings"] == {}
    assert told["top_left"] == [{"item": "i0", "lists": 27}]
    back = json.loads(larder(variables, "compare", "g2", "g1", "--json").stdout)
    assert back["top_entered"] == told["top_left"] and back["overlap"] == told["overlap"]
    text = larder(variables, "compare").stdout
    assert text.startswith("from generation g1 to g2, the first 3 of each list\n")
    assert "items that left the lists, by how many they are in: 'i0' (27)" in text
    assert "ndcg  0.2500  0.2500" in text
