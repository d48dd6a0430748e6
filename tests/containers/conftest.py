"""Images that are built once, a network and a cache of their own, a published generation."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.containers.engine import Container, Engine
from tests.containers.images import VALKEY, build_all, tag
from tests.containers.pods import Demo, known_secret
from tests.k8s import manifests

NEEDED = ("podman", "runc", "mmdebstrap", "catatonit", "haproxy")
DEMO = {f"test_{each}.py" for each in ("api", "clicks", "drills", "loadtest", "refresh")}


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests with the demo's Secret, which podman knows by one name, run in one process.

    Not by marks and ``--dist loadgroup``: xdist 3.8 loses the groups with pytest 9.2, in silence.
    """
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _has_the_demo
    return scheduler


def _has_the_demo(test: str) -> bool:
    return test.partition("::")[0].rpartition("/")[2] in DEMO


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Podman. Where it cannot run, the tests fail: somebody asked for them by name."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    assert not missing, f"not installed: {', '.join(missing)}; run make test-containers"
    assert os.geteuid() == 0, "containers are tested as root"
    return Engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="session")
def images(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, testrun_uid: str
) -> dict[str, float]:
    """All images, built of the work tree; the seconds that each took.

    Whichever process of the run comes first builds them; the others wait.
    """
    told = tmp_path_factory.getbasetemp().parent / f"images-{testrun_uid}"
    with told.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            told.write_text(json.dumps(build_all(engine, tmp_path_factory.mktemp("base"))))
    found: dict[str, float] = json.loads(told.read_text())
    return found


@pytest.fixture(scope="session")
def network(engine: Engine) -> Iterator[str]:
    """A network of this run."""
    name = f"larder-test-{os.getpid()}"
    engine("network", "create", name)
    yield name
    engine("network", "rm", "--force", name)


@pytest.fixture(scope="session")
def demo(engine: Engine) -> Iterator[Demo]:
    """The demo overlay; podman knows its Secret."""
    found = Demo(manifests.load("demo"))
    known_secret(engine, found.secret)
    yield found
    engine("secret", "rm", "larder-cache")


@pytest.fixture(scope="session")
def cache(
    engine: Engine,
    images: dict[str, float],
    network: str,
    demo: Demo,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Container]:
    """The demo's cache, empty, under the name that the Secret's URLs give it."""
    with demo.cache(engine, VALKEY, network, tmp_path_factory.mktemp("cache")) as started:
        yield started


Refresh = Callable[..., Container]


@pytest.fixture(scope="session")
def refresh(engine: Engine, images: dict[str, float], network: str, demo: Demo) -> Refresh:
    """Makes a container of the refresh, with the settings of the demo's CronJob."""

    def make(
        *arguments: str,
        image: str = "larder-demo",
        memory: str = "2g",
        options: Sequence[str] = (),
        **variables: str,
    ) -> Container:
        settings = {**demo.settings("larder-refresh"), "LARDER_CACHE_URL": demo.url("batch-url")}
        return Container(
            engine,
            tag(image),
            *(arguments or ("refresh",)),
            options=[
                f"--network={network}",
                f"--memory={memory}",
                f"--memory-swap={memory}",
                *options,
            ],
            variables={**settings, **variables},
        )

    return make


@pytest.fixture(scope="session")
def published(cache: Container, refresh: Refresh) -> Container:
    """The cache with the films published."""
    with refresh() as job:
        assert job.wait() == 0, job.logs
    return cache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that containers may be shown; pytest's own are closed to their users."""
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    return tmp_path


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line that is printed at the end of the run."""
    return lambda line: record_property("measured", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [str(line) for each in ended for _, line in each.user_properties]
    if told:
        terminalreporter.section("measured")
        for line in told:
            terminalreporter.write_line(line)
