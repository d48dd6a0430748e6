"""A search in a notebook: its ``--json`` names a file, and is no question for JSON."""

import json
from pathlib import Path

from batch.workbench.commands import larder
from tests.batch.pairs import checkerboard


def test_what_a_search_found_goes_to_the_file(tmp_path: Path) -> None:
    board, found = tmp_path / "board.csv", tmp_path / "found.json"
    board.write_text("user,item\n" + "".join(f"u{user},i{item}\n" for user, item in checkerboard()))
    assert larder(f"tune {board} --trials 1 --json {found}") is None
    assert len(json.loads(found.read_text())["trials"]) == 1
