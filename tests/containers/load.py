"""The load test's image, asking through a URL of loopback while something happens."""

import json
from pathlib import Path
from typing import Any, Self

from tests.containers.engine import Container, Engine
from tests.containers.images import tag
from tests.servers import wait_until

USERS = 100


class Load:
    """``slo`` with 100 users and 90 requests a second, for so many seconds."""

    def __init__(self, engine: Engine, url: str, seconds: int, folder: Path) -> None:
        self._folder = folder
        folder.chmod(0o777)  # the image's user is not ours
        asked = ["slo", "--url", url, "--users", str(USERS), "--duration", str(seconds)]
        self.container = Container(
            engine,
            tag("larder-loadtest"),
            *asked,
            "--report=/report",
            options=["--network=host", f"--volume={folder}:/report"],
        )

    def __enter__(self) -> Self:
        self.container.start()
        wait_until(lambda: "running slo" in self.container.logs)
        return self

    def figures(self) -> dict[str, Any]:
        """Wait for the end; what was measured."""
        code = self.container.wait()
        assert code in (0, 1), self.container.logs
        found: dict[str, Any] = json.loads((self._folder / "figures.json").read_text())
        return found

    def __exit__(self, *raised: object) -> None:
        self.container.__exit__(*raised)
