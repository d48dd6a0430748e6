"""The load test as a magic: a verdict is an answer, one that cannot run ends the cell."""

import socket

import pytest

from batch.workbench.commands import CommandFailed, loadtest


def test_a_load_test_that_cannot_run_ends_the_cell(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CommandFailed, match="the load test ended with exit code 2"):
            loadtest(f"slo --url {url}")
    assert f"error: nothing answers at {url}" in capsys.readouterr().out
