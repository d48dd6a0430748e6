"""Files of dsjson, there and back; files of others, with lines that nobody can read."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from app.contracts.decisions import MODEL, Configuration, Decisions
from app.contracts.recommendations import Namespace
from batch.decisions import exchange, logs
from batch.decisions.dsjson import line
from batch.decisions.loop import trainer
from batch.decisions.loop.log import Log
from batch.errors import BadInteractions
from batch.generations.registry import Generations
from tests.batch.decisions.logged import taste, write
from tests.batch.decisions.program import program, readable
from tests.batch.decisions.rows import START, joined, several


@pytest.mark.parametrize("name", ["log.dsjson", "log.dsjson.gz"])
def test_what_is_exported_can_be_imported_elsewhere(tmp_path: Path, name: str) -> None:
    given = [joined(0), several(1), joined(2, counts=False), joined(3)]
    logs.append(tmp_path / "logs", given, [])
    assert exchange.export(tmp_path / "logs", tmp_path / name, START + 1000) == 3
    found = exchange.load(tmp_path / name, tmp_path / "other", 0.0)
    assert found.decisions == 3 and not found.rejected
    assert [*logs.read(tmp_path / "other")] == [row._replace(position="") for row in given[1:]]


def test_a_name_that_ends_in_gz_is_gzipped(tmp_path: Path) -> None:
    logs.append(tmp_path / "logs", [joined(0)], [])
    exchange.export(tmp_path / "logs", tmp_path / "log.gz")
    assert gzip.decompress((tmp_path / "log.gz").read_bytes()).decode() == line(joined(0)) + "\n"


def test_broken_lines_are_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_LINE_BYTES", 2000)
    path, good = tmp_path / "log.json", [line(joined(number)).encode() for number in range(7)]
    twice = line(joined(0)).replace('"a":[1,2,3]', '"a":[1,2,2]').encode()
    never = line(joined(0)).replace('"p":[', '"p":[7').encode()
    bad = [b'{"RewardValue":1}', b"x" * 9000, b"\xff", b'{"c":{}', twice, never, b'{"EventId":"x"}']
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([*good[:4], b" ", *bad, *good[4:]]))
    found = exchange.load(path, tmp_path / "logs", 0.5)
    assert found.decisions == 7 and [*logs.read(tmp_path / "logs")]
    assert found.rejected == {
        "no decision": 2,
        "longer than 2,000 bytes": 1,
        "no UTF-8": 1,
        "no JSON": 1,
        "an action was decided twice": 1,
        "a probability is not between 0 and 1": 1,
    }
    assert found.first[0].startswith("line 6: no decision: it has no context: ")
    with pytest.raises(BadInteractions, match=r"7 of 14 rows .* more than the 1.00% allowed"):
        exchange.load(path, tmp_path / "others", 0.01)
    assert not logs.files(tmp_path / "others")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    logs.append(tmp_path / "logs", [joined(0)], [])
    exchange.export(tmp_path / "logs", tmp_path / "cut.gz")
    whole = (tmp_path / "cut.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[:-12])
    (tmp_path / "empty").write_bytes(b"")
    for name in ("cut.gz", "empty", "missing"):
        with pytest.raises(BadInteractions, match=name):
            exchange.load(tmp_path / name, tmp_path / "other", 1.0)
    with pytest.raises(BadInteractions, match="found no decisions"):
        exchange.export(tmp_path / "other", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_program_makes_of_an_export_the_model_that_is_live(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    space = Decisions(namespace.name)
    settings = Configuration(wait_ms=2000, export_ms=1, retention_days=-1)
    client.hset(space.desk, "configuration", settings.to_json())
    write(client, space, taste(300))
    trainer.once(client, Log(client, space), space, tmp_path / "logs", 3)
    live = Generations(client, space).live_manifest()
    assert live is not None and live.events > 250
    (tmp_path / "learned.vw").write_bytes(client.get(space.part(live.generation, MODEL)))
    published = readable(tmp_path)
    exchange.export(tmp_path / "logs", tmp_path / "log.dsjson.gz")
    resumable = "--save_resume --preserve_performance_counters"
    program(f"{live.arguments} {resumable} -d log.dsjson.gz -f learned.vw", tmp_path)
    assert readable(tmp_path) == published
