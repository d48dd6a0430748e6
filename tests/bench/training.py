"""The trainer: decisions a second of a core, its memory, how soon a reward counts.

``make bench-training``. Ten actions and a context of 20 features each, a reward for every second
one; beside it Vowpal Wabbit alone, which learns the same lines in the same run.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

import orjson
import psutil
import redis
from vowpalwabbit import Workspace

from app.contracts.decisions import Configuration, Decisions, Policy, Ranked, Rewarded, Slot
from app.contracts.learning.policies import ORIGINAL
from batch.command.output.table import table
from batch.decisions.dsjson import line
from batch.decisions.loop.log import Log
from batch.decisions.loop.trainer import Trainer
from batch.decisions.terms import Joined
from batch.generations.lock import hold
from batch.generations.registry import Generations
from tests.bench.clock import processor_seconds
from tests.servers import Server, environment, wait_until

CONTEXTS = 2_000
ROUNDS = 10
ASKED = 20
WAIT_MS, EXPORT_MS = 1_000, 1_000
POLICY = Policy("quadratic", ORIGINAL.arguments.replace("--power_t 0 -l 0.001 ", ""))


def main() -> None:
    """Print a row a tenth of the events, then how soon a reward was in the live model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="decisions in all")
    arguments = parser.parse_args()
    with Server() as server, redis.Redis.from_url(server.url) as client:
        made, space = decisions(), Decisions("bench")
        _configure(client, space)
        rows = [*_measured(client, space, made, arguments.events // ROUNDS)]
        print(table(["decisions", "of a core/s", "VW alone/s", "ratio", "MB"], rows))
        print(_told(sorted(_delays(server.url, client, space, made))))


def decisions() -> list[Ranked]:
    """Decisions to be made again and again, under other ids."""
    chance = Random(1)

    def features(letter: str) -> dict[str, Any]:
        return {
            f"{letter}{n}": chance.random() if n % 2 else chance.choice("abcdefgh")
            for n in range(20)
        }

    def one() -> Ranked:
        multi = [
            {"_tag": f"a{n}", "i": {"constant": 1, "id": f"a{n}"}, "j": [features("f")]}
            for n in range(10)
        ]
        context = orjson.dumps({"FromUrl": [features("c")], "_multi": multi})
        order = chance.sample(range(1, 11), 10)
        return Ranked("", context, (Slot("", tuple(order), (0.82, *[0.02] * 9)),))

    return [one() for _ in range(CONTEXTS)]


def _configure(client: Any, space: Decisions) -> None:
    told = Configuration(wait_ms=WAIT_MS, export_ms=EXPORT_MS)
    client.hset(space.desk, mapping={"configuration": told.to_json(), "policy": POLICY.to_json()})


def _measured(
    client: Any, space: Decisions, made: list[Ranked], events: int
) -> Iterator[list[str]]:
    process, endless = psutil.Process(), cycle(made)
    bare = Workspace(f"{POLICY.arguments} --dsjson --quiet")
    with tempfile.TemporaryDirectory() as logs, hold(client, space) as lease:
        trainer = Trainer(client, Log(client, space), space, Path(logs), 3, lease)
        for number in range(1, ROUNDS + 1):
            some = [*islice(endless, events)]
            _write(client, space, some, number)
            before = trainer.ours.events
            ours, _ = processor_seconds(lambda: _drive(trainer))
            assert trainer.ours.events - before == events
            lines = [line(_joined(each)) for each in some]
            theirs, _ = processor_seconds(partial(_learn, bare, lines))
            rates = f"{events / ours:,.0f}", f"{events / theirs:,.0f}", f"{theirs / ours:.2f}"
            yield [f"{number * events:,}", *rates, f"{process.memory_info().rss / 1e6:.0f}"]


def _write(client: Any, space: Decisions, some: list[Ranked], number: int) -> None:
    """Put decisions into the log that are long over, each with its reward or not."""
    start = int(time.time() * 1000) - 86_400_000 + number * 1_000_000
    for first in range(0, len(some), 1_000):
        pipeline = client.pipeline(transaction=False)
        for n, each in enumerate(some[first : first + 1_000], first):
            name = f"e{number}-{n}"
            pipeline.xadd(space.log, each._replace(id=name).encode(), id=f"{start + n}-0")
            if n % 2:
                pipeline.xadd(space.log, Rewarded(name, 1.0).encode(), id=f"{start + n}-1")
        pipeline.execute()


def _joined(made: Ranked) -> Joined:
    return Joined("1-0", "e", 1, made.context, made.slots, (1.0,))


def _learn(bare: Workspace, lines: list[str]) -> None:
    for each in lines:
        bare.learn(each)


def _drive(trainer: Trainer) -> None:
    while trainer.round():
        pass
    trainer.publish()


def _delays(url: str, client: Any, space: Decisions, made: list[Ranked]) -> Iterator[float]:
    """Seconds from the end of a window until its reward is in the live model."""
    known = Generations(client, space)

    def learned() -> int:
        live = known.live_manifest()
        return live.events if live else 0

    given = {"LARDER_CACHE_URL": url, "LARDER_NAMESPACE": space.name}
    command = [sys.executable, "-m", "batch", "decisions", "train", "--follow"]
    with subprocess.Popen(command, env=environment(given), stderr=subprocess.DEVNULL) as process:
        chance = Random(2)
        try:
            for number in range(ASKED):
                before, name = learned(), f"d{number}"
                time.sleep(chance.random() * EXPORT_MS / 1000)
                entry = client.xadd(space.log, made[number]._replace(id=name).encode())
                client.xadd(space.log, Rewarded(name, 1.0).encode())
                wait_until(lambda: learned() > before)
                yield time.time() - (int(entry.split(b"-")[0]) + WAIT_MS) / 1000
        finally:
            process.kill()


def _told(delays: list[float]) -> str:
    return (
        f"from the end of a window of {WAIT_MS / 1000:g} s to the live model, exported every "
        f"{EXPORT_MS / 1000:g} s: median {delays[len(delays) // 2]:.2f} s, "
        f"at most {delays[-1]:.2f} s"
    )


if __name__ == "__main__":
    main()
