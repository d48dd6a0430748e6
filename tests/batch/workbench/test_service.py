"""A server beside a notebook: ready when it is returned, and gone when it is stopped."""

import urllib.request
from pathlib import Path

import pytest

from app.contracts.recommendations import Namespace
from batch.command.up import StepFailed
from batch.workbench import serve
from batch.workbench.commands import larder
from tests.batch.command.test_cli import write
from tests.batch.pairs import checkerboard
from tests.servers import Server


def test_a_server_answers_until_it_is_stopped(
    server: Server, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARDER_CACHE_URL", server.url)
    monkeypatch.setenv("LARDER_NAMESPACE", namespace.name)
    larder(f"refresh {write(tmp_path / 'orders.csv', checkerboard())} --k 3")
    api = serve(docs=True)
    with urllib.request.urlopen(f"{api.url}/docs") as answer:
        assert answer.status == 200
    assert api.log.exists()
    api.stop()
    assert not api.log.exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{api.url}/docs")


def test_a_server_that_does_not_start_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed, match="the API ended with exit code"):
        serve(workers="many")
    assert "LARDER_WORKERS" in capsys.readouterr().out
