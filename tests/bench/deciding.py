"""What a decision costs a worker: ``make bench-decisions`` prints it last.

Ten actions of 20 features and 20 of the context, half of them numbers, each in an object of its
own, in 7 kB of JSON; chosen by the policy that Larder begins with, logged on a server beside it.
Microseconds of the processor, of this process alone, and of the clock; the least of five rounds.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from random import Random

import redis

from app.cache.link import Link
from app.contracts.decisions import Decisions, Ranked
from app.decisions import body
from app.decisions.chooser import Model
from app.decisions.decider import Decider
from app.settings import Settings
from batch.command.output.table import table
from tests.decisions import manifest_of, publish_by_hand, trained
from tests.servers import Server

_TIMES, _ROUNDS = 1000, 5


def main() -> None:
    """Print the table."""
    with Server() as server, redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, Decisions("bench"))
        settings = Settings(cache_url=server.url, namespace="bench", decisions="only")
        link = Link("the cache", server.url, settings.cache_timeout_ms, lambda: None)
        link.opened()
        link.answered()
        with closing(link):
            decider = Decider(settings, link)
            decider.poll()
            print(table(["", "processor us", "clock us"], _rows(decider)))
            decider.stop()


def _rows(decider: Decider) -> Iterator[list[str]]:
    request = _request(Random(1))
    model, asked = Model(manifest_of(trained()), trained(), 0.2), body.rank(request)
    entry = Ranked(asked.id, asked.context, (model.rank(asked),), model.generation)
    yield _timed("read and check a body", lambda: body.rank(request))
    yield _timed("choose", lambda: model.rank(asked))
    yield _timed("pack an entry of the log", entry.encode)
    yield _timed("rank: all of it, and the log's answer", lambda: decider.rank(request))
    yield _timed("reward: all of it", lambda: decider.reward("e1", b'{"value": 1.0}'))


def _request(random: Random) -> bytes:
    def features(name: str) -> list[dict[str, float | str]]:
        texts = [f"value{random.randrange(100)}" for _ in range(10)]
        values: list[float | str] = [*texts, *(random.random() for _ in range(10))]
        return [{f"{name}{number}": value} for number, value in enumerate(values)]

    actions = [{"id": f"action{n}", "features": features("feature")} for n in range(10)]
    return json.dumps({"contextFeatures": features("context"), "actions": actions}).encode()


def _timed(name: str, step: Callable[[], object]) -> list[str]:
    rounds = [_once(step) for _ in range(_ROUNDS)]
    return [name, *(f"{min(each) / _TIMES * 1e6:.0f}" for each in zip(*rounds))]


def _once(step: Callable[[], object]) -> tuple[float, float]:
    processor, clock = time.process_time(), time.perf_counter()
    for _ in range(_TIMES):
        step()
    return time.process_time() - processor, time.perf_counter() - clock


if __name__ == "__main__":
    main()
