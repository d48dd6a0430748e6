"""``/configurations/service``: how decisions are made and learned."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from flask import Blueprint, Response

from app.api.decisions import PREVIEW, version, wire
from app.api.decisions.operators.members import Members, answer, duration, now, of_body
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
_OTHERS = (
    *("logMirrorEnabled", "logMirrorSasUri"),
    *("latestApprenticeModeMetrics", "lastConfigurationEditDate"),
)
"""What clients may send, too: what is not done here, and what they were answered."""
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
    members = of_body(_CODE)
    members.require(required)
    members.allow([*_MEMBERS, *_OTHERS])
    if members.flag("logMirrorEnabled"):
        raise Refused(
            400,
            _CODE,
            "logMirrorEnabled must be false: nothing is mirrored from here; 'larder decisions logs "
            "export' writes the logs to a folder that you choose.",
            "logMirrorEnabled",
        )
    given = [(name, each) for name, each in _MEMBERS.items() if name in members]
    wanted = {each.field: each.read(members, name) for name, each in given} | {"edited_at": now()}
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
    """A configuration as it is answered, without times that never were."""
    values = {name: getattr(look.configuration, each.field) for name, each in _MEMBERS.items()}
    found = {name: _MEMBERS[name].told(value) for name, value in values.items() if value != ""}
    found |= {"logMirrorEnabled": False} | _apprentice(look.apprentice)
    edited = look.configuration.edited_at
    return found | ({"lastConfigurationEditDate": edited} if edited else {})


def _apprentice(told: Mapping[str, Any]) -> dict[str, Any]:
    if not told:
        return {}
    times = {"startTime": told["start"], "lastProcessedEventTime": told["last"]}
    metrics = {**times, **_counts(told), "lastBatchMetrics": _counts(told["batch"])}
    return {"latestApprenticeModeMetrics": metrics}


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


def _same(value: Any) -> Any:
    return value


class _Member(NamedTuple):
    """What a member is called in ``Configuration``, how it is read, and how it is answered."""

    field: str
    read: Callable[[Members, str], Any]
    told: Callable[[Any], Any] = _same


_MEMBERS: Mapping[str, _Member] = {
    "rewardWaitTime": _Member("wait_ms", _wait, duration),
    "defaultReward": _Member("default_reward", lambda it, name: it.number(name, -1, 1)),
    "rewardAggregation": _Member("aggregation", lambda it, name: it.choice(name, AGGREGATIONS)),
    "explorationPercentage": _Member("exploration", lambda it, name: it.number(name, 0, 1)),
    "modelExportFrequency": _Member("export_ms", _export, duration),
    "logRetentionDays": _Member(
        "retention_days", lambda it, name: it.whole(name, -1, 36_500, "InvalidLogRetentionDays")
    ),
    "learningMode": _Member("mode", lambda it, name: it.choice(name, MODES)),
    "isAutoOptimizationEnabled": _Member("optimises", Members.flag),
    "autoOptimizationFrequency": _Member(
        "optimise_days", _days, lambda days: duration(days * DAY_MS)
    ),
    "autoOptimizationStartDate": _Member("optimise_from", Members.time),
    "modelRetrainDays": _Member("retrain_days", lambda it, name: it.whole(name, 0, 365)),
    "isInferenceExplainabilityEnabled": _Member("explains", Members.flag),
}
