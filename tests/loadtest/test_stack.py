"""The stack of our own: where it gets its data from."""

import os
import sys
from pathlib import Path

import pytest

from loadtest.api import CannotRun
from loadtest.stack import films


def test_larder_tells_where_its_films_are_whatever_the_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zipfile.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(tmp_path)
    folder = films(dict(os.environ))
    assert {"ratings.csv", "movies.csv"} <= {path.name for path in folder.iterdir()}


def test_a_larder_that_does_not_tell_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(CannotRun, match="Larder does not tell where its films are"):
        films(dict(os.environ))
