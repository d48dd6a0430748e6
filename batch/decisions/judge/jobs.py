"""What operators, and the trainer itself, ask of the logs: one question at a time, beside learning.

Each is answered by a process of its own, ``larder decisions evaluate LOGS --id ID``: learning goes
on meanwhile, and a process that dies takes nothing with it. Nothing says "running" that is not.
"""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.contracts.decisions import Decisions, Evaluation, Importance
from app.contracts.environment import PREFIX
from batch.decisions.desk import Desk
from batch.decisions.judge import optimise
from batch.decisions.judge.evaluate import evaluate, told
from batch.decisions.judge.importance import importances
from batch.errors import BadSettings, CacheUnavailable, LarderError
from batch.generations.connect import Client, errors_of_keys

Question = Evaluation | Importance

EVERY_SECONDS = 2.0
"""How often the trainer looks for a question."""
LONGEST_SECONDS = 6 * 3600.0

# Answers are long: only the names of those in a state come back, of the first of all by its time.
_FIND = """
local found, first = nil, nil
for _, key in ipairs(KEYS) do
  local all = redis.call('HGETALL', key)
  for at = 1, #all, 2 do
    if string.find(all[at + 1], ARGV[1], 1, true) then
      local created = string.match(all[at + 1], '"created":"([^"]*)"') or ''
      if not first or created < first then found, first = {key, all[at]}, created end
    end
  end
end
return found
"""
_WRITE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

log = logging.getLogger("larder.decisions")


class Jobs:
    """Runs what is asked, for the one trainer of a namespace. url: of the cache."""

    def __init__(self, client: Client, space: Decisions, url: str, folder: Path) -> None:
        self._client, self._space, self._url, self._folder = client, space, url, folder
        self._next = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: tuple[str, str] = "", ""
        self._since = 0.0
        self._fresh = True

    def poll(self) -> None:
        """Note what has ended, begin what is next; never waits. Raises CacheUnavailable."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_SECONDS
        if self._fresh:
            self._forget_the_dead()
        if self._child is not None and self._runs(self._child):
            return
        self._child = None
        optimise.begin(self._client, self._space, datetime.now(UTC))
        self._begin()

    def close(self) -> None:
        """Stop what runs; the next trainer runs it again."""
        if self._child is not None:
            self._stop(self._child)
            self._child = None
            with suppress(CacheUnavailable):  # then the next one says that this one died
                self._say("queued", "")

    def _forget_the_dead(self) -> None:
        while found := _find(self._client, self._space, "running"):
            self._asked = found
            self._say("failed", "the trainer ended before this was done: ask again")
        self._fresh = False

    def _runs(self, child: subprocess.Popen[bytes]) -> bool:
        if child.poll() is None:
            question = read(self._client, *self._asked)
            if question is not None and time.monotonic() < self._since + LONGEST_SECONDS:
                return True
            self._stop(child)
        question = read(self._client, *self._asked)
        if question is not None and question.status == "running":
            how = f"its process ended by itself ({child.returncode}): see the log of the trainer"
            if time.monotonic() >= self._since + LONGEST_SECONDS:
                how = f"it took more than {LONGEST_SECONDS / 3600:.0f} hours: ask for less time"
            self._say("failed", how)
        return False

    def _begin(self) -> None:
        found = _find(self._client, self._space, "queued")
        if found is None:
            return
        self._asked, self._since = found, time.monotonic()
        self._say("running", "")
        names = {"CACHE_URL": self._url, "NAMESPACE": self._space.name}
        ours = {PREFIX + name: value for name, value in names.items()}
        option = "--importance" if found[0] == self._space.importances else "--id"
        words = ["decisions", "evaluate", str(self._folder), f"{option}={found[1]}"]
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "batch", *words],
                env={**os.environ, **ours},
                stdin=subprocess.DEVNULL,
            )
        except (OSError, ValueError) as error:  # no process to have, or no id to give to one
            self._say("failed", f"no process could be started for it: {error}")

    @staticmethod
    def _stop(child: subprocess.Popen[bytes]) -> None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(5)
            return
        child.kill()
        child.wait()

    def _say(self, status: Any, problem: str) -> None:
        key, id = self._asked
        question = read(self._client, key, id)
        if question is not None:
            changed = replace(question, status=status, problem=problem)
            write(self._client, key, changed)


def answer(client: Client, space: Decisions, folder: Path, key: str, id: str) -> None:
    """Answer a question, good or bad. Raises BadSettings where there is none of that id.

    key: of the evaluations, or of the importances.
    """
    os.nice(5)  # deciding and learning come first
    question = read(client, key, id)
    if question is None:
        raise BadSettings(f"nothing of id {id!r} is asked for: it was deleted, or never was")
    try:
        if isinstance(question, Importance):
            scores = importances(folder, question)
            write(client, key, replace(question, status="succeeded", scores=scores))
        else:
            _evaluate(client, space, folder, question)
    except LarderError as error:
        write(client, key, replace(question, status="failed", problem=str(error)))


def _evaluate(client: Client, space: Decisions, folder: Path, asked: Evaluation) -> None:
    desk = Desk(client, space)
    before = desk.policy_text()
    online, exploration = desk.policy(), desk.configuration().exploration
    found = told(asked, evaluate(folder, asked, online, exploration, lambda done: None))
    with errors_of_keys("the cache", space.results):
        client.hset(space.results, found.id, json.dumps(found.results))
    if asked.automatic:
        optimise.settle(client, space, found, before)
    else:
        write(client, space.evaluations, replace(found, results=()))
    if read(client, space.evaluations, found.id) is None:  # it was deleted meanwhile
        with errors_of_keys("the cache", space.results):
            client.hdel(space.results, found.id)


def read(client: Client, key: str, id: str) -> Question | None:
    """The question of that id; None where there is none, or it was deleted meanwhile."""
    with errors_of_keys("the cache", key):
        text: bytes | None = client.hget(key, id)
    kind = Importance if key.endswith("importances") else Evaluation
    return None if text is None else kind.from_json(text)


def write(client: Client, key: str, question: Question) -> None:
    """Write it back, unless it was deleted."""
    with errors_of_keys("the cache", key):
        client.eval(_WRITE, 1, key, question.id, question.to_json())


def _find(client: Client, space: Decisions, status: str) -> tuple[str, str] | None:
    """The key and the id of the first question in this state."""
    keys = space.evaluations, space.importances
    with errors_of_keys("the cache", *keys):
        found = client.eval(_FIND, 2, *keys, f'"status":"{status}"')
    return (found[0].decode(), found[1].decode()) if found else None
