"""A cache, a published generation and the API, as the attacks find them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.app.wire import Answer, get
from tests.fuzz.findings import Findings
from tests.servers import Api, Server, run, wait_until

NAMESPACE = "fuzz"
USERS = [f"u{number}" for number in range(200)]
REQUEST_TIMEOUT_MS = 500
SMALL = ("--factors", "8", "--iterations", "2", "--force")


class LoggedApi(Api):
    """The API with all that it prints in a file."""

    def __init__(self, log: Path, cache_url: str, **settings: str) -> None:
        super().__init__(cache_url, NAMESPACE, **settings)
        self.log = log

    def __enter__(self) -> "LoggedApi":
        redirected = "import os, sys; log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)"
        redirected += "; os.dup2(log, 1); os.dup2(log, 2)"
        redirected += "; os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
        self._command = ["-c", redirected, str(self.log), *self._command]
        super().__enter__()
        return self


@dataclass
class Stack:
    """What runs, and what it must answer."""

    server: str
    cache: Server
    api: LoggedApi
    folder: Path
    lists: dict[str, bytes]
    _read: int = 0

    @property
    def url(self) -> str:
        return self.api.url

    def ask(self, user: str) -> Answer:
        return get(self.url, f"/recommendations/{user}")

    def new_log(self) -> str:
        """What the API has logged since this was asked last."""
        text = self.api.log.read_bytes()[self._read :]
        self._read += len(text)
        return text.decode(errors="replace")

    def compare(self, findings: Findings, users: Sequence[str] = USERS) -> None:
        """Each of these users must have the list that was published."""
        for user in users:
            answer = self.ask(user)
            if answer.body != self.lists[user]:
                findings.add(
                    f"{user} has lost the list: {answer.status} {answer.body[:80]!r}", user
                )

    def wait_until_whole(self) -> None:
        """Return when what was broken has been mended everywhere."""
        wait_until(lambda: all(self.ask(user).body == self.lists[user] for user in USERS), 60)


@contextmanager
def running(folder: Path, server: str) -> Iterator[Stack]:
    """Publish lists of 200 users and start everything; all of it ends with the block."""
    interactions = folder / "interactions.csv"
    interactions.write_text(clusters(Random(0)))
    with Server() as cache:
        published = run(
            *("refresh", str(interactions), *SMALL),
            variables={"LARDER_CACHE_URL": cache.url, "LARDER_NAMESPACE": NAMESPACE},
        )
        assert published.returncode == 0, published.stderr
        settings = {
            "request_timeout_ms": str(REQUEST_TIMEOUT_MS),
            "near_cache_users": "0",
            "events": "true",
        }
        with LoggedApi(folder / "api.log", cache.url, server=server, **settings) as api:
            wait_until(lambda: get(api.url, "/health/ready").status == 200)
            lists = {user: get(api.url, f"/recommendations/{user}").body for user in USERS}
            assert len(set(lists.values())) == len(USERS)
            yield Stack(server, cache, api, folder, lists)


def clusters(random: Random) -> str:
    """Interactions of users who like one of ten kinds of items each, as CSV."""
    pairs = [(user, random.randrange(30) * 10 + n % 10) for n, user in enumerate(USERS * 12)]
    return "user,item\n" + "".join(f"{user},i{item}\n" for user, item in pairs)
