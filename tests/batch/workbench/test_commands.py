"""What ``%larder`` does with words, and with what a command says."""

from pathlib import Path

import pytest

from batch.command.up import StepFailed
from batch.errors import BadSettings
from batch.workbench.commands import larder
from tests.batch.command.test_cli import write
from tests.batch.pairs import checkerboard


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
