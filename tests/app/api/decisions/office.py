"""What operators ask of decisions: the application, with a desk on a real server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, g

from app.api.decisions import (
    PREVIEW,
    Wire,
    configuration,
    evaluations,
    importances,
    logs,
    model,
    policy,
)
from app.api.decisions.members import answer
from app.cache.link import Link
from app.contracts.decisions import Decisions, Order
from app.decisions.desk import Desk
from app.decisions.refusals import Refused
from app.errors import CacheUnavailable
from app.http.factory import IdConverter
from tests.servers import Server


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
def linked(server: Server) -> Iterator[Link]:
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
    space = Decisions(namespace)
    desk = Desk(link, space)
    return Office(_app(desk), desk, space, cache)


def _app(desk: Desk) -> Flask:
    app = Flask(__name__)
    app.extensions["larder"] = Wire(desk)
    app.url_map.converters["id"] = IdConverter

    def note(endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.version = (values or {}).pop("version", PREVIEW)

    app.url_value_preprocessor(note)
    for module in (configuration, policy, model, logs, evaluations, importances):
        app.register_blueprint(module.bp, url_prefix="/personalizer/<version>")
        app.register_blueprint(module.bp, url_prefix="/personalizer", name=f"{module.bp.name}-p")

    def refused(error: Refused) -> Response:
        told = {"code": error.code, "message": str(error), "target": error.target}
        return answer({"error": told}, error.status)

    def away(error: CacheUnavailable) -> Response:
        return answer({"error": {"code": "OperationNotAllowed", "message": str(error)}}, 503)

    app.register_error_handler(Refused, refused)
    app.register_error_handler(CacheUnavailable, away)
    return app
