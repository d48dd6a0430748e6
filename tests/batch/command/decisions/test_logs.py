"""The commands about the logs of decisions."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.contracts.decisions import DAY_MS
from batch.command.cli import cli
from batch.decisions import logs
from batch.errors import BadSettings
from tests.batch.decisions.rows import START, joined


def larder(capsys: Any, *arguments: str | Path) -> str:
    """Run the command in this process; its output."""
    cli.main(["decisions", "logs", *map(str, arguments)], standalone_mode=False)
    return str(capsys.readouterr().out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for day in range(3):
        at = START + day * DAY_MS
        logs.append(tmp_path / "logs", [joined(0, at=at), joined(1, at=at, counts=False)], [])
    return tmp_path / "logs"


def test_logs_go_out_by_date_and_come_in_again(capsys: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.dsjson.gz"
    said = larder(capsys, "export", folder, out, "--from", "2025-11-22", "--to", "2025-11-23")
    assert said == f"wrote 2 decisions to {out}\n"
    broken = tmp_path / "broken.dsjson"
    larder(capsys, "export", folder, broken)
    broken.write_text(broken.read_text() + "no decision\n")
    said = larder(capsys, "import", broken, tmp_path / "new", "--max-rejects", "0.5")
    assert said.splitlines() == [
        f"{tmp_path / 'new'} holds the 6 decisions of {broken}",
        "1 lines are no decisions (1 x no JSON)",
    ]
    assert len([*logs.read(tmp_path / "new")]) == 6


def test_each_day_is_summed_up(capsys: Any, folder: Path) -> None:
    days = json.loads(larder(capsys, "show", folder, "--json"))
    assert [{**day, "bytes": 0} for day in days] == [
        {"day": f"2025-11-{day}", "decisions": 2, "learned": 1, "reward": 1.0, "bytes": 0}
        for day in (21, 22, 23)
    ]
    told = larder(capsys, "show", folder).splitlines()
    assert told[1].split()[:4] == ["2025-11-21", "2", "1", "1.0000"]
    assert "holds no decisions" in larder(capsys, "show", folder / "none")


def test_days_are_deleted_before_a_date_or_all(capsys: Any, folder: Path) -> None:
    with pytest.raises(BadSettings, match="--before must be a date"):
        larder(capsys, "delete", folder, "--before", "yesterday")
    said = larder(capsys, "delete", folder, "--before", "2025-11-23")
    assert said == f"deleted 2 files of {folder}\n"
    assert logs.span(folder) == (START + 2 * DAY_MS, START + 2 * DAY_MS + 1000)
    larder(capsys, "delete", folder)
    assert logs.span(folder) is None
