"""What every test may ask for: real servers, a namespace of its own, a published generation."""

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from app.contracts.recommendations import Namespace
from tests.servers import Cluster, Server

_NUMBERS = count(1)


def pytest_configure() -> None:
    """Threads of OpenMP that wait let others work; else tiny trainings are nearly all waiting."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before any test loads the library


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One Valkey server for all tests; each test keeps to its own namespace."""
    with Server() as started:
        yield started


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A Valkey server that a test may stop, freeze or fill."""
    with Server() as started:
        yield started


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of three masters."""
    with Cluster() as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A plain client of the shared server."""
    with redis.Redis.from_url(server.url) as opened:
        yield opened


@pytest.fixture
def cluster_client(cluster: Cluster) -> Iterator[Any]:
    """A plain client of the cluster."""
    with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as opened:
        yield opened
        opened.disconnect_connection_pools()  # its close() leaves those of other threads open


@pytest.fixture
def namespace() -> Namespace:
    """A namespace that no other test uses."""
    return Namespace(f"test-{next(_NUMBERS)}")


@pytest.fixture(scope="session", autouse=True)
def folder_of_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """This run's own: what API and job leave on a machine must not meet that of another run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tmp")
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail the run when a test leaves a process behind."""
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.is_running()]
    left = [child for child in left if child.status() != psutil.STATUS_ZOMBIE]
    assert not left, f"processes left running: {[child.cmdline() for child in left]}"
