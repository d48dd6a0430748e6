"""The API over what ``publish_by_hand`` has published, in this process."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.contracts.recommendations import Namespace
from app.recommendations.watcher import Watcher
from tests.app.served import Worker, answering, following, watching
from tests.generations import publish_by_hand
from tests.servers import Server


@pytest.fixture
def watcher(server: Server, client: Any, namespace: Namespace) -> Iterator[Watcher]:
    """A watcher that has looked once."""
    publish_by_hand(client, namespace)
    with watching(server, namespace) as found:
        yield found


@pytest.fixture
def app(server: Server, client: Any, namespace: Namespace) -> Iterator[Flask]:
    """The API without events."""
    publish_by_hand(client, namespace)
    with answering(server, namespace) as made:
        yield made


@pytest.fixture
def api(app: Flask) -> FlaskClient:
    """Who asks it."""
    return app.test_client()


@pytest.fixture
def worker(server: Server, client: Any, namespace: Namespace) -> Iterator[Worker]:
    """One that follows what users do."""
    publish_by_hand(client, namespace)
    with following(server, namespace) as found:
        yield found
