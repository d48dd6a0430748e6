"""``/configurations/service``: how decisions are made and learned."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, request

from app.api.decisions import PREVIEW, version, wire
from app.api.decisions.members import Members, answer, duration, now
from app.contracts.decisions import AGGREGATIONS, DAY_MS, MODES, Configuration
from app.decisions.desk import Look
from app.decisions.refusals import Refused

LEAST_WAIT_MS, MOST_WAIT_MS = 5_000, 2 * DAY_MS
LEAST_EXPORT_MS, MOST_EXPORT_MS = 1_000, DAY_MS

_CODE = "InvalidServiceConfiguration"
_REQUIRED = (
    "rewardWaitTime",
    "defaultReward",
    "rewardAggregation",
    "explorationPercentage",
    "modelExportFrequency",
    "logRetentionDays",
)
_REWARDS = ("wait_ms", "default_reward", "aggregation")
_APPRENTICE = {
    "numberOfEvents": "events",
    "numberOfImitatedEvents": "imitated",
    "sumOfRewards": "rewards",
    "sumOfImitatedRewards": "imitated_rewards",
}

bp = Blueprint("configuration", __name__)


@bp.get("/configurations/service")
def get() -> Response:
    """The configuration, with how the model does in mode Apprentice."""
    return answer(told(wire().desk.look()))


@bp.put("/configurations/service")
def put() -> Response:
    """Put a configuration in force; what a version of the API does not know stays as it is."""
    required = (*_REQUIRED, "modelRetrainDays") if version() == PREVIEW else _REQUIRED
    return _changed(required)


@bp.patch("/configurations/service")
def patch() -> Response:
    """Change some of its members, as clients of the first preview do."""
    return _changed(())


def _changed(required: tuple[str, ...]) -> Response:
    members = Members(request.get_data(), _CODE)
    members.require(required)
    if members.flag("logMirrorEnabled"):
        raise Refused(
            400,
            _CODE,
            "logMirrorEnabled must be false: nothing is mirrored from here; 'larder decisions logs "
            "export' writes the logs to a folder that you choose.",
            "logMirrorEnabled",
        )
    given = [(name, *_READ[name]) for name in _READ if name in members]
    wanted = {field: read(members, name) for name, field, read in given}
    wanted["edited_at"] = now()
    return answer(told(wire().desk.change(lambda look: _after(look, wanted))))


def _after(look: Look, wanted: Mapping[str, Any]) -> tuple[Look, str]:
    before = look.configuration
    after = replace(before, **wanted)
    anew = [name for name in _REWARDS if getattr(before, name) != getattr(after, name)]
    if anew and before.mode != after.mode:
        raise Refused(
            400,
            "InvalidLearningModeServiceConfiguration",
            "learningMode cannot change together with rewardWaitTime, defaultReward or "
            "rewardAggregation: change one after the other.",
            "learningMode",
        )
    _check_retention(after)
    return replace(look, configuration=after), "another reward" if anew else ""


def _check_retention(after: Configuration) -> None:
    if after.retention_days == -1 or after.retention_days * DAY_MS >= after.wait_ms + DAY_MS:
        return
    raise Refused(
        400,
        "InvalidLogRetentionDays",
        "logRetentionDays must be -1, for ever, or rewardWaitTime and a day more, which is "
        f"{-(-after.wait_ms // DAY_MS) + 1}; not {after.retention_days}.",
        "logRetentionDays",
    )


def told(look: Look) -> dict[str, Any]:
    """A configuration as it is answered."""
    it = look.configuration
    found: dict[str, Any] = {
        "rewardWaitTime": duration(it.wait_ms),
        "defaultReward": it.default_reward,
        "rewardAggregation": it.aggregation,
        "explorationPercentage": it.exploration,
        "modelExportFrequency": duration(it.export_ms),
        "logMirrorEnabled": False,
        "logRetentionDays": it.retention_days,
        "learningMode": it.mode,
        "isAutoOptimizationEnabled": it.optimises,
        "autoOptimizationFrequency": duration(it.optimise_days * DAY_MS),
        "modelRetrainDays": it.retrain_days,
        "isInferenceExplainabilityEnabled": it.explains,
    }
    found |= {"lastConfigurationEditDate": it.edited_at} if it.edited_at else {}
    found |= {"autoOptimizationStartDate": it.optimise_from} if it.optimise_from else {}
    apprentice = _apprentice(look.apprentice)
    return found | ({"latestApprenticeModeMetrics": apprentice} if apprentice else {})


def _apprentice(told: Mapping[str, Any]) -> dict[str, Any]:
    if not told:
        return {}
    return {
        "startTime": told["start"],
        **_counts(told),
        "lastProcessedEventTime": told["last"],
        "lastBatchMetrics": _counts(told["batch"]),
    }


def _counts(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[field] for name, field in _APPRENTICE.items()}


def _wait(members: Members, name: str) -> int:
    return members.duration_ms(name, LEAST_WAIT_MS, MOST_WAIT_MS, "InvalidRewardWaitTime")


def _export(members: Members, name: str) -> int:
    return members.duration_ms(name, LEAST_EXPORT_MS, MOST_EXPORT_MS)


def _days(members: Members, name: str) -> int:
    days, rest = divmod(members.duration_ms(name, DAY_MS, 365 * DAY_MS), DAY_MS)
    if rest:
        members.refuse(name, "whole days, such as P28D")
    return days


_READ: Mapping[str, tuple[str, Callable[[Members, str], Any]]] = {
    "rewardWaitTime": ("wait_ms", _wait),
    "defaultReward": ("default_reward", lambda it, name: it.number(name, -1, 1)),
    "rewardAggregation": ("aggregation", lambda it, name: it.choice(name, AGGREGATIONS)),
    "explorationPercentage": ("exploration", lambda it, name: it.number(name, 0, 1)),
    "modelExportFrequency": ("export_ms", _export),
    "logRetentionDays": (
        "retention_days",
        lambda it, name: it.whole(name, -1, 36_500, "InvalidLogRetentionDays"),
    ),
    "learningMode": ("mode", lambda it, name: it.choice(name, MODES)),
    "isAutoOptimizationEnabled": ("optimises", Members.flag),
    "autoOptimizationFrequency": ("optimise_days", _days),
    "autoOptimizationStartDate": ("optimise_from", Members.time),
    "modelRetrainDays": ("retrain_days", lambda it, name: it.whole(name, 0, 365)),
    "isInferenceExplainabilityEnabled": ("explains", Members.flag),
}
"""What a member is called in ``Configuration``, and how it is read."""
