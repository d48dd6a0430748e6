"""Keys from the command to the answer: made, felt by every worker, revoked, and told to nobody."""

import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import redis

from app.contracts.keys import id_of
from app.contracts.recommendations import Namespace
from tests.app.wire import get, send
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Api, Server, environment, free_port, run_here, wait_until

SOON = {"workers": "2", "watch_interval_ms": "50", "log_level": "debug"}


def make(server: Server, namespace: Namespace, scope: str = "read") -> str:
    where = {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": namespace.name}
    done = run_here("key", "add", "--scope", scope, variables=where)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def every_worker_says(api: Api, status: int, key: str) -> None:
    """New connections come to all workers, so many in a row speak for each of them."""

    def all_say() -> bool:
        paths = ["/recommendations/u1", "/recommendations/u1?n=2"] * 10  # both ways to an answer
        return {get(api.url, path, **{"X-API-Key": key}).status for path in paths} == {status}

    wait_until(all_say)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_key_is_felt_by_every_worker_and_in_no_output(
    server: Server, client: Any, namespace: Namespace, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    publish_by_hand(client, namespace)
    settings = {**SOON, "server": kind, "auth": "on", "metrics": "true"}
    with Api(server.url, namespace.name, **settings) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        assert get(api.url, "/recommendations/u1").status == 401
        key, events = make(server, namespace), make(server, namespace, "events")
        every_worker_says(api, 200, key)
        assert get(api.url, "/recommendations/u1", Authorization=f"Bearer {key}").status == 200
        every_worker_says(api, 403, events)
        wrong = key[:-8] + "x" * 8
        said = [get(api.url, "/", **{"X-API-Key": wrong}), get(api.url, "/", Authorization=wrong)]
        said.append(send(api.url, "POST", "/events", '{"key":"%s"}' % key))
        said.append(send(api.url, "POST", "/events", '{"key":"%s"' % events))
        assert [each.status for each in said] == [401, 401, 403, 401]

        where = {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": namespace.name}
        assert run_here("key", "revoke", str(id_of(key)), variables=where).returncode == 0
        every_worker_says(api, 401, key)
        page = get(api.url, "/metrics").body
        assert b'method="GET",route="recommendations",status="401"' in page
        assert api.stop() == 0
    told = "".join(capfd.readouterr()).encode()
    assert b"2 keys are known" in told
    for secret in (key, events, wrong):
        for each in (told, page, *(answer.body for answer in said)):
            assert secret[16:].encode() not in each


def test_the_limit_of_a_key_is_felt_over_http(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    key = make(server, namespace)
    limits = {"auth": "on", "rate": "1", "burst": "20", "workers": "1"}
    with Api(server.url, namespace.name, **limits) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        ask = partial(get, api.url, "/recommendations/u1", **{"X-API-Key": key})
        wait_until(lambda: ask().status == 429)
        answer = get(api.url, "/recommendations/u1?n=1", **{"X-API-Key": key})
        assert answer.status == 429 and answer.headers["Retry-After"] == "1"
        assert get(api.url, "/health/ready").status == 200
        wait_until(lambda: ask().status == 200)


def test_a_worker_that_has_not_heard_of_keys_lets_in_probes_alone(
    own_server: Server, namespace: Namespace
) -> None:
    """It could serve what another left on this machine, but knows nobody to serve it to."""
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, namespace)
    key = make(own_server, namespace)
    settings = {**SOON, "workers": "1", "auth": "on", "cache_timeout_ms": "1000"}
    with Api(own_server.url, namespace.name, **settings) as before:
        every_worker_says(before, 200, key)
        own_server.freeze()
        wait_until(lambda: get(before.url, "/health/ready").json().get("degraded") is True)
        every_worker_says(before, 200, key)
        with Api(own_server.url, namespace.name, **settings) as api:
            wait_until(lambda: get(api.url, "/health/live").status == 200)
            answer = get(api.url, "/recommendations/u1", **{"X-API-Key": key})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert "nobody can be let in yet" in answer.json()["detail"]
            assert get(api.url, "/health/ready").status == 503
            own_server.thaw()
            every_worker_says(api, 200, key)
            wait_until(lambda: get(api.url, "/health/ready").status == 200)


GUNICORN = ("gunicorn", "-c", "python:app.http.gunicorn_conf")


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        (("app.http.serve",), {"LARDER_BIND": "0.0.0.0:{port}"}),
        (("app.http.serve",), {"LARDER_BIND": "[::]:{port}", "LARDER_SERVER": "granian"}),
        (("batch", "serve", "--bind", "0.0.0.0:{port}"), {}),
        (("batch", "up", "orders.csv", "--bind", "0.0.0.0:{port}"), {}),
        ((*GUNICORN, "app.http.wsgi:app"), {"LARDER_BIND": "0.0.0.0:{port}"}),
        ((*GUNICORN, "--bind", "0.0.0.0:{port}", "app.http.wsgi:app"), {}),
        ((*GUNICORN, "app.http.wsgi:app"), {"GUNICORN_CMD_ARGS": "--bind=0.0.0.0:{port}"}),
    ],
)
def test_nobody_opens_it_to_others_without_a_word_about_keys(
    command: Sequence[str], variables: dict[str, str]
) -> None:
    port = free_port()
    done = subprocess.run(
        [sys.executable, "-m", *(word.format(port=port) for word in command)],
        env={**environment(), **{name: v.format(port=port) for name, v in variables.items()}},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert re.findall("^error: other machines reach LARDER_BIND=.*", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
