"""The floors of ``tests.bench.serving``: the least that gunicorn, and Flask on it, can cost.

And the road not taken: the one busy route as a plain WSGI callable in front of Flask.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response

from app.api import quoted
from app.cache import Cache
from app.factory import create_app

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


def direct() -> "WSGIApplication":
    """The API with ``GET /recommendations/<user>`` answered before Flask is asked."""
    flask = create_app()
    cache: Cache = flask.extensions["larder"]
    prefix = "/recommendations/"

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "GET" or not path.startswith(prefix):
            return flask(environ, start_response)
        user = path[len(prefix) :].encode("latin-1").decode()
        generation = cache.live()
        (found,), _ = cache.users(generation, [user])
        body = b'{"user":%s,"generation":"%s","source":"%s","recommendations":%s}' % (
            quoted(user),
            generation.manifest.generation.encode(),
            b"personal" if found else b"popular",
            generation.render(found or generation.popular, generation.manifest.k),
        )
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("ETag", f'"{generation.etag}"'),
            ("Cache-Control", "private, max-age=0, must-revalidate"),
        ]
        start_response("200 OK", headers)
        return [body]

    return answer
