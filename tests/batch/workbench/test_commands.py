"""What ``%larder`` and ``%loadtest`` do with words, and with what a command says."""

import json
from pathlib import Path

import pytest

from batch.command.stack.up import StepFailed
from batch.errors import BadSettings
from batch.workbench.commands import larder, loadtest
from tests.batch.command.test_cli import write
from tests.batch.pairs import checkerboard
from tests.loadtest.likeness import Likeness
from tests.servers import free_port


def test_a_command_says_what_it_says_in_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = write(tmp_path / "orders of today.csv", checkerboard())
    assert larder(f"check '{orders}'") is None
    said, complained = capsys.readouterr()
    assert "1 file(s)" in said and complained == ""


def test_json_is_returned_and_nothing_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert larder("size --users 10 --items 5 --json")["cache_memory_maxmemory"]["unit"] == "MB"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "said", "named"),
    [
        ("", "Usage: larder", "the command larder ended with exit code 2"),
        ("nonsense", "No such command 'nonsense'", "the command larder nonsense ended"),
        ("check nothing.csv", "nothing.csv", "the command larder check ended with exit code 2"),
        ("check nothing.csv --json", "nothing.csv", "the command larder check ended"),
    ],
)
def test_a_command_that_fails_says_why_and_ends_the_cell(
    line: str, said: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StepFailed, match=named) as failed:
        larder(line)
    assert said in capsys.readouterr().out
    (shown,) = failed.value._render_traceback_()
    assert shown == f"StepFailed: {failed.value}"


def test_an_apostrophe_is_a_sentence() -> None:
    with pytest.raises(BadSettings, match="users o'brien: No closing quotation; write"):
        larder("users o'brien")


def test_what_a_search_found_goes_to_the_file_that_its_json_names(tmp_path: Path) -> None:
    board, found = write(tmp_path / "board.csv", checkerboard()), tmp_path / "found.json"
    assert larder(f"tune {board} --trials 1 --json {found}") is None
    assert len(json.loads(found.read_text())["trials"]) == 1


def test_a_red_verdict_ends_no_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Likeness() as api:
        api.fault = "nothing"
        loadtest(f"slo --url {api.url} --users 10 --duration 1 --report '{tmp_path}'")
    assert "verdict: RED" in capsys.readouterr().out
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["errors"].keys() == {"an empty list"}


def test_a_load_test_that_cannot_run_ends_the_cell(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StepFailed, match="the load test ended with exit code 2"):
        loadtest(f"slo --url {url}")
    assert f"error: nothing answers at {url}" in capsys.readouterr().out
