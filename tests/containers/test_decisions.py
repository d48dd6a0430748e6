"""Decisions through their image, by the documented line of the one that it takes the place of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.containers.engine import Container, Engine, wait_healthy
from tests.containers.images import tag
from tests.servers import PATIENCE_SECONDS, free_port, wait_until

Measured = Callable[[str], None]
KEY = "0123456789abcdef0123456789abcdef"
DOCUMENTED = ("Eula=accept", "Billing=https://westus2.example.com/", f"ApiKey={KEY}")
BASE = "/personalizer/v1.0"
SETTINGS: dict[str, Any] = {
    "rewardWaitTime": "PT5S",
    "modelExportFrequency": "PT1S",
    "defaultReward": 0,
    "rewardAggregation": "earliest",
    "explorationPercentage": 0.2,
    "logRetentionDays": -1,
}
ASKED: dict[str, Any] = {
    "eventId": "visit-1",
    "contextFeatures": [{"timeOfDay": "morning"}],
    "actions": [{"id": each, "features": [{"taste": each}]} for each in ("pasta", "ice")],
}


def test_the_documented_line_decides_learns_and_keeps_it(
    engine: Engine, images: dict[str, float], network: str, folder: Path, measured: Measured
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "output").mkdir()
    (folder / "output").chmod(0o777)
    options = [
        f"--network={network}",
        f"--publish=127.0.0.1:{port}:5000",
        f"--volume={folder}/output:/output",
    ]
    line = (tag("larder-decisions"), *DOCUMENTED)

    def ask(
        method: str, path: str, told: dict[str, Any] | None = None, key: str = KEY
    ) -> requests.Response:
        headers = {"Ocp-Apim-Subscription-Key": key}
        return requests.request(
            method, f"{url}{path}", json=told, headers=headers, timeout=PATIENCE_SECONDS
        )

    with Container(engine, *line, options=options) as started:
        wait_healthy(started)
        assert ask("GET", "/ready").ok and ask("GET", "/status").ok
        assert ask("POST", f"{BASE}/rank", ASKED, "another key").status_code == 401
        assert ask("PUT", f"{BASE}/configurations/service", SETTINGS).ok
        answer = ask("POST", f"{BASE}/rank", ASKED)
        assert (answer.status_code, answer.json()["eventId"]) == (201, "visit-1")
        assert ask("POST", f"{BASE}/events/visit-1/reward", {"value": 1}).status_code == 204
        wait_until(lambda: not _is_untrained(ask("GET", f"{BASE}/model/properties")))
        wait_until(lambda: "dateRange" in ask("GET", f"{BASE}/logs/properties").json())
        first = psutil.Process(started.pid)
        used = sum(each.memory_info().rss for each in [first, *first.children(recursive=True)])
        measured(f"larder-decisions: {used / 2**20:.0f} MiB with cache, trainer and two workers")
        assert KEY not in started.logs
        assert started.stop() == 0
    assert list((folder / "output/logs").glob("decisions/day=*/*.parquet"))
    with Container(engine, *line, options=options) as again:
        wait_healthy(again)
        assert not _is_untrained(ask("GET", f"{BASE}/model/properties"))


def _is_untrained(answer: requests.Response) -> bool:
    return str(answer.json()["creationTime"]).startswith("0001-")


def test_without_one_of_the_three_it_does_not_start(
    engine: Engine, images: dict[str, float]
) -> None:
    with Container(engine, tag("larder-decisions"), *DOCUMENTED[1:]) as started:
        assert started.wait() == 2
        assert "Eula has no value" in started.logs and KEY not in started.logs
