"""``/logs``: since when there are logs, and their end."""

from flask import Blueprint, Response

from app.api.decisions import wire
from app.api.decisions.operators.members import answer
from app.contracts.decisions import Order

bp = Blueprint("logs", __name__)


@bp.get("/logs/properties")
def properties() -> Response:
    """The times of the first and the last decision in the logs; nothing where there are none."""
    logs = wire().desk.look().logs
    return answer({"dateRange": {"from": logs["from"], "to": logs["to"]}} if logs else {})


@bp.delete("/logs")
def delete() -> Response:
    """Have the trainer delete all logs."""
    wire().desk.order(Order("delete_logs", "DELETE /logs"))
    return Response(status=204)
