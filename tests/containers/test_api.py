"""The image of the API as a cluster runs it."""

from collections.abc import Callable

import psutil
import pytest

from tests.containers.engine import Container, Engine, ask, wait_healthy
from tests.containers.images import tag
from tests.containers.pods import Demo
from tests.servers import SERVERS, free_port, wait_until

Measured = Callable[[str], None]


class Api(Container):
    """The API under the demo's settings, on a port of loopback."""

    def __init__(
        self, engine: Engine, network: str, demo: Demo, *options: str, **variables: str
    ) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        port = self.url.rpartition(":")[2]
        settings = {**demo.settings("larder-api"), "LARDER_CACHE_URL": demo.url("api-url")}
        super().__init__(
            engine,
            tag("larder-api"),
            options=[f"--network={network}", f"--publish=127.0.0.1:{port}:8000", *options],
            variables={**settings, **variables},
        )


@pytest.fixture
def make(engine: Engine, images: dict[str, float], network: str, demo: Demo) -> Callable[..., Api]:
    return lambda *options, **variables: Api(engine, network, demo, *options, **variables)


def test_it_is_healthy_when_there_is_something_to_answer(
    make: Callable[..., Api], published: Container
) -> None:
    with make(LARDER_NAMESPACE="another-shop") as without:
        wait_until(lambda: ask(f"{without.url}/health/ready") is not None)
        answer = ask(f"{without.url}/health/ready")
        assert answer is not None and answer.status_code == 503
        assert not without.healthy()
    with make() as api:
        wait_healthy(api)


@pytest.mark.parametrize("kind", SERVERS)
def test_its_health_turns_red_when_it_hangs(
    make: Callable[..., Api], published: Container, kind: str
) -> None:
    with make(LARDER_SERVER=kind) as api:
        wait_healthy(api)
        workers = psutil.Process(api.pid).children()
        for worker in workers:
            worker.suspend()
        assert not api.healthy()
        for worker in workers:
            worker.resume()
        wait_healthy(api)


def test_wrong_settings_end_it_at_once_with_the_sentence(make: Callable[..., Api]) -> None:
    with make(LARDER_WORKERS="many", LARDER_CACHE_URL="redis://:secret@larder-cache/0") as api:
        assert api.wait() == 2
        assert "LARDER_WORKERS" in api.logs
        assert "secret" not in api.logs


def test_its_memory_stays_in_the_limit_of_the_manifest(
    make: Callable[..., Api], published: Container, measured: Measured
) -> None:
    limit = 320 * 2**20
    with make("--memory=320m", "--memory-swap=320m") as api:
        wait_healthy(api)
        for user in range(1, 600):
            assert ask(f"{api.url}/recommendations/{user}")
        first = psutil.Process(api.pid)
        every = [first, *first.children(recursive=True)]
        used = sum(each.memory_full_info().uss for each in every)
        measured(f"API: {used / 2**20:.0f} MiB of its own after 600 users, limit 320 MiB")
        assert used < limit / 2
