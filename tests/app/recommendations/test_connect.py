"""A client that nobody waits for, whose errors are all known."""

from typing import Any

import redis

from app.recommendations.connect import CACHE_ERRORS, connect
from tests.app.liar import lying


def test_every_error_of_the_client_is_translated() -> None:
    errors = [
        each
        for each in vars(redis.exceptions).values()
        if isinstance(each, type) and issubclass(each, BaseException)
    ]
    assert len(errors) > 30
    assert [each for each in errors if not issubclass(each, CACHE_ERRORS)] == []


def test_no_request_waits_longer_than_the_time_out_for_a_slow_server() -> None:
    """It waits to be connected, then for AUTH, SELECT and the command, and once for each."""
    heard: list[bytes] = []
    with lying(b"+OK\r\n", heard=heard) as url:
        client: Any = connect(url.replace("//", "//:secret@")[:-1] + "2", timeout_ms=20_000)
        assert client.get("key") == b"OK"
        waits = client.connection_pool.connection_kwargs
        client.close()
    assert [words.split(b"\r\n")[2] for words in heard] == [b"AUTH", b"SELECT", b"GET"]
    assert waits["socket_connect_timeout"] + len(heard) * waits["socket_timeout"] <= 20
