"""WSGI applications that show what the worker made of a request."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def echo(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """The body; with a path of digits, as many bytes as it says."""
    size = environ["PATH_INFO"].strip("/")
    body = b"x" * int(size) if size else environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def fails(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Nothing, after it has begun to answer."""
    start_response("200 OK", [("Content-Length", "10")])
    yield b"half"
    raise ValueError("a mistake of the application")
