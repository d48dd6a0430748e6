"""The API in this process, over a real server; its threads look when a test says so."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any, Protocol

from flask import Flask
from werkzeug.serving import make_server

from app.contracts.events import Event
from app.contracts.recommendations import Namespace
from app.http.factory import create_app
from app.recommendations.live.tail import Tail
from app.recommendations.watcher import Watcher
from app.settings import Settings
from tests.servers import Server


class Address(Protocol):
    """Whatever has a URL of its own."""

    @property
    def url(self) -> str: ...


def patient(server: Address, namespace: Namespace, **settings: Any) -> Settings:
    """Settings for a machine that may be busy, and of a worker that does not spread its loads."""
    slow = {"cache_timeout_ms": 60_000, **settings}
    return Settings(cache_url=server.url, namespace=namespace.name, **slow)


class Heedful:
    """Who listens to a stream, and to whom every event counts."""

    def counts(self, type: str) -> bool:
        """Whatever it is."""
        return True

    def taken(self, events: Sequence[Event]) -> None:
        """It is of no consequence here."""


@contextmanager
def watching(
    server: Server, namespace: Namespace, *, spread_seconds: float = 0, **settings: Any
) -> Iterator[Watcher]:
    """A watcher that has looked once and has no thread."""
    watcher = Watcher(patient(server, namespace, **settings), spread_seconds=spread_seconds)
    watcher.poll()
    try:
        yield watcher
    finally:
        watcher.stop()


@contextmanager
def answering(server: Server, namespace: Namespace, **settings: Any) -> Iterator[Flask]:
    """The API over such a watcher."""
    with watching(server, namespace, **settings) as watcher:
        app = create_app(
            Settings(cache_url=server.url, namespace=namespace.name, **settings), watcher
        )
        yield app
        if stream := app.extensions["larder"].stream:
            stream.close()
        if decider := app.extensions["larder"].decider:
            decider.stop()


@contextmanager
def deciding(server: Address, namespace: Namespace, **settings: Any) -> Iterator[Flask]:
    """An API that has nothing but decisions, without threads; ``link`` is its extension, too."""
    chosen = patient(server, namespace, **{"decisions": "only", **settings})
    watcher = Watcher(chosen, spread_seconds=0)
    watcher.poll()
    app = create_app(chosen, watcher)
    app.extensions["link"] = watcher
    try:
        yield app
    finally:
        app.extensions["larder"].decider.stop()
        watcher.stop()


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """The URL of that API, for who comes over a socket."""
    at = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=at.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{at.server_port}"
    finally:
        at.shutdown()
        thread.join()
        at.server_close()


@dataclass(frozen=True, slots=True)
class Worker:
    """One of several that follow what users do; ``get`` asks it, ``did`` tells it."""

    app: Flask
    watcher: Watcher
    tail: Tail

    def did(self, type: str, item: str, user: str = "", **more: Any) -> None:
        """Send an event, and expect it to be taken."""
        event = {"type": type, "item": item, "user": user, **more}
        answer = self.app.test_client().post("/events", json=event)
        assert answer.status_code == 202, answer.data

    def get(self, path: str) -> Any:
        """The JSON of an answer."""
        return self.app.test_client().get(path).get_json()

    def items(self, path: str) -> list[str]:
        """The ids of the items of an answer."""
        return [each["item"] for each in self.get(path)["recommendations"]]


@contextmanager
def following(server: Address, namespace: Namespace, **settings: Any) -> Iterator[Worker]:
    """A worker that follows what users do, without threads."""
    chosen = patient(server, namespace, events=True, **settings)
    watcher = Watcher(chosen, spread_seconds=0)
    tail = Tail(chosen, watcher)
    watcher.poll()
    tail.poll()
    try:
        app = create_app(chosen, watcher, tail)
        yield Worker(app, watcher, tail)
        app.extensions["larder"].stream.close()
        if decider := app.extensions["larder"].decider:
            decider.stop()
    finally:
        tail.stop()
        watcher.stop()


def count_reads(client: Any, action: Callable[[], Any]) -> int:
    """How many packets of requests the server has read because of the action."""
    before = client.info("stats")["total_reads_processed"]
    action()
    count: int = client.info("stats")["total_reads_processed"] - before - 1
    return count
