"""Bad days of the cache under a real gunicorn: nobody gets an error that is not documented."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest
import redis
from flask.testing import FlaskClient

from app.contracts.recommendations import Namespace
from app.http.factory import create_app
from app.recommendations.watcher import Watcher
from app.settings import Settings
from tests.app.wire import Answer, get, send
from tests.generations import publish_by_hand
from tests.servers import Api, Cluster, Server, wait_until

SHOP = Namespace("shop")
SECOND = "20260101T000001Z-0002"


@contextmanager
def asking(url: str, paths: list[str]) -> Iterator[list[Answer]]:
    """Ask for the paths again and again, in a thread each, until the block ends."""
    stop = Event()
    log: list[Answer] = []

    def ask(path: str) -> None:
        while not stop.is_set():
            log.append(get(url, path))
            stop.wait(0.005)

    with ThreadPoolExecutor(len(paths)) as pool:
        threads: list[Future[None]] = [pool.submit(ask, path) for path in paths]
        try:
            yield log
        finally:
            stop.set()
    for thread in threads:
        thread.result()


@contextmanager
def api_of(server: Server, **settings: str) -> Iterator[str]:
    """The API with one worker, so that what is near is known, over a published shop."""
    with Api(server.url, SHOP.name, workers="1", **settings) as api:
        yield api.url


def publish(server: Server, generation: str = "20260101T000000Z-0001") -> None:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SHOP, generation)


def ready(url: str) -> bool:
    answer = get(url, "/health/ready")
    return answer.status == 200 and not answer.json()["degraded"]


def degraded(url: str) -> bool:
    return bool(get(url, "/health/ready").json().get("degraded"))


def marked(answers: list[Answer]) -> list[bool]:
    """Which of the answers are degraded."""
    return [bool(each.json().get("degraded", False)) for each in answers]


def calls(client: Any, command: str) -> int:
    """How many such commands the server has taken."""
    taken: int = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]
    return taken


def wait_until_looked(client: Any) -> None:
    """Return when the watcher has asked the server twice more which generation is live."""
    before = calls(client, "get")
    wait_until(lambda: calls(client, "get") >= before + 2)


def check_degraded(url: str) -> None:
    """Near users keep their list, others get the popular one, all of it marked."""
    near, far = get(url, "/recommendations/u1"), get(url, "/recommendations/u2")
    for answer in (near, far):
        assert answer.status == 200
        assert answer.json()["degraded"] is True
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers
    assert near.json()["source"] == "personal"
    assert near.json()["recommendations"][0]["item"] == "i1"
    assert far.json()["source"] == "popular"
    body = '{"users":["u1","u2"]}'
    many = send(url, "POST", "/recommendations", body, {"Content-Type": "application/json"})
    assert many.json()["answers"] == [near.json(), far.json()]
    assert get(url, "/recommendations/u1?fallback=none").status == 200
    for path in ("/recommendations/u2?fallback=none", "/items/i1/similar"):
        away = get(url, path)
        assert away.status == 503
        assert away.headers["Content-Type"] == "application/problem+json"
        assert away.headers["Retry-After"] == "1"
    generation = get(url, "/generation")
    assert (generation.status, generation.headers["Cache-Control"]) == (200, "no-store")
    assert get(url, "/health/live").status == 200


def check_whole(url: str) -> None:
    for user in ("u1", "u2"):
        answer = get(url, f"/recommendations/{user}").json()
        assert (answer["source"], "degraded" in answer) == ("personal", False)
    assert get(url, "/items/i1/similar").status == 200


def test_a_cache_killed_and_restarted_is_hardly_noticed(tmp_path: Path) -> None:
    with Server(tmp_path, appendonly="yes", appendfsync="always") as server:
        publish(server)
        with api_of(server) as url:
            wait_until(lambda: ready(url))
            with asking(url, ["/recommendations/u1", "/recommendations/u2"]) as log:
                for _ in range(2):
                    _wait_for_more(log, 20)
                    server.kill()
                    wait_until(lambda: degraded(url))
                    _wait_for_more(log, 20)
                    server.start()
                    wait_until(lambda: ready(url))
                    check_whole(url)
    assert {each.status for each in log} == {200}
    assert set(marked(log)) == {True, False}


def test_users_near_keep_their_list_and_others_get_what_is_popular(own_server: Server) -> None:
    publish(own_server)
    with api_of(own_server) as url:
        wait_until(lambda: ready(url))
        get(url, "/recommendations/u1")
        own_server.kill()
        wait_until(lambda: degraded(url))
        check_degraded(url)


def test_a_frozen_cache_holds_up_each_thread_once_and_then_nobody(own_server: Server) -> None:
    """Who is held up has asked it: the questions wait for the server to thaw, and are counted."""
    publish(own_server)
    paths = [f"/recommendations/u{number}" for number in range(3)]
    with (
        api_of(own_server, cache_timeout_ms="8000", near_cache_users="0") as url,
        redis.Redis.from_url(own_server.url) as client,
    ):
        wait_until(lambda: ready(url))
        before = calls(client, "hget")
        with ExitStack() as frozen, asking(url, paths) as log:
            _wait_for_more(log, 30)
            own_server.freeze()
            frozen.callback(own_server.thaw)
            wait_until(lambda: degraded(url))
            known = len(log)
            _wait_for_more(log, 100)
        wait_until(lambda: ready(url))
        asked = calls(client, "hget") - before
        check_whole(url)
    assert {each.status for each in log} == {200}
    assert all(marked(log[known + len(paths) :])), "a few were on their way"
    assert asked - marked(log).count(False) <= len(paths)


def test_a_cache_that_came_back_empty_is_served_from_memory_until_the_next_refresh() -> None:
    with Server() as server:
        publish(server)
        with api_of(server) as url:
            wait_until(lambda: ready(url))
            get(url, "/recommendations/u1")
            server.kill()
            wait_until(lambda: degraded(url))
            server.start()
            with redis.Redis.from_url(server.url) as client:
                wait_until_looked(client)
            check_degraded(url)
            publish(server, SECOND)
            wait_until(lambda: ready(url))
            check_whole(url)
            assert get(url, "/generation").json()["generation"] == SECOND


def test_starting_without_a_cache_works_and_becomes_ready_by_itself() -> None:
    server = Server()
    with api_of(server) as url:
        for path in ("/recommendations/u1", "/health/ready", "/generation", "/items/i1/similar"):
            answer = get(url, path)
            assert answer.status == 503
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["title"] == "Cache unavailable"
        assert get(url, "/health/live").status == 200
        with server:
            wait_until(lambda: "larder refresh" in _detail(url))
            assert get(url, "/recommendations/u1").json()["title"] == "Nothing published"
            publish(server)
            wait_until(lambda: ready(url))
            check_whole(url)


def test_workers_that_start_while_the_cache_is_away_serve_what_the_machine_has(
    own_server: Server,
) -> None:
    publish(own_server)
    with Api(own_server.url, SHOP.name) as api:
        wait_until(lambda: ready(api.url))
        own_server.kill()
        kill_workers(api, 2)
        wait_until(lambda: degraded(api.url))
        for _ in range(10):
            answer = get(api.url, "/recommendations/u1").json()
            assert (answer["source"], answer["degraded"]) == ("popular", True)
            assert answer["generation"] == "20260101T000000Z-0001"


def test_ready_is_what_every_worker_says(own_server: Server, tmp_path: Path) -> None:
    publish(own_server)
    nowhere = tmp_path / "missing"
    with Api(own_server.url, SHOP.name, documents_folder=str(nowhere)) as api:
        wait_until(lambda: ready(api.url))
        own_server.kill()
        kill_workers(api, 1)
        wait_until(lambda: get(api.url, "/health/ready").status == 503)
        asked = [get(api.url, "/health/ready") for _ in range(20)]
        assert {answer.status for answer in asked} == {503}
        own_server.start()
        publish(own_server)
        wait_until(lambda: ready(api.url))


def kill_workers(api: Api, count: int) -> None:
    """Kill -9 so many of them; return when others have taken their places."""
    assert api._process is not None
    master = psutil.Process(api._process.pid)
    for each in master.children()[:count]:
        each.kill()
        each.wait()
    wait_until(lambda: len(master.children()) == 2)


def test_a_wrong_password_is_said_without_it_and_a_right_one_heals(
    own_server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    publish(own_server)
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("requirepass", "right")
        wrong = f"redis://:hunter2@127.0.0.1:{own_server.port}/0"
        with Api(wrong, SHOP.name, workers="1", log_level="debug") as api:
            assert "AuthenticationError" in _detail(api.url)
            assert "hunter2" not in _detail(api.url)
            client.config_set("requirepass", "hunter2")
            wait_until(lambda: ready(api.url))
    printed = capfd.readouterr()
    assert "AuthenticationError" in printed.err
    assert "hunter2" not in printed.out + printed.err


def test_a_broken_generation_made_live_is_not_served(own_server: Server) -> None:
    publish(own_server)
    with redis.Redis.from_url(own_server.url) as client, api_of(own_server) as url:
        wait_until(lambda: ready(url))
        publish(own_server, SECOND)
        wait_until(lambda: get(url, "/generation").json()["generation"] == SECOND)
        client.hset(SHOP.generations, "broken", '{"schema":99}')
        with asking(url, ["/recommendations/u1", "/recommendations/u2"]) as log:
            client.set(SHOP.live, "broken")
            wait_until_looked(client)
            _wait_for_more(log, 10)
        check_whole(url)
    assert {each.json()["generation"] for each in log} == {SECOND}
    assert not any(marked(log))


def test_a_cluster_without_one_of_its_nodes_degrades_and_heals() -> None:
    with Cluster(timeout_ms=1000) as cluster, _api_of_cluster(cluster) as api:
        users = [f"u{number}" for number in range(100)]
        wait_until(lambda: _degraded_users(api, users) == [])
        cluster.nodes[1].freeze()
        try:
            wait_until(lambda: _degraded_users(api, users) != [])
        finally:
            cluster.nodes[1].thaw()
        wait_until(lambda: _degraded_users(api, users) == [])
        cluster.nodes[2].kill()
        wait_until(lambda: _degraded_users(api, users) == users)


@contextmanager
def _api_of_cluster(cluster: Cluster) -> Iterator[FlaskClient]:
    with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
        publish_by_hand(client, SHOP)
    settings = Settings(cache_url=cluster.url, namespace=SHOP.name, near_cache_users=0)
    watcher = Watcher(settings)
    watcher.start()
    try:
        yield create_app(settings, watcher).test_client()
    finally:
        watcher.stop()


def _degraded_users(api: FlaskClient, users: list[str]) -> list[str]:
    """Whoever gets a marked answer; every answer is a 200."""
    found = []
    for user in users:
        answer = api.get(f"/recommendations/{user}")
        assert answer.status_code == 200
        if answer.get_json().get("degraded"):
            found.append(user)
    return found


def _wait_for_more(log: list[Answer], answers: int) -> None:
    seen = len(log)
    wait_until(lambda: len(log) >= seen + answers)


def _detail(url: str) -> str:
    detail: str = get(url, "/health/ready").json().get("detail", "")
    return detail
