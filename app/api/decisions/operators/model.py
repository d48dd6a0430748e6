"""``/model``: take the live model along, bring one, or begin anew."""

import io
import lzma
import re
import zipfile
import zlib
from datetime import datetime
from email.utils import format_datetime
from typing import Never

from flask import Blueprint, Response, request

from app.api.decisions import wire
from app.api.decisions.operators.members import answer
from app.contracts.decisions import Order
from app.decisions.refusals import Refused

MAX_MODEL_BYTES = 64 << 20
"""What a zip may hold; the body itself has a limit of its own."""

_NEVER = "0001-01-01T00:00:00+00:00"
_FILE = "model.vw"
_HEAD = re.compile(rb"[\x06-\x09]\0\0\0(8\.([6-9]|1[01])|9\.\d\d?)\.\d\d?\0")
"""A model begins with the release that saved it."""
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError),
)

bp = Blueprint("model", __name__)


@bp.get("/model")
def get() -> Response:
    """The live model; with ``signed=true`` in a zip, as the service gave it."""
    found = wire().desk.model()
    if found is None:
        raise Refused(404, "ResourceNotFound", "No model has been published yet.")
    manifest, body = found
    signed = request.args.get("signed", "false").lower() == "true"
    response = Response(_zipped(body) if signed else body, mimetype="application/octet-stream")
    name = f"{_FILE}.zip" if signed else _FILE
    response.headers["Content-Disposition"] = f"attachment; filename={name}"
    published = datetime.fromisoformat(manifest.published_at)
    response.headers["Last-Modified"] = format_datetime(published, usegmt=True)
    return response


@bp.put("/model")
def put() -> Response:
    """Have the trainer publish a model: Vowpal Wabbit's own file, or the service's signed zip."""
    body = request.get_data()
    is_zip = body.startswith(b"PK")
    model = _unzipped(body) if is_zip else body
    if not _HEAD.match(model):
        _refuse("it does not begin as one of Vowpal Wabbit 8.6 or later")
    wire().desk.import_model(model, "PUT /model")
    response = Response(status=204)
    if is_zip:
        response.headers["X-Larder-Signature"] = "ignored"
    return response


@bp.delete("/model")
def reset() -> Response:
    """Have the trainer forget all that was learned."""
    wire().desk.order(Order("reset", "DELETE /model"))
    return Response(status=204)


@bp.get("/model/properties")
def properties() -> Response:
    """When the live model was begun, and when it was published."""
    manifest = wire().desk.manifest()
    begun = manifest.started_at if manifest else _NEVER
    published = manifest.published_at if manifest else _NEVER
    return answer({"creationTime": begun, "lastModifiedTime": published})


def _zipped(model: bytes) -> bytes:
    """Without a signature: nobody here has the key of one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_FILE, model)
    return packed.getvalue()


def _unzipped(body: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = {name.rpartition("/")[2]: name for name in archive.namelist()}
            if _FILE not in names:
                _refuse(f"the zip holds no {_FILE}")
            with archive.open(names[_FILE]) as packed:
                model = packed.read(MAX_MODEL_BYTES + 1)
    except _BROKEN as error:
        raise Refused(400, "InvalidModelImportFormat", f"The zip is broken: {error}.") from error
    if len(model) > MAX_MODEL_BYTES:
        _refuse(f"its model is larger than {MAX_MODEL_BYTES} bytes")
    return model


def _refuse(why: str) -> Never:
    message = f"This is no model: {why}. Send {_FILE}, or a zip with it."
    raise Refused(400, "InvalidModelImportFormat", message)
