"""What ``app/openapi.yaml`` allows and forbids, tried on an API that has everything turned on."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import redis
import yaml

from app.contracts.recommendations import Namespace
from tests.app.films import EVERYTHING, KEY, K, publish_films
from tests.app.wire import get
from tests.fuzz.findings import Findings
from tests.fuzz.stack import Stack
from tests.servers import Api, Server, wait_until

DOCUMENT = Path(__file__).parents[2] / "app" / "openapi.yaml"
CASES_A_SECOND = 10
"""For each path, on two cores."""

_PROGRAM = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


def attack(stack: Stack, random: Random, seconds: float) -> Findings:
    """Try as many cases for each path as fit about so long."""
    findings = Findings("the document", stack.server)
    cases = max(int(seconds * CASES_A_SECOND), 1)
    with everything(stack.cache, Namespace("films"), server=stack.server) as api:
        done = hold(api.url, stack.folder, cases, random.randrange(10**6))
    findings.tries = cases
    findings.answers[f"schemathesis {done.returncode}"] += 1
    if done.returncode:
        said = stack.folder / "schemathesis.txt"
        said.write_text(done.stdout + done.stderr)
        findings.add("the API does not do what the document says", str(said))
    return findings


@contextmanager
def everything(cache: Server, namespace: Namespace, **settings: str) -> Iterator[Api]:
    """An API that serves films and has all that the document describes."""
    with redis.Redis.from_url(cache.url) as client:
        publish_films(client, namespace)
    on = {name: str(value).lower() for name, value in EVERYTHING.items()}
    with Api(cache.url, namespace.name, **on, events="true", metrics="true", **settings) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        yield api


def hold(url: str, folder: Path, cases: int, seed: int) -> "subprocess.CompletedProcess[str]":
    """Hold an API of films against the document, with so many random cases for each path.

    Beside them it tries the document's examples and the limits of each parameter.
    """
    document = yaml.load(DOCUMENT.read_bytes(), yaml.CSafeLoader)
    document["components"]["schemas"]["Length"]["maximum"] = K
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    settings = str(Path(__file__).with_suffix(".toml"))
    options = {
        "--url": url,
        "--header": f"Authorization: Bearer {KEY}",
        "--phases": "examples,coverage,fuzzing",
        "--max-examples": str(cases),
        "--seed": str(seed),
        "--report-dir": str(folder),
    }
    program = [sys.executable, "-c", _PROGRAM, "--config-file", settings, "--no-color"]
    given = [text for each in options.items() for text in each]
    return subprocess.run(
        [*program, "run", str(path), "--continue-on-failure", *given],
        capture_output=True,
        text=True,
        cwd=folder,
    )
