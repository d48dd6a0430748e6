"""What every SDK sends, as data: the JavaScript reads it, too."""

import datetime
from typing import Any

ACTIONS: list[dict[str, Any]] = [
    {"id": "News Article", "features": [{"type": "News"}, {"words": 900}]},
    {"id": "Sports", "features": [{"type": "Sports"}, {"words": 300}]},
    {"id": "Entertainment", "features": [{"type": "Entertainment", "stars": [3.5, 4.0]}]},
]
CONTEXT: list[dict[str, Any]] = [
    {"timeOfDay": "Morning"},
    {"user": {"profileType": "AnonymousUser", "latLong": "47.6,-122.1"}, "mobile": True},
]
RANK: dict[str, Any] = {
    "contextFeatures": CONTEXT,
    "actions": ACTIONS,
    "excludedActions": ["Sports", "nothing like that"],
}
SLOTS: dict[str, Any] = {
    "contextFeatures": CONTEXT,
    "actions": ACTIONS,
    "slots": [
        {
            "id": "Main",
            "baselineAction": "News Article",
            "features": [{"size": "large"}],
            "excludedActions": ["Sports"],
        },
        {"id": "Side Bar", "baselineAction": "Sports", "features": [{"size": "small"}]},
    ],
}
SLOT_REWARDS = {"reward": [{"slotId": "Main", "value": 1.0}, {"slotId": "Side Bar", "value": 0}]}
CONFIGURATION: dict[str, Any] = {
    "rewardWaitTime": "PT5S",
    "defaultReward": 0.0,
    "rewardAggregation": "earliest",
    "explorationPercentage": 0.3,
    "modelExportFrequency": "PT2S",
    "logRetentionDays": -1,
    "modelRetrainDays": 2,
}
POLICY = {
    "name": "mine",
    "arguments": "--cb_explore_adf --epsilon 0.3 --cb_type mtr -q :: -l 0.5 --power_t 0.5",
}
SLOT_POLICY = {"name": "slots", "arguments": "--ccb_explore_adf --epsilon 0.3 --cb_type mtr -q ::"}
ODD_EVENT = "a b/ü?#%2F:1"
TRAINING = 20
"""Decisions that evaluations and importances have to go by."""


def span() -> dict[str, str]:
    """A day before and after now: of evaluations and importances."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return {"startTime": (now - day).isoformat(), "endTime": (now + day).isoformat()}
