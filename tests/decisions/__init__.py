"""Models of decisions made by hand, so that a test knows what each of them wants.

In the morning it is ``tea``, in the evening ``beer``; ``soup`` never.
"""

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import vowpalwabbit
from vowpalwabbit import Workspace

from app.contracts.decisions import Decisions, Manifest
from app.contracts.learning import policies
from batch.decisions.contents import Contents
from batch.generations.lock import hold
from batch.generations.publish import publish

ONE, TWO = "20260101T000000.000Z-0001", "20260101T000000.000Z-0002"
ACTIONS = ("soup", "tea", "beer")
WANTED = {"morning": "tea", "evening": "beer"}
SLOTS = "--ccb_explore_adf --epsilon 0.2 -q ::"


def body(time: str = "morning", **told: Any) -> bytes:
    """A request to rank; told: what it says beside or in place of the usual."""
    actions = [{"id": name, "features": [{"name": name}]} for name in ACTIONS]
    return json.dumps({"contextFeatures": [{"time": time}], "actions": actions} | told).encode()


def context(time: str) -> dict[str, Any]:
    """What Vowpal Wabbit reads of it."""
    actions = [
        {"_tag": name, "i": {"constant": 1, "id": name}, "j": [{"name": name}]} for name in ACTIONS
    ]
    return {"FromUrl": [{"time": time}], "_multi": actions}


@cache
def trained(arguments: str = policies.DEFAULT.arguments) -> bytes:
    """A model of the policy that has seen 50 times what each action is worth, at either time."""
    slots = "--ccb_explore_adf" in arguments
    workspace: Any = Workspace(f"{arguments} --dsjson --quiet")
    for number in range(300):
        time, action = list(WANTED)[number % 2], number // 2 % 3
        reward = float(ACTIONS[action] == WANTED[time])
        workspace.learn(json.dumps((_of_slots if slots else _event)(time, action, reward)))
    with TemporaryDirectory() as folder:
        workspace.save(str(Path(folder, "model")))
        workspace.finish()
        return Path(folder, "model").read_bytes()


def _event(time: str, action: int, reward: float) -> dict[str, Any]:
    others = [number + 1 for number in range(3) if number != action]
    return {
        "_label_cost": -reward,
        "_label_probability": 1 / 3,
        "_label_Action": action + 1,
        "_labelIndex": action,
        "a": [action + 1, *others],
        "p": [1 / 3] * 3,
        "c": context(time),
    }


def _of_slots(time: str, action: int, reward: float) -> dict[str, Any]:
    others = [number for number in range(3) if number != action]
    outcome = {"_label_cost": -reward, "_a": [action, *others], "_p": [1 / 3] * 3}
    return {"c": context(time) | {"_slots": [{"_id": "top"}]}, "_outcomes": [outcome]}


def manifest_of(model: bytes, **told: Any) -> Manifest:
    """The manifest of a model; told: what it says in place of what it would."""
    known: dict[str, Any] = {
        "generation": ONE,
        "state": "writing",
        "policy": policies.DEFAULT.name,
        "arguments": policies.DEFAULT.arguments,
        "position": "",
        "events": 300,
        "bytes": len(model),
        "hash": sha256(model).hexdigest(),
        "vowpal": vowpalwabbit.__version__,
        "settings": {},
        "metrics": {},
        "fingerprint": "by hand",
        "forced": False,
        "code_version": "0",
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Manifest(**known | told)


def publish_by_hand(
    client: Any, space: Decisions, generation: str = ONE, model: bytes = b"", **told: Any
) -> Manifest:
    """Publish a model by the code that publishes every one; told: see ``manifest_of``."""
    made = model or trained(told.get("arguments", policies.DEFAULT.arguments))
    manifest = manifest_of(made, generation=generation, **told)
    with hold(client, space) as lease:
        return publish(client, space, manifest, Contents(space, made), lease)
