"""What operators ask of decisions: the application, with a desk on a real server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask

from app.api.decisions import PREVIEW, Wire
from app.api.decisions.application import create
from app.cache.link import Link
from app.contracts.decisions import Decisions, Order
from app.decisions.decider import Decider
from app.decisions.desk import Desk
from app.settings import Settings
from tests.servers import Cluster, Server


@dataclass
class Office:
    """Who asks, at which desk; cache: a plain client of its server."""

    app: Flask
    desk: Desk
    space: Decisions
    cache: Any
    version: str = PREVIEW

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """Of the API in ``version``."""
        prefix = "" if self.version == PREVIEW else f"/{self.version}"
        query = options.pop("query_string", {})
        query |= {"api-version": PREVIEW} if self.version == PREVIEW else {}
        if body is not None:
            options["data" if isinstance(body, bytes) else "json"] = body
        path = f"/personalizer{prefix}{path}"
        return self.app.test_client().open(path, method=method, query_string=query, **options)

    def refused(self, method: str, path: str, body: object, **options: Any) -> tuple[str, str]:
        """The code and the message of a request that is answered with 400."""
        response = self.ask(method, path, body, **options)
        assert response.status_code == 400, response.text
        return response.json["error"]["code"], response.json["error"]["message"]

    def has_logs(self, **span: str) -> None:
        """Say what the trainer says of them: from, to."""
        self.cache.hset(self.space.desk, "logs", json.dumps(span))

    @property
    def orders(self) -> list[str]:
        """What the trainer shall do."""
        texts = self.cache.lrange(self.space.orders, 0, -1)
        return [Order.from_json(text).do for text in texts]


@contextmanager
def linked(server: Server | Cluster) -> Iterator[Link]:
    """A link to a server that was reached."""
    link = Link("the cache", server.url, 60_000, lambda: None)
    link.opened()
    link.answered()
    try:
        yield link
    finally:
        link.close()


def at_desk(link: Link, namespace: str, cache: Any = None) -> Office:
    """Whoever asks at the desk of a namespace."""
    settings, space = Settings(namespace=namespace, decisions="only"), Decisions(namespace)
    wire = Wire(Decider(settings, link), Desk(link, space), lambda: True)
    return Office(create(settings, wire), wire.desk, space, cache)
