"""The slow clients are there as long as they should be, whatever the API does with them."""

from loadtest.dawdlers import KINDS, Dawdlers
from tests.app.wire import get
from tests.servers import Gunicorn, free_port, wait_until

ECHO = "tests.app.http.connections.applications:echo"


def test_a_slow_client_that_was_ended_comes_again() -> None:
    count = 4 * len(KINDS)
    with Gunicorn(ECHO, request_timeout_ms="100", workers="1", threads="1") as api:
        with Dawdlers(api.url, count) as dawdlers:
            wait_until(lambda: dawdlers.seen().ended >= 2 * count)
            assert get(api.url, "/5").body == b"xxxxx"
        seen = dawdlers.seen()
    assert seen.refused == 0
    assert seen.opened == count + seen.ended
    silent = 1 / len(KINDS)  # those that sent nothing are told nothing
    assert seen.told >= seen.ended * (1 - 2 * silent)


def test_slow_clients_that_cannot_connect_are_counted() -> None:
    with Dawdlers(f"http://127.0.0.1:{free_port()}", 3) as dawdlers:
        assert dawdlers.seen().refused == 3
