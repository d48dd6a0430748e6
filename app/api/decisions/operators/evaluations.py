"""``/evaluations``: what policies would have earned, by the logs, in both shapes of the service."""

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, request

from app.api.decisions import PREVIEW, VERSIONS, version, wire
from app.api.decisions.operators import asked
from app.api.decisions.operators.asked import Window
from app.api.decisions.operators.members import Members, answer, now, of_body
from app.api.decisions.operators.policy import read
from app.contracts.decisions import Evaluation
from app.contracts.learning.estimates import Sums
from app.decisions.refusals import Refused

MAX_POLICIES = 10

_CODE = "InvalidEvaluationContract"
_NAMED_BY_LARDER = ("online", "baseline1", "baselineRand")
_SEARCH = ("enablePolicyOptimization", "enableOfflineExperimentation")
"""In the last version of the API, and in those before: any takes both."""
_FILTER = re.compile(r"\s*(?:metadata=)?evaluationType\s+eq\s+'(Manual|Auto)'\s*", re.IGNORECASE)
_STATUS = {
    "queued": ("Running", "pending"),
    "running": ("Running", "pending"),
    "succeeded": ("Succeeded", "completed"),
    "failed": ("Failed", "failed"),
    "applied": ("OptimalPolicyApplied", "optimalPolicyApplied"),
    "retained": ("OnlinePolicyRetained", "onlinePolicyRetained"),
}
"""In the last version of the API, and in those before."""

bp = Blueprint("evaluations", __name__)


@bp.get("/evaluations")
def every() -> Response:
    """All evaluations, the latest first, without results; the last version has pages of them."""
    found = wire().desk.evaluations.all()
    if version() != PREVIEW:
        return answer([_shape_of_v1(each) for each in found])
    if wanted := request.args.get("filter"):
        kind = _FILTER.fullmatch(wanted)
        if not kind:
            message = "filter must be evaluationType eq 'Manual' or evaluationType eq 'Auto'."
            raise Refused(400, "InvalidRequest", message, "filter")
        found = [each for each in found if each.automatic == (kind[1].lower() == "auto")]
    return asked.page([_head(each) for each in found])


@bp.post("/evaluations")
def post() -> Response:
    """Ask for an evaluation, whose id is made here."""
    evaluation = _read(str(uuid.uuid4()))
    asked.file(wire().desk.evaluations, evaluation, _CODE)
    response = answer(_shape_of_v1(evaluation), 201)
    response.headers["Location"] = f"{request.base_url}/{evaluation.id}"
    return response


@bp.put("/evaluations/<id:id>")
def put(id: str) -> Response:
    """Ask for an evaluation of this id; to ask for the same again changes nothing."""
    asked.file(wire().desk.evaluations, _read(asked.identifier(id, _CODE)), _CODE)
    return Response(status=200)


@bp.get("/evaluations/<id:id>")
def get(id: str) -> Response:
    """What is known of an evaluation; while it runs, no results."""
    found = wire().desk.evaluation(id)
    if found is None:
        raise _not_found()
    if version() != PREVIEW:
        return answer(_shape_of_v1(found))
    window = Window.read(request.args, found.start, found.end)
    content = {**window.told(), "value": [_series(each, window) for each in found.results]}
    optimal = {"optimalPolicy": found.optimal} if found.optimal else {}
    return answer({**_head(found), **optimal, "content": content})


@bp.delete("/evaluations/<id:id>")
def delete(id: str) -> Response:
    """Forget an evaluation."""
    if not wire().desk.forget_evaluation(id):
        raise _not_found()
    return Response(status=204)


def _not_found() -> Refused:
    return Refused(404, "EvaluationNotFound", "Offline Evaluation not found.")


def _read(id: str) -> Evaluation:
    """The evaluation that the body asks for. Raises Refused."""
    members = of_body(_CODE)
    name, start, end = asked.of_logs(wire().desk.look().logs, members)
    policies = [_policy(each) for each in members.array("policies")]
    if len(policies) > MAX_POLICIES:
        raise Refused(400, _CODE, f"policies must be {MAX_POLICIES} at most.", "policies")
    names = [*_NAMED_BY_LARDER, *(name for name, _ in policies)]
    if len(set(names)) < len(names):
        message = f"Names of policies must differ, also from {', '.join(_NAMED_BY_LARDER)}."
        raise Refused(400, "DuplicateCustomPolicyNames", message, "policies")
    searches = [members.flag(each) for each in _SEARCH]
    return Evaluation(id, name, start, end, now(), policies, any(searches))


def _policy(found: object) -> tuple[str, str]:
    policy = read(Members(found, _CODE))
    return policy.name, policy.arguments


def _head(found: Evaluation) -> dict[str, Any]:
    """What all of them have in the last version of the API."""
    kind = "Auto" if found.automatic else "Manual"
    return {**asked.head(found), "status": _STATUS[found.status][0], "evaluationType": kind}


def _series(result: Mapping[str, Any], window: Window) -> dict[str, Any]:
    """A policy over time: all until then, or in mode Rolling each interval for itself."""
    total, rows = Sums(), dict[int, Sums]()
    for at, sums in _rows(result):
        if window.holds(at):
            total += sums
            until = window.end_of(at)
            rows[until] = total if window.expands else rows.get(until, Sums()) + sums
    data = [{"timeStamp": asked.moment(until), **_estimate(rows[until])} for until in sorted(rows)]
    told = {**_named(result), "slotId": result["slot"]}
    return {**told, "summary": _estimate(total), "timeseries": {"data": data}}


def _estimate(sums: Sums) -> dict[str, Any]:
    return {"expectedReward": sums.snips, "confidenceInterval": list(sums.interval)}


def _named(result: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {"arguments": result["arguments"]} if result["arguments"] else {}
    return {"name": result["name"], **arguments, "policySource": result["source"]}


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[int, Sums]]:
    return ((row[0], Sums(*row[1:])) for row in sorted(result["rows"]))


def _shape_of_v1(found: Evaluation) -> dict[str, Any]:
    """An evaluation as versions 1.0 and 1.1 have it; the former has fewer words for its status."""
    status = _STATUS[found.status][1]
    if version() == VERSIONS[0] and found.status in ("applied", "retained"):
        status = "completed"
    told = {
        **asked.head(found),
        "status": status,
        "evaluationType": "Auto" if found.automatic else "Manual",
        "policyResults": [_result_of_v1(found, each) for each in found.results],
        "featureImportance": found.importance,
    }
    return told | ({"optimalPolicy": found.optimal} if found.optimal else {})


def _result_of_v1(found: Evaluation, result: Mapping[str, Any]) -> dict[str, Any]:
    rows = list(_rows(result))
    summary = [{"timeStamp": asked.moment(at), **_sums_of_v1(sums)} for at, sums in rows]
    total = {"timeStamp": found.end, **_sums_of_v1(sum((sums for _, sums in rows), Sums()))}
    slot = {"slotId": result["slot"]} if result["slot"] else {}
    return {**_named(result), **slot, "summary": summary, "totalSummary": total}


def _sums_of_v1(sums: Sums) -> dict[str, Any]:
    return {
        "ipsEstimatorNumerator": sums.wr,
        "ipsEstimatorDenominator": sums.events,
        "snipsEstimatorDenominator": sums.w,
        "aggregateTimeWindow": "PT0S",
        "nonZeroProbability": sums.matched,
        "sumOfSquares": sums.w2r2,
        "confidenceInterval": sums.half_width,
        "averageReward": sums.ips,
    }
