"""The API in this process, over a real server; the watcher looks when a test says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from app.contracts.recommendations import Namespace
from app.http.factory import create_app
from app.recommendations.watcher import Watcher
from app.settings import Settings
from tests.servers import Server


@contextmanager
def watching(
    server: Server, namespace: Namespace, *, spread_seconds: float = 0, **settings: Any
) -> Iterator[Watcher]:
    """A watcher that has looked once and has no thread."""
    patient = {"cache_timeout_ms": 60_000, **settings}
    watcher = Watcher(
        Settings(cache_url=server.url, namespace=namespace.name, **patient),
        spread_seconds=spread_seconds,
    )
    watcher.poll()
    try:
        yield watcher
    finally:
        watcher.stop()


@contextmanager
def answering(server: Server, namespace: Namespace, **settings: Any) -> Iterator[Flask]:
    """The API over such a watcher."""
    with watching(server, namespace, **settings) as watcher:
        yield create_app(
            Settings(cache_url=server.url, namespace=namespace.name, **settings), watcher
        )
