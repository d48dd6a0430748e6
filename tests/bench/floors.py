"""The floors of ``tests.bench.serving``: the least that gunicorn, and Flask on it, can cost."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY = b'{"constant":"' + b"x" * 1000 + b'"}'
"""About as long as an answer of ten films with their titles."""


def bare(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """A WSGI application that does nothing."""
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]
    )
    return [BODY]


constant = Flask(__name__, static_folder=None)


@constant.get("/recommendations/<user>")
def _constant(user: str) -> Response:
    return Response(BODY, content_type="application/json")
