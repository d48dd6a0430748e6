"""A model is taken along, brought, forgotten; and the logs that it came from."""

import hashlib
import io
import zipfile
from typing import Any

import pytest

from app.contracts.decisions import MODEL, Manifest
from tests.app.api.decisions.office import Office

BYTES = b"\x06\x00\x00\x009.1.0\x00" + b"what it has learned" * 30
NAME = "20260101T000000.000Z-0001"


def publish(office: Office, model: bytes = BYTES) -> None:
    """A generation by hand."""
    manifest = Manifest(
        generation=NAME,
        state="complete",
        policy="default",
        arguments="--cb_explore_adf",
        position="",
        events=1,
        bytes=len(model),
        hash=hashlib.sha256(model).hexdigest(),
        vowpal="9.1.0",
        settings={},
        metrics={},
        fingerprint="",
        forced=False,
        code_version="0",
        started_at="2026-01-01T00:00:00+00:00",
        published_at="2026-01-01T00:05:00.123000+00:00",
    )
    office.cache.hset(office.space.generations, NAME, manifest.to_json())
    office.cache.set(office.space.part(NAME, MODEL), model)
    office.cache.set(office.space.live, NAME)


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_vw", ".vw"), content)
    return packed.getvalue()


def damaged(kind: int) -> bytes:
    """A zip of one kind whose packed bytes are not what they were."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        archive.writestr("model.vw", BYTES)
    whole = packed.getvalue()
    return whole[:46] + bytes(255 - each for each in whole[46:56]) + whole[56:]


def test_before_anything_is_published_there_is_no_model(office: Office) -> None:
    never = "0001-01-01T00:00:00+00:00"
    told = {"creationTime": never, "lastModifiedTime": never}
    assert office.ask("GET", "/model/properties").json == told
    response = office.ask("GET", "/model")
    assert (response.status_code, response.json["error"]["code"]) == (404, "ResourceNotFound")


def test_the_live_model_is_taken_along(office: Office) -> None:
    publish(office)
    response = office.ask("GET", "/model")
    assert response.data == BYTES
    assert response.mimetype == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment; filename=model.vw"
    assert response.headers["Last-Modified"] == "Thu, 01 Jan 2026 00:05:00 GMT"
    times = office.ask("GET", "/model/properties").json
    assert times["creationTime"] == "2026-01-01T00:00:00+00:00"
    assert times["lastModifiedTime"] == "2026-01-01T00:05:00.123000+00:00"


def test_a_zip_of_it_can_be_brought_again(office: Office) -> None:
    publish(office)
    response = office.ask("GET", "/model", query_string={"signed": "true"})
    assert response.headers["Content-Disposition"] == "attachment; filename=model.vw.zip"
    assert office.ask("PUT", "/model", response.data).status_code == 204
    assert office.cache.get(office.space.imported) == BYTES


def test_a_model_that_is_not_whole_is_given_to_nobody(office: Office) -> None:
    publish(office)
    office.cache.set(office.space.part(NAME, MODEL), BYTES[:-1])
    assert office.ask("GET", "/model").status_code == 500


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (BYTES, None),
        (zipped(model_vw=BYTES, signer=b"a certificate", sha512=b"a signature"), "ignored"),
        (zipped(export__model_vw=BYTES), "ignored"),
    ],
)
def test_a_model_that_is_brought_is_the_trainers_to_publish(
    office: Office, body: bytes, signature: str | None
) -> None:
    response = office.ask("PUT", "/model", body)
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers.get("X-Larder-Signature") == signature
    assert office.cache.get(office.space.imported) == BYTES
    assert office.orders == ["import"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x06\x00\x00\x00nothing",
        b"PK\x03\x04 and no more",
        zipped(model_vw=b"no model"),
        zipped(other_vw=BYTES),
        zipped(model_vw=BYTES)[:-30],
        zipped(model_vw=BYTES).replace(b"\x06", b"\x07"),
        damaged(zipfile.ZIP_BZIP2),
        damaged(zipfile.ZIP_LZMA),
        zipped(model_vw=BYTES + b"\0" * (64 << 20)),
    ],
)
def test_what_is_no_model_is_refused(office: Office, body: bytes) -> None:
    assert office.refused("PUT", "/model", body)[0] == "InvalidModelImportFormat"
    assert not office.cache.exists(office.space.imported, office.space.orders)


def test_the_trainer_is_told_to_forget(office: Office) -> None:
    assert office.ask("DELETE", "/model").status_code == 204
    assert office.ask("DELETE", "/logs").status_code == 204
    assert office.orders == ["reset", "delete_logs"]


def test_since_when_there_are_logs(office: Office) -> None:
    assert office.ask("GET", "/logs/properties").json == {}
    span: dict[str, Any] = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    office.has_logs(**span)
    assert office.ask("GET", "/logs/properties").json == {"dateRange": span}
