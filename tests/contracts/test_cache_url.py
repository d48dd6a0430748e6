"""One grammar of cache URLs: both wings take the same ones, and no message repeats any of them."""

import socket
import traceback
from typing import NoReturn

import pytest

from app.contracts.cache_url import CacheURL
from app.errors import BadSettings as BadSettingsOfTheApi
from app.errors import CacheUnavailable as CacheUnavailableToTheApi
from app.recommendations.watcher import Watcher
from app.settings import Settings
from batch.errors import BadSettings, CacheUnavailable
from batch.generations.connect import connect
from tests.servers import Cluster, Server

SHOWN = {
    "redis://127.0.0.1:6379/0": "redis://127.0.0.1:6379/0",
    "redis://cache": "redis://cache",
    "redis://cache/": "redis://cache/",
    "redis://cache:/": "redis://cache:/",
    "redis://:hunter2@cache:6379/0\n": "redis://cache:6379/0",
    "redis://cache/15": "redis://cache/15",
    "redis://my_cache.shop.": "redis://my_cache.shop.",
    "redis://Cache?db=3": "redis://Cache",
    "redis://cache?protocol=2": "redis://cache",
    "redis://cache/1?db=&protocol=": "redis://cache/1",
    "redis://:hunter2@cache:6379": "redis://cache:6379",
    "redis://hunter2@cache": "redis://cache",
    "redis://@cache": "redis://cache",
    "redis://user:p%2Fa%40s%23s%3A%25@cache:6379/0": "redis://cache:6379/0",
    "redis://:x@hunter2@cache": "redis://cache",
    "redis://:hunter2+cluster@cache": "redis://cache",
    "redis://[::1]:6379": "redis://[::1]:6379",
    "redis://:hunter2@[fe80::1%25eth0]": "redis://[fe80::1%25eth0]",
    "rediss://cache:6380?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=true": "rediss://cache:6380",
    "rediss://cache?ssl_cert_reqs=none&ssl_keyfile=k&ssl_certfile=c": "rediss://cache",
    "unix:///run/valkey.sock?db=1": "unix:///run/valkey.sock",
    "unix://user:hunter2@/run/valkey%40.sock": "unix:///run/valkey%40.sock",
    "redis://:hunter2@cache:6379/0": "redis://cache:6379/0",
    "redis+cluster://cache:7000": "redis+cluster://cache:7000",
    "redis+cluster://cache:7000/0?db=0": "redis+cluster://cache:7000/0",
    "rediss+cluster://user:hunter2@cache?ssl_ca_path=/etc/ca": "rediss+cluster://cache",
}
GOOD = list(SHOWN)
BAD = [
    "",
    "hunter2",
    "hunter2@cache:6379",
    "http://:hunter2@cache",
    "127.0.0.1:6379",
    "redis:hunter2@cache",
    "REDIS//:hunter2@cache",
    "redis:/hunter2@cache",
    "REDIS://:hunter2@cache",
    " redis://:hunter2@cache",
    "redis+cluster+cluster://:hunter2@cache",
    "unix+cluster:///hunter2",
    # no host: the client would take its own machine
    "redis://",
    "redis:///0",
    "redis://:6379",
    "redis://:hunter2@/0",
    "redis+cluster://",
    "unix://",
    "unix://run/hunter2",
    # a password that is not escaped would be taken for a host, a path or options
    "redis://:hunter2",
    "redis://user:hunter2",
    "redis://:hunter2/@cache:6379",
    "redis://:x/hunter2@cache:6379",
    "redis://:hunter2[x@cache:6379",
    "redis://:hunter2#@cache:6379",
    "redis://:hunter2?x=1@cache:6379",
    "redis://user:6379#hunter2@cache:6379",
    "redis://user:63/hunter2@cache:6379",
    "redis://user:63?hunter2@cache:6379",
    "redis://hunter2:x@y:z@cache:1:2",
    "redis://:hunter2+cluster://",
    "unix:///hunter2@/run/valkey.sock",
    "unix://user:hunter2/@/run/valkey.sock",
    "redis://:hunter2\udcff@cache",
    "redis://:hunter2\u2100@cache",
    # hosts and ports
    "redis://:x@cache:hunter2",
    "redis://:hunter2@cache:99999",
    "redis://:hunter2@cache:-1",
    "redis://:hunter2@cache:\u0663",
    "redis://:hunter2@[cache",
    "redis://[::1",
    "redis://127.0.0.1:no",
    "redis://:hunter2@::1",
    "redis://:hunter2@[::1]6379",
    "redis://:hunter2@ca che",
    "redis://:hunter2@ca\nche",
    "redis://:hunter2@.cache",
    "redis://:hunter2@%2Ecache",
    "redis://:hunter2@" + "x" * 64,
    # databases
    "redis://:hunter2@cache/first",
    "redis://:hunter2@cache/-1",
    "redis://:hunter2@cache/1/2",
    "redis://127.0.0.1:6379#0",
    "redis://:hunter2@cache?db=x",
    "redis+cluster://:hunter2@cache/1",
    "redis+cluster://:hunter2@cache?db=1",
    # options
    "redis://cache?password=hunter2",
    "redis://cache?password=hunter2@x",
    "redis://cache?username=hunter2",
    "redis://:hunter2@cache?socket_timeout=60",
    "redis://:hunter2@cache?socket_timeout=soon",
    "redis://:hunter2@cache?colour=red",
    "redis://cache?decode_responses=1&hunter2",
    "redis://cache?protocol=3",
    "redis://cache?protocol=hunter2",
    "redis://:hunter2@cache?ssl_ca_certs=/etc/ca.pem",
    "rediss://:hunter2@cache?ssl_cert_reqs=hunter2",
    "unix:///run/valkey.sock?password=hunter2",
]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be reached, and nobody waits before trying again."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)


@pytest.mark.parametrize("url", GOOD)
def test_both_wings_take_a_url_and_so_does_the_client(url: str, nowhere: None) -> None:
    assert CacheURL.parse(url).shown == SHOWN[url]
    with pytest.raises(CacheUnavailable) as raised:
        connect(url)
    assert str(raised.value).startswith(f"{SHOWN[url]} cannot be used now (")
    watcher = Watcher(Settings(cache_url=url))
    watcher.poll()
    with pytest.raises(CacheUnavailableToTheApi, match="does not answer"):
        watcher.live()


@pytest.mark.parametrize("url", BAD)
def test_both_wings_refuse_a_url_by_the_same_sentence_that_repeats_none_of_it(url: str) -> None:
    with pytest.raises(ValueError) as one:
        CacheURL.parse(url)
    with pytest.raises(BadSettings) as of_batch:
        connect(url)
    with pytest.raises(BadSettingsOfTheApi) as of_the_api:
        Settings(cache_url=url)
    assert str(of_batch.value) == f"--cache-url {one.value}"
    assert str(of_the_api.value) == f"LARDER_CACHE_URL {one.value}"
    assert one.value.__context__ is None, "a report of errors would show it"
    for each in (one, of_batch, of_the_api):
        assert "hunter2" not in "".join(traceback.format_exception(each.value))


@pytest.mark.parametrize("url", GOOD)
def test_no_text_of_a_url_or_of_settings_shows_a_password(url: str) -> None:
    for each in (CacheURL.parse(url), Settings(cache_url=url)):
        assert "hunter2" not in repr(each) + str(each)


@pytest.mark.parametrize("query", ["", "?db=0", "?protocol=2", "?protocol=2&db=0"])
def test_the_options_work_with_a_server_and_a_cluster(
    server: Server, cluster: Cluster, query: str
) -> None:
    for url in (server.url + query, cluster.url + query):
        opened = connect(url)
        assert opened.ping()
        if CacheURL.parse(url).is_cluster:
            opened.disconnect_connection_pools()
        opened.close()
        watcher = Watcher(Settings(cache_url=url))
        watcher.poll()
        assert watcher.reachable, url
        watcher.stop()
