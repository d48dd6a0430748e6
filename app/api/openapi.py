"""``/openapi.yaml`` and ``/docs``: all that can be asked, for programs and for people.

``/docs`` is Swagger UI 5.35.0 as its makers publish it (npm: swagger-ui-dist), packed, with the
three lines that start it.
"""

import gzip
from functools import cache
from importlib.resources import files

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound

from app.api import freshness
from app.errors import DocsOff

_SCRIPT = "text/javascript; charset=utf-8"
_PACKED = {"swagger-ui.css": "text/css; charset=utf-8", "swagger-ui-bundle.js": _SCRIPT}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

bp = Blueprint("openapi", __name__)


@bp.get("/openapi.yaml")
def document() -> Response:
    """All of this as an OpenAPI 3.1 document."""
    return written("app")


@bp.get("/docs")
def page() -> Response:
    """The same as a page to read, and to try it out."""
    _check_allowed()
    return shown()


@bp.get("/docs/<name>")
def asset(name: str) -> Response:
    """A script or style of that page."""
    _check_allowed()
    return part(name)


def written(package: str) -> Response:
    """The document of a package."""
    return freshness.packaged(_read(package, "openapi.yaml"), "application/yaml")


def shown() -> Response:
    """The page, which finds ``openapi.yaml`` and ``docs/`` beside it."""
    response = freshness.packaged(_own("docs.html"), "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def part(name: str) -> Response:
    """A script or style of the page. Raises NotFound."""
    if name == "docs.js":
        return freshness.packaged(_own(name), _SCRIPT)
    if name not in _PACKED:
        raise NotFound
    packed = _own(f"{name}.gz")
    is_sent_packed = request.accept_encodings["gzip"] > 0
    body = packed if is_sent_packed else gzip.decompress(packed)
    response = freshness.packaged(body, _PACKED[name])
    response.headers["Vary"] = "Accept-Encoding"
    if is_sent_packed:
        response.headers["Content-Encoding"] = "gzip"
    return response


def _check_allowed() -> None:
    if not current_app.config["LARDER"].docs:
        raise DocsOff(
            "this deployment shows no documentation: set LARDER_DOCS=true to have it; "
            "GET /openapi.yaml is the document alone"
        )


def _own(name: str) -> bytes:
    return _read("app.api", f"swagger_ui/{name}")


@cache
def _read(package: str, name: str) -> bytes:
    return files(package).joinpath(name).read_bytes()
