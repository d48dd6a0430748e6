"""The floors of ``tests.bench.serving``: the least that gunicorn, and Flask on it, can cost.

And the same answer through the Flask route alone, as the API gives it when a request is not plain.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response

from app.api.direct import Direct
from app.http.factory import create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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


def without_direct() -> "WSGIApplication":
    """The API without the middleware that answers the busiest request."""
    flask = create_app()
    assert isinstance(flask.wsgi_app, Direct)
    return flask.wsgi_app._flask
