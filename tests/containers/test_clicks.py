"""Click models through the images: one trains, as the CronJob does, and another one scores."""

import json
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

from tests.containers.engine import Container, Engine, wait_healthy
from tests.containers.images import tag
from tests.k8s.manifests import load
from tests.servers import PATIENCE_SECONDS, free_port

Measured = Callable[[str], None]
LIMIT = 512 * 2**20


def settings(component: str) -> dict[str, str]:
    """What a container of the overlay's component is told, with the Secret's URL of the cache."""
    overlay = load("demo+clicks")
    ((_, container),) = overlay.containers(component)
    return {**overlay.variables(container), "OMP_NUM_THREADS": "2"}


def test_a_model_that_one_image_trained_ranks_in_the_other(
    engine: Engine,
    images: dict[str, float],
    network: str,
    cache: Container,
    folder: Path,
    measured: Measured,
) -> None:
    (folder / "examples").mkdir()
    (folder / "examples").chmod(0o777)

    def job(*arguments: str) -> Container:
        options = [f"--network={network}", f"--volume={folder}:/data", "--memory=2g"]
        options.append("--memory-swap=2g")
        variables = settings("clicks-train")
        return Container(
            engine, tag("larder-batch"), *arguments, options=options, variables=variables
        )

    rows = ("clicks", "generate", "/data/examples/rows.csv", "--rows", "20000")
    for arguments in (rows, ("clicks", "train", "--force")):
        with job(*arguments) as run:
            assert run.wait() == 0, run.logs
    port = free_port()
    options = [f"--network={network}", f"--publish=127.0.0.1:{port}:8000"]
    options += [f"--memory={LIMIT}", f"--memory-swap={LIMIT}"]
    variables = {**settings("clicks"), "LARDER_AUTH": "proxy"}
    with Container(engine, tag("larder-clicks"), options=options, variables=variables) as service:
        wait_healthy(service)
        asked = json.dumps({"items": [{"id": str(i), "features": {"i1": i}} for i in range(10)]})
        answer = requests.post(
            f"http://127.0.0.1:{port}/rank/click",
            data=asked,
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) == 10
        first = psutil.Process(service.pid)
        used = sum(each.memory_info().rss for each in [first, *first.children()])
        assert used < LIMIT
        measured(f"larder-clicks: {used / 2**20:.0f} MiB after ten candidates")
