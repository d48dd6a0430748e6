"""What buckets hold, of many in one round trip; one that is gone is told from one without a field.

It sends the commands without the client's pipeline, which spends several times as long on each.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import redis

from app.cache.connect import CACHE_ERRORS, Client
from app.cache.pipeline import Command, receive, send

Commands = Sequence[Command]
Answers = list[Any]
Values = list[bytes | None]
Asked = Mapping[str, Sequence[bytes]]
Found = dict[str, Values | None]


def fetch(client: Client, asked: Asked) -> Found:
    """The values of some fields of each bucket; None for a bucket that is gone, or is no hash.

    A cluster takes a second round trip for a bucket that has none of the fields. Raises what the
    client raises when nobody answers.
    """
    return read(client, asked, _ask(client, questions(client, asked)))


def questions(client: Client, asked: Asked) -> list[Command]:
    """The commands whose answers ``read`` takes."""
    commands: list[Command] = [("HMGET", key, *names) for key, names in asked.items()]
    if asked and isinstance(client, redis.Redis):
        commands.append(("EXISTS", *asked))  # in a cluster the keys of one command share a slot
    return commands


def read(client: Client, asked: Asked, answers: Sequence[Any]) -> Found:
    """As ``fetch``, from the answers to ``questions``."""
    found = {
        key: answer if isinstance(answer, list) and len(answer) == len(names) else None
        for (key, names), answer in zip(asked.items(), answers, strict=False)
    }
    if not isinstance(client, redis.Redis) or answers[-1:] not in ([len(asked)], []):
        found.update(dict.fromkeys(_gone(client, found)))
    return found


def _gone(client: Client, found: Mapping[str, Values | None]) -> list[str]:
    """Which of the buckets that seem to have nothing do not exist."""
    bare = [key for key, values in found.items() if values and set(values) == {None}]
    answers = _ask(client, [("EXISTS", key) for key in bare])
    return [key for key, there in zip(bare, answers, strict=True) if there != 1]


def ask_both(
    one: Client | None, first: Commands, other: Client | None, second: Commands
) -> tuple[Answers | Exception, Answers | Exception]:
    """What two servers answer, in the time of the slower one; None is asked nothing.

    When they are the same it is one round trip. An error of one is no error of the other.
    """
    if one is other:
        answers = _end(_begin(one, [*first, *second]))
        if isinstance(answers, Exception):
            return answers, answers
        return answers[: len(first)], answers[len(first) :]
    waiting = _begin(one, first), _begin(other, second)
    return _end(waiting[0]), _end(waiting[1])


def _begin(client: Client | None, commands: Commands) -> Callable[[], Answers] | Exception:
    """Send the commands, if it is to one server; returns what waits for the answers."""
    if client is None or not commands:
        return list
    if not isinstance(client, redis.Redis):
        return partial(_at_nodes, client, commands)
    try:
        return partial(receive, client, send(client, commands), _answer, len(commands))
    except CACHE_ERRORS as error:
        return error


def _end(waiting: Callable[[], Answers] | Exception) -> Answers | Exception:
    if isinstance(waiting, Exception):
        return waiting
    try:
        return waiting()
    except CACHE_ERRORS as error:
        return error


def _ask(client: Client, commands: Commands) -> Answers:
    if isinstance(client, redis.Redis):
        return receive(client, send(client, commands), _answer, len(commands))
    return _at_nodes(client, commands)


def _at_nodes(client: Any, commands: Commands) -> Answers:
    """Each answer; an error of a node stands in its place, but that of the only one is raised."""
    if len(commands) == 1:
        return [client.execute_command(*commands[0])]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: Answers = pipeline.execute(raise_on_error=False)
    return answers


def _answer(connection: Any) -> Any:
    """An error of the server stands in the answer's place."""
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
