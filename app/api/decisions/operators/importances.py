"""``/featureImportances``: which features of contexts and actions say most about rewards."""

from typing import Any

from flask import Blueprint, Response

from app.api.decisions import wire
from app.api.decisions.operators import asked
from app.api.decisions.operators.members import answer, now, of_body
from app.contracts.decisions import Importance
from app.decisions.refusals import Refused

_CODE = "InvalidRequest"
_STATUS = {"queued": "Running", "running": "Running", "succeeded": "Succeeded", "failed": "Failed"}

bp = Blueprint("importances", __name__)


@bp.get("/featureImportances")
def every() -> Response:
    """All of them, the latest first."""
    return asked.page([_head(each) for each in wire().desk.importances.all()])


@bp.put("/featureImportances/<id:id>")
def put(id: str) -> Response:
    """Ask for one of this id; to ask for the same again changes nothing."""
    members = of_body(_CODE)
    name, start, end = asked.of_logs(wire().desk.look().logs, members)
    record = Importance(asked.identifier(id, _CODE), name, start, end, now())
    asked.file(wire().desk.importances, record, _CODE)
    return Response(status=200)


@bp.get("/featureImportances/<id:id>")
def get(id: str) -> Response:
    """The scores of features, the best first; while they are reckoned, none."""
    found = wire().desk.importances.find(id)
    if found is None:
        raise _not_found()
    scores = [
        {"namespace": namespace, "featureName": feature, "score": score}
        for namespace, feature, score in found.scores
    ]
    return answer({**_head(found), "featureScores": scores})


@bp.delete("/featureImportances/<id:id>")
def delete(id: str) -> Response:
    """Forget one."""
    if not wire().desk.importances.remove(id):
        raise _not_found()
    return Response(status=204)


def _head(found: Importance) -> dict[str, Any]:
    return {**asked.head(found), "status": _STATUS[found.status]}


def _not_found() -> Refused:
    return Refused(404, "FeatureImportanceNotFound", "Feature Importance not found.")
