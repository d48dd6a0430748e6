"""What buckets hold, of many in one round trip; one that is gone is told from one without a field.

It sends the commands itself: the client's pipeline spends several times as long on each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from app.cache.connect import Client

Command = tuple[str | bytes, ...]
Values = list[bytes | None]


def fetch(client: Client, asked: Mapping[str, Sequence[bytes]]) -> dict[str, Values | None]:
    """The values of some fields of each bucket; None for a bucket that is gone, or is no hash.

    A cluster takes a second round trip for a bucket that has none of the fields. Raises what the
    client raises when nobody answers.
    """
    commands: list[Command] = [("HMGET", key, *names) for key, names in asked.items()]
    if isinstance(client, redis.Redis):
        *answers, there = _ask(client, [*commands, ("EXISTS", *asked)])
    else:
        answers, there = _ask(client, commands), 0  # keys of one EXISTS share a slot there
    found = {
        key: answer if isinstance(answer, list) and len(answer) == len(names) else None
        for (key, names), answer in zip(asked.items(), answers, strict=True)
    }
    if there != len(asked):
        found.update(dict.fromkeys(_gone(client, found)))
    return found


def _gone(client: Client, found: Mapping[str, Values | None]) -> list[str]:
    """Which of the buckets that seem to have nothing do not exist."""
    bare = [key for key, values in found.items() if values and set(values) == {None}]
    answers = _ask(client, [("EXISTS", key) for key in bare])
    return [key for key, there in zip(bare, answers, strict=True) if there != 1]


def _ask(client: Client, commands: Sequence[Command]) -> list[Any]:
    return (_at_one_server if isinstance(client, redis.Redis) else _at_nodes)(client, commands)


def _at_nodes(client: Any, commands: Sequence[Command]) -> list[Any]:
    """As ``_at_one_server``, but that an error of the only answer is raised."""
    if len(commands) == 1:
        return [client.execute_command(*commands[0])]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers


def _at_one_server(client: Any, commands: Sequence[Command]) -> list[Any]:
    """Each answer; an error of the server stands in its place."""
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [_answer(connection) for _ in commands]
    except BaseException:
        connection.disconnect()  # or the next to use it would read the answers left in it
        raise
    finally:
        pool.release(connection)


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
