"""Requests to score candidates: our own shape, Metarank's, and those of MLflow and SageMaker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.api.parameters import as_object, identifier, only
from app.clicks.ranker import Candidate
from app.clicks.rows import Features
from app.errors import BadParameter, TooLarge

MAX_ITEMS = 500
MAX_EXPLAINED = 50
"""An explanation takes milliseconds an item."""

EXAMPLE = '{"user":"15","features":{"hour":20},"items":["1",{"id":"2","features":{"price":9.5}}]}'

_MEMBERS = ("user", "features", "fields", "items", "top", "explain", "id", "timestamp", "session")
"""The last three are Metarank's, and say nothing here."""

_FRAMES = ("dataframe_split", "dataframe_records", "instances", "inputs")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for. is_metarank: its shape has fields in place of features."""

    user: str | None
    features: Features
    candidates: list[Candidate]
    top: int
    explain: bool
    is_metarank: bool


def read(body: bytes, explain: bool = False) -> Asked:
    """A request to rank, which the query may want explained. Raises BadParameter and TooLarge."""
    raw = as_object(body, EXAMPLE)
    only(raw, _MEMBERS, "member")
    items = raw.get("items")
    if not isinstance(items, list) or not items:
        raise BadParameter(f"items must be a list of 1 to {MAX_ITEMS} items, as in {EXAMPLE}")
    _check_length("items", items)
    candidates = [_candidate(item) for item in items]
    user, wanted = raw.get("user"), raw.get("explain", explain)
    if not isinstance(wanted, bool):
        raise BadParameter(f"explain must be true or false, not {str(wanted)[:40]!r}")
    top = raw.get("top", len(items))
    if type(top) is not int or not 1 <= top <= MAX_ITEMS:
        raise BadParameter(f"top must be a whole number from 1 to {MAX_ITEMS}, not {top!r:.40}")
    if wanted and min(top, len(items)) > MAX_EXPLAINED:
        raise BadParameter(f"at most {MAX_EXPLAINED} items are explained: ask for a smaller top")
    return Asked(
        None if user is None else identifier("user", user),
        _features(raw, "the request") or {},
        candidates,
        top,
        wanted,
        "fields" in raw or any(type(item) is dict and "fields" in item for item in items),
    )


def frame(body: bytes) -> list[Candidate]:
    """The rows of a request to ``/invocations``. Raises BadParameter and TooLarge."""
    raw = as_object(body, '{"dataframe_split":{"columns":["price"],"data":[[9.5]]}}')
    only(raw, (*_FRAMES, "params"), "member")
    named = [name for name in _FRAMES if name in raw]
    if len(named) != 1:
        raise BadParameter(f"the body must have one of {', '.join(_FRAMES)}, not {len(named)}")
    (name,) = named
    records = _records(name, raw[name])
    _check_length(name, records)
    for place, record in enumerate(records):
        if not isinstance(record, dict):
            raise BadParameter(f"row {place} of {name} must be an object of columns")
    return [(str(place), record) for place, record in enumerate(records)]


def _records(name: str, given: Any) -> list[Any]:
    if name == "dataframe_split":
        return _split(given)
    if name == "inputs" and isinstance(given, dict):
        return _by_column(given)
    if not isinstance(given, list):
        raise BadParameter(f"{name} must be a list of objects, each of the columns of a row")
    return given


def _split(given: Any) -> list[Any]:
    found: dict[str, Any] = given if type(given) is dict else {}
    columns: Any = found.get("columns")
    data: Any = found.get("data")
    if _is_list_of(str, columns) and _is_list_of(list, data):
        if all(len(row) == len(columns) for row in data):
            return [dict(zip(columns, row, strict=True)) for row in data]
    raise BadParameter("dataframe_split must have columns, and rows of as many values in data")


def _by_column(given: dict[str, Any]) -> list[Any]:
    values = list(given.values())
    if not _is_list_of(list, values) or len({len(each) for each in values}) != 1:
        raise BadParameter("inputs must be rows, or columns of as many values each")
    return [dict(zip(given, row, strict=True)) for row in zip(*values, strict=True)]


def _is_list_of(kind: type, given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, kind) for each in given)


def _check_length(name: str, given: list[Any]) -> None:
    if len(given) > MAX_ITEMS:
        raise TooLarge(f"{name} must be at most {MAX_ITEMS}, not {len(given)}: send less at a time")


def _candidate(item: Any) -> Candidate:
    if type(item) is not dict:
        return identifier("items", item), None
    if len(item) > 1 and not item.keys() <= {"id", "features", "fields"}:
        only(item, ("id", "features", "fields"), "member of an item")
    name = identifier("the id of an item", item.get("id"))
    return name, _features(item, f"item {name[:40]!r}")


def _features(raw: Mapping[str, Any], where: str) -> Features | None:
    """Those of one object; None where it has none."""
    features: dict[str, Any] | None = raw.get("features")
    if "features" in raw and type(features) is not dict:
        raise BadParameter(f"features of {where} must be an object of columns")
    if "fields" not in raw:
        return features
    fields = raw["fields"]
    if not _is_list_of(dict, fields) or not all(map(_is_field, fields)):
        raise BadParameter(f"fields of {where} must be a list of objects of a name and a value")
    return {**(features or {}), **{each["name"]: each["value"] for each in fields}}


def _is_field(given: dict[str, Any]) -> bool:
    return given.keys() == {"name", "value"} and isinstance(given["name"], str)
