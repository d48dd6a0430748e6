"""What applications call: rank, reward, activate, of one slot or of several."""

from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from app.api import FAILED, freshness
from app.api.decisions import wire
from app.api.parameters import check_path
from app.decisions.decider import Answer

bp = Blueprint("calls", __name__)

EMPTY = [("Cache-Control", "no-store")]


@bp.post("/rank")
def rank() -> Response:
    """Choose one of the actions, and put the others behind it."""
    return _decided(wire().decider.rank(_body()))


@bp.post("/events/<id:event_id>/reward")
def reward(event_id: str) -> Response:
    """Say what a decision was worth, as a number from -1 to 1."""
    wire().decider.reward(_checked(event_id), _body())
    return _taken()


@bp.post("/events/<id:event_id>/activate")
def activate(event_id: str) -> Response:
    """Say that a decision of deferActivation was used."""
    _body()
    wire().decider.activate(_checked(event_id))
    return _taken()


@bp.post("/multislot/rank")
def rank_slots() -> Response:
    """Choose one of the actions for each slot, none of them twice."""
    return _decided(wire().decider.rank_slots(_body()))


@bp.post("/multislot/events/<id:event_id>/reward")
def reward_slots(event_id: str) -> Response:
    """Say what the decisions of some slots were worth."""
    wire().decider.reward_slots(_checked(event_id), _body())
    return _taken()


@bp.post("/multislot/events/<id:event_id>/activate")
def activate_slots(event_id: str) -> Response:
    """Say that a decision for several slots was used."""
    return activate(event_id)


def headers(answer: Answer) -> list[tuple[str, str]]:
    """Those of a decision; one that nobody could log is learned never."""
    kind = freshness.headers(None, 0)
    return kind if answer.logged else [*kind, ("X-Larder-Logged", "false")]


def _decided(answer: Answer) -> Response:
    return Response(answer.body, 201, headers=headers(answer))


def _taken() -> Response:
    response = Response(status=204, headers=EMPTY)
    del response.headers["Content-Type"]
    return response


def _checked(event_id: str) -> str:
    check_path("eventId", event_id)
    return event_id


def _body() -> bytes:
    """The body, of whatever type it says it is. Raises what the direct path has met."""
    if failed := request.environ.get(FAILED):
        raise failed
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send the body as it is, without Content-Encoding.")
    sent = request.get_data()
    request.stream.read(1)  # a chunked body is cut at the limit, and only this says so: 413
    return sent
