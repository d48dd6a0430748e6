"""Which features say anything of rewards: by how much worse they are predicted without one.

Permutation importance (Breiman, 2001, "Random Forests", 10): a model of rewards learns the logs in
their order. Of some decisions, before it learns them, it also predicts the reward of what was done
with the value of one feature taken from another decision; the score is by how much the squared
error grows. The greatest score is 1. That says what the model goes by, not what causes a reward; of
features that tell the same, each may score little.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from app.contracts.decisions import Importance
from app.contracts.learning import policies
from batch.decisions import dsjson, logs
from batch.decisions.judge.evaluate import count, ms_of
from batch.decisions.judge.replay import REWARDS, is_slotted
from batch.decisions.learner import Learner, Unlearnable, problem_of
from batch.decisions.terms import Joined
from batch.errors import BadInteractions

SAMPLE = 2_000
"""Of so many decisions, in the second half of them, values are exchanged."""
MOST_FEATURES = 200

Feature = tuple[str, str]
"""A namespace, and a name in it."""
Place = tuple[dict[str, Any], str]
"""An object, and the member of it that holds the value of a feature."""


def importances(folder: Path, asked: Importance) -> list[list[Any]]:
    """Return [namespace, feature, score] of each feature, the greatest score first.

    Decisions of several slots say nothing here. Raises BadInteractions where the logs have no
    others of that time.
    """
    model, rng = Learner.fresh(REWARDS), random.Random(asked.id)
    half = count(folder, asked) // 2
    every = max(1, half // SAMPLE)
    growth: defaultdict[Feature, float] = defaultdict(float)
    others: dict[Feature, Any] = {}
    learned = 0
    for joined in logs.read(folder, ms_of(asked.start), ms_of(asked.end)):
        if not joined.counts or is_slotted(joined) or problem_of(joined):
            continue
        if not policies.is_bounded(REWARDS, joined.context):
            continue
        try:
            if learned >= half and learned % every == 0:
                _exchange(model, joined, others, growth, rng)
            model.teach(dsjson.line(joined))
        except Unlearnable:
            continue
        learned += 1
    if not learned:
        raise BadInteractions(
            f"the logs hold no decision of one slot from {asked.start} to {asked.end}: see "
            "'larder decisions logs show' for the days that they have"
        )
    most = max(growth.values(), default=0.0)
    scores = {each: max(0.0, grown) / most if most > 0 else 0.0 for each, grown in growth.items()}
    return [[*each, scores[each]] for each in sorted(scores, key=lambda each: -scores[each])]


def _exchange(
    model: Learner,
    joined: Joined,
    others: dict[Feature, Any],
    growth: defaultdict[Feature, float],
    rng: random.Random,
) -> None:
    """Predict with the value of each feature taken from an earlier decision."""
    chosen, reward = joined.slots[0].actions[0], joined.rewards[0]
    told = json.loads(joined.context)
    error = (reward - _predicted(model, joined)) ** 2
    action = told["_multi"][chosen - 1]
    shared = {name: each for name, each in told.items() if not name.startswith("_")}
    most = min(MOST_FEATURES, policies.MAX_PRODUCTS // policies.products(REWARDS, told))
    for feature, (holder, name) in islice([*_places(shared), *_places(action)], most):
        own = holder[name]
        if feature in others and others[feature] != own:
            holder[name] = others[feature]
            changed = json.dumps(told, ensure_ascii=False).encode()
            holder[name] = own
            reward_then = _predicted(model, joined._replace(context=changed))
            growth[feature] += (reward - reward_then) ** 2 - error
        growth[feature] += 0.0
        if feature not in others or rng.random() < 0.5:
            others[feature] = own


def _predicted(model: Learner, joined: Joined) -> float:
    """The reward that is expected of what was done; a line without a label is not learned."""
    slot = joined.slots[0]
    told = f'{{"a":{[*slot.actions]},"c":{joined.context.decode()},"p":{[*slot.probabilities]}}}'
    said = model.teach(told)
    return -said[0][slot.actions[0] - 1]


def _places(told: dict[str, Any], namespace: str = "") -> Iterator[tuple[Feature, Place]]:
    """Every feature of a JSON object, with where its value is: what holds others is a namespace."""
    for name, value in told.items():
        inner = [each for each in _listed(value) if isinstance(each, dict)]
        for each in inner:
            yield from _places(each, name)
        if not (inner or name.startswith("_") or value is None):
            yield (namespace, name), (told, name)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
