"""Every operation of the official JavaScript SDKs, unmodified.

They lie below .venv/sdk; ``make test-sdk`` fetches them. Of the second one ``/logs/interactions``
and ``/logs/observations`` are not called: they take what another library of the service sends.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk import sent
from tests.sdk.conftest import Service
from tests.sdk.table import Table

FOLDER = Path(sys.prefix) / "sdk"
FIRST, LAST = "JS 1.0", "JS 1.1"


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node here, which runs JavaScript")
@pytest.mark.skipif(
    not (FOLDER / "node_modules").exists(), reason=f"make test-sdk could not fetch them to {FOLDER}"
)
def test_both_sdks(service: Service, table: Table) -> None:
    script = Path(__file__).with_name("every_operation.mjs")
    command = ["node", str(script), service.url, service.key, json.dumps(_sent())]
    run = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    for line in run.stdout.splitlines():
        table.note(**json.loads(line))
    assert (run.returncode, run.stderr) == (0, "")
    assert (table.failed(FIRST), table.count(FIRST)) == ({}, 3)
    assert (table.failed(LAST), table.count(LAST)) == ({}, 22)


def _sent() -> dict[str, object]:
    return {
        "event": sent.ODD_EVENT,
        "rank": sent.RANK,
        "slots": sent.SLOTS,
        "slotRewards": sent.SLOT_REWARDS,
        "configuration": sent.CONFIGURATION,
        "policy": sent.POLICY,
        "slotPolicy": sent.SLOT_POLICY,
        "span": sent.span(),
        "training": sent.TRAINING,
    }
