"""A client that knows only openapi.yaml, and a server: nothing is answered that is not in it."""

from pathlib import Path

from app.contracts.recommendations import Namespace
from tests.fuzz.openapi import everything, hold
from tests.servers import Server


def test_the_api_does_what_the_document_says(
    server: Server, namespace: Namespace, tmp_path: Path
) -> None:
    """Some cases of each kind; make fuzz has hundreds."""
    with everything(server, namespace, workers="1") as api:
        done = hold(api.url, tmp_path, cases=2, seed=1)
    assert done.returncode == 0, done.stdout + done.stderr
