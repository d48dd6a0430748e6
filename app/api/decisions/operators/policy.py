"""``/configurations/policy``: how the model chooses and learns; the service's learning settings."""

from flask import Blueprint, Response

from app.api.decisions import wire
from app.api.decisions.operators.members import Members, answer, of_body
from app.contracts.decisions import MAX_ARGUMENTS, MAX_EVENT_ID, MAX_POLICY_NAME, Policy
from app.contracts.learning import policies
from app.decisions.desk import Look
from app.decisions.refusals import Refused

bp = Blueprint("policy", __name__)


@bp.get("/configurations/policy")
def get() -> Response:
    """The policy in force, exploring as the configuration says."""
    return _told(wire().desk.look())


@bp.put("/configurations/policy")
def put() -> Response:
    """Put a policy in force; the model is learned anew from the latest logs."""
    return _told(wire().desk.put_policy(read(of_body("InvalidPolicyContract"))))


@bp.delete("/configurations/policy")
def reset() -> Response:
    """Go back to the policy that Larder begins with."""
    return _told(wire().desk.put_policy(None))


@bp.post("/configurations/applyFromEvaluation")
def apply() -> Response:
    """Put a policy in force that an evaluation has tried."""
    members = of_body("InvalidRequest")
    name = members.text("policyName", MAX_POLICY_NAME)
    found = wire().desk.evaluation(members.text("evaluationId", MAX_EVENT_ID))
    if found is None:
        raise Refused(404, "EvaluationNotFound", "Offline Evaluation not found.", "evaluationId")
    tried = [each for each in found.results if each["name"] == name]
    if not tried:
        raise Refused(
            404,
            "LearningSettingsNotFound",
            f"this evaluation has no result of a policy {name!r:.60}: look at its policies.",
            "policyName",
        )
    wire().desk.put_policy(checked(name, str(tried[0].get("arguments") or "")))
    return Response(status=204)


def read(members: Members) -> Policy:
    """The policy that a body names. Raises Refused."""
    name = members.text("name", MAX_POLICY_NAME)
    return checked(name, members.text("arguments", MAX_ARGUMENTS))


def checked(name: str, arguments: str) -> Policy:
    """A policy of arguments that are allowed. Raises Refused."""
    try:
        policies.check(arguments)
    except policies.BadPolicy as error:
        raise Refused(400, "InvalidPolicyConfiguration", str(error), "arguments") from error
    return Policy(name, arguments)


def _told(look: Look) -> Response:
    name = (look.policy or policies.DEFAULT).name
    return answer({"name": name, "arguments": look.arguments})
