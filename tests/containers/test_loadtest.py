"""The image of the load test: its exit codes, and that it stops."""

from pathlib import Path

from tests.containers.engine import Container, Engine
from tests.containers.images import tag
from tests.containers.load import Load
from tests.containers.pods import Demo, Pod
from tests.servers import free_port, wait_until


def test_nothing_to_test_is_said(engine: Engine, images: object) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    asked = Container(
        engine, tag("larder-loadtest"), "slo", "--url", url, options=["--network=host"]
    )
    with asked as load:
        assert load.wait() == 2
        assert url in load.logs


def test_sigterm_stops_it(
    engine: Engine, published: Container, network: str, demo: Demo, folder: Path
) -> None:
    with Pod(engine, demo, network, "larder-api-load") as pod:
        wait_until(pod.ready)
        with Load(engine, pod.url, 600, folder) as load:
            assert load.container.stop() == 130
            assert "nothing is left running" in load.container.logs
