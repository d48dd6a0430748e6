"""The load test as a magic: a verdict is an answer, and what cannot run ends the cell."""

import json
from pathlib import Path

import pytest

from batch.command.up import StepFailed
from batch.workbench.commands import loadtest
from tests.loadtest.likeness import Likeness
from tests.servers import free_port


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
