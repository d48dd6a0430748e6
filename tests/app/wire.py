"""Requests as they go over the wire: the path is sent byte for byte, nothing is tidied up."""

import json
import socket
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from werkzeug.datastructures import Headers

from tests.servers import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def get(url: str, path: str, **headers: str) -> Answer:
    return send(url, "GET", path, None, headers)


def send(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    with kept_alive(url) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, Headers(response.getheaders()), response.read())


def kept_alive(url: str) -> "closing[HTTPConnection]":
    """A connection for several requests."""
    return closing(HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_SECONDS))


def open_socket(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), PATIENCE_SECONDS)
