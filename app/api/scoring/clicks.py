"""``/rank/click`` and its like: how likely is it that a user clicks these items?"""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from app.api import FAILED, Sources, freshness, parameters, sources
from app.api.scoring import candidates
from app.api.scoring.candidates import Asked
from app.clicks.ranker import Candidate, Ranked, Ranker
from app.errors import CacheUnavailable, ClicksOff, NothingPublished
from app.recommendations.generation import Generation, quoted
from app.recommendations.memory.near_cache import Entries

if TYPE_CHECKING:
    from app.clicks.scorer import Explanation

VERSION = "X-Model-Version"

bp = Blueprint("clicks", __name__)


@bp.post("/rank/click")
def rank() -> Response:
    """Up to 500 items in the order in which a user is likely to click them."""
    if failed := request.environ.get(FAILED):
        raise failed
    parameters.only(request.args, ("explain",))
    wanted = parameters.choice("explain", request.args.get("explain"), ("false", "true"))
    ranker()  # before a word about the body
    asked = candidates.read(parameters.body(), wanted == "true")
    body, version = ranked(sources(), asked)
    return _answer(body, version)


@bp.post("/invocations")
def invoke() -> Response:
    """The probability of a click for each row, as clients of MLflow and SageMaker ask for it."""
    parameters.only(request.args, ())
    found = ranker().rank(None, {}, candidates.frame(parameters.body()), what="row")
    scores = ",".join([f"{score:.7g}" for score in found.scores.scores.tolist()])
    return _answer(b'{"predictions":[%s]}' % scores.encode(), _version(found))


@bp.get("/ping")
def ping() -> Response:
    """Whether this worker has a click model to answer from."""
    ranker().follower.live()
    return freshness.answer(b'{"status":"ready"}', None)


@bp.get("/version")
def version() -> Response:
    """Which click model this worker answers from, and the columns that it knows."""
    manifest = ranker().follower.live().manifest
    body = {
        "model": "click",
        "version": manifest.generation,
        "published_at": manifest.published_at,
        "trees": manifest.trees,
        "members": manifest.members,
        "columns": [dict(zip(("name", "kind"), each, strict=True)) for each in manifest.columns],
    }
    return _answer(json.dumps(body).encode(), manifest.generation)


def ranker() -> Ranker:
    """Raises ClicksOff where this deployment ranks nothing."""
    found = sources().ranker
    if found is None:
        raise ClicksOff("this deployment has no click model: set LARDER_CLICKS=on to have one")
    return found


def ranked(sources: Sources, asked: Asked) -> tuple[bytes, str]:
    """The answer, and the generation of the model that has made it."""
    assert sources.ranker
    started = time.perf_counter()
    found = sources.ranker.rank(asked.user, asked.features, asked.candidates, _catalogue(sources))
    order, scores = found.order[: asked.top], found.scores.scores.tolist()
    why = map(_explained, found.explained(asked.top)) if asked.explain else None
    items = [
        b'{"item":%s,"score":%.7g,"rank":%d%s}'
        % (quoted(asked.candidates[row][0]), scores[row], rank, next(why) if why else b"")
        for rank, row in enumerate(order, 1)
    ]
    took = b""
    if asked.is_metarank:
        took = b'"took":%d,' % ((time.perf_counter() - started) * 1000)
    version = _version(found)
    end = b',"unknown":[%s]' % b",".join(map(quoted, found.strangers)) if found.strangers else b""
    if found.degraded:
        end += b',"degraded":true'
    return (
        b'{%s"model":"click","version":"%s","items":[%s]%s}'
        % (took, version.encode(), b",".join(items), end),
        version,
    )


def in_order(
    ranker: Ranker, generation: Generation, user: str, items: Sequence[int]
) -> tuple[Entries, bool] | None:
    """Items of a list in the order of their scores, and whether something was not there to know.

    None while this worker has no model.
    """
    candidates: list[Candidate] = [(generation.id_of(item), None) for item in items]
    try:
        found = ranker.rank(user, {}, candidates, generation)
    except (CacheUnavailable, NothingPublished):
        return None
    scores = found.scores.scores.tolist()
    return [(items[row], scores[row]) for row in found.order], found.degraded


def headers(version: str) -> list[tuple[str, str]]:
    """Those of an answer by a model."""
    return [*freshness.headers(None, 0), (VERSION, version)]


def _answer(body: bytes, version: str) -> Response:
    return Response(body, headers=headers(version))


def _version(found: Ranked) -> str:
    return found.scorer.manifest.generation


def _explained(found: "Explanation") -> bytes:
    columns = sorted(found.columns.items(), key=lambda each: -abs(each[1]))
    added = b",".join([b"%s:%.6g" % (quoted(name), value) for name, value in columns])
    return b',"explanation":{"base":%.6g,"columns":{%s},"user":%.6g,"calibration":%.6g}' % (
        found.base,
        added,
        found.user,
        found.calibration,
    )


def _catalogue(sources: Sources) -> Generation | None:
    """Where items are that come as ids; None where there are no lists."""
    try:
        return sources.watcher.live()
    except (CacheUnavailable, NothingPublished):
        return None
