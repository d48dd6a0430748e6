"""Garbage in the cache: keys that lie, are cut, lost, or of another type, and are mended again."""

import time
from random import Random
from typing import Any

import redis

from app.contracts.recommendations import Namespace
from tests.app.wire import Answer, get, send
from tests.fuzz.findings import Findings
from tests.fuzz.stack import NAMESPACE, Stack
from tests.generations import keys_of
from tests.servers import run

COMMANDS = (
    ("generations",),
    ("show", "u1"),
    ("prune",),
    ("refresh", "interactions.csv", "--factors", "8", "--iterations", "2", "--min-ndcg", "1"),
)
BATCH = '{"users":["u1","u2","u3","stranger"],"n":2}'


def attack(stack: Stack, random: Random, seconds: float) -> Findings:
    """Break one key at a time for so long, ask for everything, and mend the key."""
    findings = Findings("garbage in the cache", stack.server)
    deadline = time.monotonic() + seconds
    with redis.Redis.from_url(stack.cache.url) as client:
        keys = sorted(keys_of(client, Namespace(NAMESPACE)))
        while time.monotonic() < deadline:
            key = random.choice(keys)
            saved = client.dump(key)
            assert saved is not None, f"{key} is gone: a command has deleted what is live"
            how = (key, _break(client, key, random))
            findings.tries += 1
            _ask_everything(stack, random, findings, how)
            if random.random() < 0.2:
                _command(stack, random.choice(COMMANDS), findings, how)
            client.restore(key, 0, saved, replace=True)
            findings.log(stack.new_log(), how)
        stack.wait_until_whole()
    return findings


def _break(client: Any, key: str, random: Random) -> str:
    """Do one kind of harm to a key, and name it."""
    harm = random.choice(("lost", "another type", "noise", "cut", "empty"))
    kind = client.type(key)
    if harm == "lost":
        client.delete(key)
    elif harm == "another type":
        client.delete(key)
        client.rpush(key, b"garbage")
    elif kind == b"string":
        client.set(key, _spoilt(client.get(key), harm, random))
    elif kind == b"hash":
        for field, value in client.hgetall(key).items():
            if random.random() < 0.7:
                client.hset(key, field, _spoilt(value, harm, random))
    return harm


def _spoilt(value: bytes, harm: str, random: Random) -> bytes:
    if harm == "empty":
        return b""
    if harm == "cut":
        return value[: random.randrange(len(value) + 1)]
    at = random.randrange(len(value) + 1)
    return value[:at] + random.randbytes(random.choice((1, 2, 8))) + value[at + 1 :]


def _ask_everything(stack: Stack, random: Random, findings: Findings, how: object) -> None:
    for user in random.sample(list(stack.lists), 10):
        _hold(findings, stack.ask(user), how)
    for path in ("/items/i1/similar", "/generation", "/health/ready", "/recommendations/x"):
        _hold(findings, get(stack.url, path), how)
    json = {"Content-Type": "application/json"}
    _hold(findings, send(stack.url, "POST", "/recommendations", BATCH, json), how)


def _hold(findings: Findings, answer: Answer, how: object) -> None:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    findings.answer(answer.status, headers, answer.body, how)


def _command(
    stack: Stack, command: tuple[str, ...], findings: Findings, how: tuple[str, str]
) -> None:
    given = [str(stack.folder / each) if each.endswith(".csv") else each for each in command]
    url = stack.cache.url
    done = run(*given, variables={"LARDER_CACHE_URL": url, "LARDER_NAMESPACE": NAMESPACE})
    findings.answers[f"{command[0]} {done.returncode}"] += 1
    if done.returncode not in (0, 2, 75):
        findings.add(f"'larder {command[0]}' ended with {done.returncode}", how)
    findings.log(done.stderr, (*how, command))
