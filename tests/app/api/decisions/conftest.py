"""What tests of the API of decisions share."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.contracts.recommendations import Namespace
from tests.app.api.decisions.office import Office, at_desk, linked
from tests.servers import Server


@pytest.fixture
def office(server: Server, client: Any, namespace: Namespace) -> Iterator[Office]:
    """A desk of its own for each test, and who asks there."""
    with linked(server) as link:
        yield at_desk(link, namespace.name, client)
