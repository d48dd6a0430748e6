"""A client that nobody waits for, whose errors are all known."""

import time

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
    """Nearly a quarter of the time-out for each of AUTH, SELECT and the command."""
    with lying(b"+OK\r\n", after_seconds=0.4) as url:
        client = connect(url.replace("//", "//:secret@")[:-1] + "2", timeout_ms=2000)
        began = time.monotonic()
        assert client.get("key") == b"OK"
        assert time.monotonic() - began < 2.0
        client.close()
