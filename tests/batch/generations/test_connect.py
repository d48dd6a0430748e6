"""A cache that cannot be used is one sentence and an exit code, and never shows a password."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from batch.errors import BadSettings, CacheUnavailable
from batch.generations.connect import cache_errors, connect
from tests.app.liar import lying
from tests.servers import Cluster, Server, free_port, run_here

PASSWORD = "Tr0ub4dor"

REDIS_ERRORS = [
    error
    for _, error in inspect.getmembers(redis.exceptions, inspect.isclass)
    if issubclass(error, Exception)
]


@pytest.fixture
def guarded(own_server: Server) -> Iterator[Server]:
    """A server that asks for a password."""
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("requirepass", PASSWORD)
    yield own_server


@pytest.mark.parametrize("error", REDIS_ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_the_client_is_translated(error: Callable[[str], Exception]) -> None:
    vain = issubclass(error, redis.exceptions.AuthenticationError)  # type: ignore[arg-type]
    expected = BadSettings if vain else CacheUnavailable
    with pytest.raises(expected, match="^the cache ") as raised, cache_errors():
        raise error("1 127.0.0.1:7000")
    assert raised.value.exit_code == (2 if vain else 75)


def test_the_errors_of_the_system_are_translated() -> None:
    for error in (ConnectionResetError(), TimeoutError(), BrokenPipeError()):
        with pytest.raises(CacheUnavailable), cache_errors():
            raise error


def test_what_is_no_error_of_the_client_passes() -> None:
    with pytest.raises(ZeroDivisionError), cache_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "text",
    [
        "command not allowed when used memory > 'maxmemory'.",
        "ERR Error running script (call to f_1): @user_script:5: @user_script: 5: -OOM command not "
        "allowed when used memory > 'maxmemory'.",  # Redis 6.2
    ],
)
def test_a_full_server_is_called_that(text: str) -> None:
    with pytest.raises(
        CacheUnavailable, match="out of memory: raise its maxmemory"
    ), cache_errors():
        raise redis.exceptions.ResponseError(text)


def test_what_is_no_redis_server_is_called_that() -> None:
    with lying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(CacheUnavailable, match="something that is no Redis server") as raised:
            connect(url)
    assert raised.value.exit_code == 75


def test_a_cache_that_hangs_is_told_while_it_is_waited_for_and_that_ends(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    own_server.freeze()
    with pytest.raises(CacheUnavailable, match=f"redis://127.0.0.1:{own_server.port}/0 cannot"):
        connect(own_server.url, timeout_seconds=0.2)
    own_server.thaw()
    assert f"{own_server.url} does not answer yet; it is waited for about 4 sec" in caplog.text


def test_a_node_of_a_cluster_is_told_from_a_server(cluster: Cluster, server: Server) -> None:
    with pytest.raises(BadSettings, match=r"write redis\+cluster:// in place of redis://"):
        connect(cluster.nodes[1].url)
    with pytest.raises(BadSettings, match=r"write redis:// in place of redis\+cluster://"):
        connect(f"redis+cluster://127.0.0.1:{server.port}")


def test_a_server_a_socket_and_a_cluster_can_be_opened(
    server: Server, cluster: Cluster, tmp_path: Path
) -> None:
    for url in (server.url, server.url.removesuffix("/0"), f"{server.url}?protocol=2"):
        client = connect(url)
        assert client.ping()
        client.close()
    client = connect(cluster.url)
    assert client.ping()
    client.disconnect_connection_pools()
    client.close()
    with Server(unixsocket=str(tmp_path / "s")):
        client = connect(f"unix://{tmp_path / 's'}?db=1")
        assert client.ping()
        client.close()


def test_the_right_password_opens(guarded: Server) -> None:
    for user in ("", "default"):
        client = connect(guarded.url.replace("//", f"//{user}:{PASSWORD}@"))
        assert client.ping()
        client.close()


SECRETS = [
    "redis://:{p}@127.0.0.1:{closed}",
    "redis://user:{p}@127.0.0.1:{closed}/0",
    "rediss://user:{p}@127.0.0.1:{closed}/0",
    "redis+cluster://:{p}@127.0.0.1:{closed}",
    "redis://:{p}%2F%3F%23%40@127.0.0.1:{closed}",
    "redis://:x@{p}@127.0.0.1:{closed}",
    "unix://user:{p}@/nowhere/socket",
    "redis://user:wrong-{p}@127.0.0.1:{guarded}",
    "redis://:wrong-{p}@127.0.0.1:{guarded}",
    "redis://:{p}@127.0.0.1:{guarded}/99",
    "redis+cluster://:{p}@127.0.0.1:{guarded}",
    "redis+cluster://:wrong-{p}@127.0.0.1:{guarded}",
]


def test_no_message_shows_a_password(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)  # between its attempts
    for shape in SECRETS:
        url = shape.format(p=PASSWORD, closed=free_port(), guarded=guarded.port)
        with pytest.raises((BadSettings, CacheUnavailable)) as raised:
            connect(url, timeout_seconds=1)
        assert PASSWORD not in str(raised.value), f"{shape}: {raised.value}"


@pytest.mark.parametrize("command", ["prune", "show u"])
def test_a_command_says_that_the_cache_is_away_and_to_try_again(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)  # between its attempts
    where = f"127.0.0.1:{free_port()}/0"
    url = f"redis://:{PASSWORD}@{where}"
    done = run_here(*command.split(), variables={"LARDER_CACHE_URL": url})
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith(f"error: redis://{where} cannot be used now (ConnectionError")
    assert done.stderr.count("\n") == 1 and PASSWORD not in done.stderr


@pytest.mark.parametrize("command", ["generations", "rollback"])
def test_a_command_says_that_the_url_is_wrong_and_not_to_try_again(command: str) -> None:
    done = run_here(command, "--cache-url", f"redis://:{PASSWORD}/x@127.0.0.1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --cache-url must be redis://")
    assert done.stderr.count("\n") == 1 and PASSWORD not in done.stderr
