"""Worlds whose truth is known, and how well a policy learns in them, without a server.

The models are Vowpal Wabbit's own, which see what ours see of the same requests.
"""

import json
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from vowpalwabbit import Workspace

from app.decisions.context import encode
from batch.datasets.coffee import Situation

World = Callable[[Random], Situation]

_READ = {
    ("Tom", "morning"): "politics",
    ("Tom", "afternoon"): "music",
    ("Anna", "morning"): "sports",
    ("Anna", "afternoon"): "politics",
}
_TOPICS = ("politics", "sports", "music", "food", "finance", "health", "camping")


def news(random: Random, topics: Sequence[str] = _TOPICS) -> Situation:
    """Tom and Anna read one topic in the morning and one in the afternoon (a tutorial of VW)."""
    (user, part), wanted = random.choice(list(_READ.items()))
    return Situation(
        [{"user": user, "time_of_day": part}],
        [{"id": topic, "features": [{"article": topic}]} for topic in topics],
        {topic: float(topic == wanted) for topic in topics},
    )


def tutorial(random: Random) -> Situation:
    """The same with three topics, as VW tests it."""
    return news(random, _TOPICS[:3])


def shop(random: Random) -> Situation:
    """Ten of forty items, of 20 features each, and 20 of the context: clicks are seldom, and noise.

    Six segments of users like five categories more or less.
    """
    segment, items = random.randrange(6), random.sample(_ITEMS, 10)
    numbers = {f"number{place}": round(random.random(), 3) for place in range(10)}
    words = {f"word{place}": f"w{random.randrange(4)}" for place in range(9)}
    likes = {
        item["id"]: 0.02 + 0.45 * _LIKING[segment, item["features"][0]["word0"]] for item in items
    }
    clicks = {item: float(random.random() < likely) for item, likely in likes.items()}
    return Situation([{**numbers, **words, "segment": f"s{segment}"}], items, clicks)


_MADE = Random(7)
_ITEMS: list[dict[str, Any]] = [
    {
        "id": f"item{number}",
        "features": [
            {f"number{place}": round(_MADE.random(), 3) for place in range(10)}
            | {f"word{place}": f"v{_MADE.randrange(5)}" for place in range(10)}
        ],
    }
    for number in range(40)
]
_LIKING = {(who, f"v{what}"): _MADE.random() ** 3 for who in range(6) for what in range(5)}


def stamped(world: World) -> World:
    """The same with what should be in no context, and often is: a time, and the id of a visit."""

    def meet(random: Random) -> Situation:
        situation = world(random)
        noise = {"now": 1.7e9 + random.random() * 1e5, "visit": f"v{random.randrange(10**9)}"}
        return situation._replace(context=[*situation.context, noise])

    return meet


def nested(world: World) -> World:
    """The same with features of the context in objects, which are namespaces of their own."""

    def meet(random: Random) -> Situation:
        situation = world(random)
        name, *others = sorted(situation.context[0].items())
        return situation._replace(context=[{"user": dict([name])}, {"now": dict(others)}])

    return meet


def drifting(world: World, after: int) -> World:
    """The same until so many came; then each action is worth what the one before it was."""
    seen = iter(range(after))

    def meet(random: Random) -> Situation:
        situation = world(random)
        if next(seen, None) is not None:
            return situation
        actions, rewards = list(situation.rewards), list(situation.rewards.values())
        return situation._replace(rewards=dict(zip(actions, [rewards[-1], *rewards])))

    return meet


class Learned(NamedTuple):
    """rewards: of each decision; choosing_us, learning_us: microseconds of the processor each."""

    rewards: list[float]
    choosing_us: float
    learning_us: float

    def last(self, count: int) -> float:
        """The mean reward of the last decisions."""
        return sum(self.rewards[-count:]) / count


def learn(arguments: str, world: World, events: int, seed: int, export: int = 150) -> Learned:
    """Decide and learn; what is decided by learns of so many events at once."""
    random, rewards, waiting = Random(seed), [], list[str]()
    model = Workspace(f"{arguments} --dsjson --quiet --random_seed {seed}")
    choosing = learning = 0.0
    for _ in range(events):
        situation = world(random)
        context = _context(situation)
        began = time.process_time()
        chances = model.predict(context.join(('{"a":%s,"c":' % _numbers(situation), "}")))
        choosing += time.process_time() - began
        chosen = random.choices(range(len(chances)), chances)[0]
        rewards.append(situation.rewards[situation.actions[chosen]["id"]])
        waiting.append(_line(context, chosen, chances, rewards[-1]))
        if len(waiting) == export:
            began = time.process_time()
            for line in waiting:
                model.learn(line)
            learning += time.process_time() - began
            waiting.clear()
    model.finish()
    return Learned(rewards, choosing / events * 1e6, learning / (events - len(waiting)) * 1e6)


def _context(situation: Situation) -> str:
    actions = [(each["id"], each["features"]) for each in situation.actions]
    return encode(situation.context, actions).decode()


def _numbers(situation: Situation) -> list[int]:
    return list(range(1, len(situation.actions) + 1))


def _line(context: str, chosen: int, chances: Sequence[float], reward: float) -> str:
    order = [chosen, *(each for each in range(len(chances)) if each != chosen)]
    label = {
        "_label_cost": -reward,
        "_label_probability": chances[chosen],
        "_label_Action": chosen + 1,
        "_labelIndex": chosen,
        "a": [each + 1 for each in order],
        "p": [chances[each] for each in order],
    }
    return f'{json.dumps(label)[:-1]},"c":{context}}}'
