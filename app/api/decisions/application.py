"""The application of decisions: its blueprints, below every version of its paths."""

from typing import Any

from flask import Blueprint, Flask, g, request
from werkzeug.routing import BaseConverter

from app.api.decisions import PREVIEW, VERSIONS, Wire, calls, envelope
from app.api.decisions.operators import configuration, evaluations, importances, logs, model, policy
from app.api.parameters import IdConverter
from app.decisions.refusals import Refused
from app.settings import Settings

ROOMS = (calls, configuration, policy, model, logs, evaluations, importances)
ROOT = "/personalizer"


class VersionConverter(BaseConverter):
    """A version of the API that stands in the path."""

    regex = "|".join(each.replace(".", r"\.") for each in VERSIONS)


def create(settings: Settings, wire: Wire, *beside: Blueprint) -> Flask:
    """Make it; beside: blueprints that are not below ``/personalizer``."""
    app = Flask(__name__, static_folder=None)
    app.config["LARDER"] = settings
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.extensions["larder"] = wire
    app.url_map.converters.update(id=IdConverter, version=VersionConverter)
    app.url_map.merge_slashes = False
    for room in ROOMS:
        app.register_blueprint(room.bp, url_prefix=f"{ROOT}/<version:version>")
        app.register_blueprint(room.bp, url_prefix=ROOT, name=f"{room.bp.name}-preview")
    for each in beside:
        app.register_blueprint(each)
    app.url_value_preprocessor(_note_version)
    app.before_request(_check)
    envelope.register(app)
    return app


def _note_version(endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.version = (values or {}).pop("version", PREVIEW)


def _check() -> None:
    """Raise Refused for a version that nobody named, and for pages of another site."""
    is_ours = request.url_rule is not None and request.path.startswith(f"{ROOT}/")
    if is_ours and g.version == PREVIEW and request.args.get("api-version") != PREVIEW:
        message = f"Name the version: ?api-version={PREVIEW}, or {ROOT}/{VERSIONS[0]}/..."
        raise Refused(400, "BadRequest", message, "api-version")
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Refused(403, "InvalidApiAccess", "A page of another site may not ask here.")
