"""The alerts ring when they should, and only then: Prometheus' own tool evaluates them."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.k8s.manifests import load

FETCHED = Path(sys.executable).with_name("promtool")
PROMTOOL = shutil.which("promtool") or (str(FETCHED) if FETCHED.exists() else None)
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="there is no promtool: make promtool")

FAILED = 'kube_job_failed{namespace="larder", job_name="larder-refresh-1", condition="true"}'
STARTED = 'kube_job_status_start_time{namespace="larder", job_name="larder-refresh-1"}'
REACHABLE = 'larder_cache_reachable{namespace="larder", pod="a"}'
PUBLISHED = 'larder_generation_created_timestamp_seconds{namespace="larder", pod="a"}'
SUCCEEDED = 'kube_cronjob_status_last_successful_time{namespace="larder", cronjob="larder-refresh"}'
NO_LISTS = PUBLISHED.replace('pod="a"', 'pod="b", service="larder-clicks"')
MODEL = 'larder_click_model_created_timestamp_seconds{namespace="larder", pod="b"}'
RIGHT = 'larder_requests_total{namespace="larder", pod="a", route="similar", status="200"}'
WRONG = 'larder_requests_total{namespace="larder", pod="a", route="similar", status="503"}'
PROBES = 'larder_requests_total{namespace="larder", pod="a", route="health", status="503"}'
DEGRADED = 'larder_degraded_answers_total{namespace="larder", pod="a"}'

STORED = 'larder_events_stored{namespace="larder", pod="a"}'
MOST = 'larder_events_max{namespace="larder", pod="a"}'
WAITING = 'larder_events_waiting_since_timestamp_seconds{namespace="larder", pod="a"}'
LOGGED = 'larder_decisions_total{namespace="larder", pod="c", logged="true"}'
UNLOGGED = 'larder_decisions_total{namespace="larder", pod="c", logged="false"}'
TRAINER = 'larder_decisions_trainer_timestamp_seconds{namespace="larder", pod="c"}'
ENTRIES = 'larder_decisions_log_entries{namespace="larder", pod="c"}'
ROOM = 'larder_decisions_log_max{namespace="larder", pod="c"}'


@dataclass(frozen=True, slots=True)
class Case:
    """What was measured every minute, in promtool's notation, and what rings after some time."""

    series: dict[str, str]
    at: str
    ringing: set[str]


CASES = {
    "decisions are learned": Case(
        {REACHABLE: "1x60", LOGGED: "0+600x60", TRAINER: "0+60x60", ENTRIES: "7x60", ROOM: "10x60"},
        "1h",
        set(),
    ),
    "decisions are not logged": Case(
        {REACHABLE: "1x60", LOGGED: "0+600x60", UNLOGGED: "0x30 0+1x30"},
        "1h",
        {"LarderDecisionsNotLogged"},
    ),
    "no trainer has said anything for a while": Case(
        {REACHABLE: "1x60", TRAINER: "0+60x40 2400x20"}, "1h", {"LarderDecisionsTrainerSilent"}
    ),
    "the log of decisions fills": Case(
        {REACHABLE: "1x60", ENTRIES: "9x60", ROOM: "10x60"}, "1h", {"LarderDecisionsLogFull"}
    ),
    "all is well": Case(
        {REACHABLE: "1x60", PUBLISHED: "0x60", RIGHT: "0+600x60", WRONG: "0x60", DEGRADED: "0x60"},
        "1h",
        set(),
    ),
    "a refresh failed": Case(
        {REACHABLE: "1x60", FAILED: "1x60", STARTED: "0x60"}, "1h", {"LarderRefreshFailed"}
    ),
    "a refresh failed the day before yesterday": Case(
        {REACHABLE: "1x3000", FAILED: "1x3000", STARTED: "0x3000"}, "48h", set()
    ),
    "a refresh failed, and the next one did not": Case(
        {REACHABLE: "1x60", FAILED: "1x60", STARTED: "60x60", SUCCEEDED: "_x30 1800x60"},
        "1h",
        set(),
    ),
    "a refresh failed after one that did not": Case(
        {REACHABLE: "1x60", FAILED: "1x60", STARTED: "1800x60", SUCCEEDED: "60x60"},
        "1h",
        {"LarderRefreshFailed"},
    ),
    "probes fail before the first refresh": Case(
        {REACHABLE: "1x60", PROBES: "0+30x60"}, "30m", set()
    ),
    "lists of 37 hours": Case(
        {REACHABLE: "1x2400", PUBLISHED: "0x2400"}, "37h", {"LarderGenerationTooOld"}
    ),
    "a click model of 37 hours": Case(
        {REACHABLE: "1x2400", MODEL: "0x2400"}, "37h", {"LarderClickModelTooOld"}
    ),
    "a scoring service, which has no lists": Case(
        {REACHABLE: "1x2400", NO_LISTS: "0x2400", MODEL: "60000x2400"}, "37h", set()
    ),
    "a cache that is away for two minutes": Case(
        {REACHABLE: "1x10 0x3"}, "13m", {"LarderCacheUnreachable"}
    ),
    "a cache that was away": Case({REACHABLE: "1x10 0x3 1x20"}, "30m", set()),
    "one answer in fifty is degraded": Case(
        {REACHABLE: "1x60", RIGHT: "0+600x60", DEGRADED: "0+12x60"}, "30m", {"LarderDegraded"}
    ),
    "one answer in fifty is an error": Case(
        {REACHABLE: "1x60", RIGHT: "0+600x60", WRONG: "0+12x60"}, "30m", {"LarderErrors"}
    ),
    "a stream that is exported when it is nearly full": Case(
        {REACHABLE: "1x60", STORED: "700x50 810x3 10x7", MOST: "1000x60", WAITING: "0x53"},
        "1h",
        set(),
    ),
    "a stream that fills": Case(
        {REACHABLE: "1x60", STORED: "0+20x60", MOST: "1000x60"}, "50m", {"LarderEventsFull"}
    ),
    "events of 37 hours ago wait": Case(
        {REACHABLE: "1x2400", STORED: "5x2400", MOST: "1000x2400", WAITING: "0x2400"},
        "37h",
        {"LarderEventsNotExported"},
    ),
    "events of 37 hours ago waited until now": Case(
        {REACHABLE: "1x2400", STORED: "5x2400", MOST: "1000x2400", WAITING: "0x2200 132000x200"},
        "37h",
        set(),
    ),
    "nothing is heard": Case({RIGHT: "0x1"}, "30m", {"LarderSilent"}),
}


def rules(folder: Path) -> list[str]:
    """Write the rules where promtool reads them; the names of the alerts."""
    (rule,) = load("production+monitoring").of("PrometheusRule")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    return [each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]]


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    assert PROMTOOL
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True)


@needs_promtool
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_rings(case: Case, tmp_path: Path) -> None:
    names = rules(tmp_path)
    queries = [
        {
            "expr": f'count by (alertname) (ALERTS{{alertstate="firing", alertname="{name}"}})',
            "eval_time": case.at,
            "exp_samples": (
                [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name in case.ringing else []
            ),
        }
        for name in names
    ]
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values} for name, values in case.series.items()
        ],
        "promql_expr_test": queries,
    }
    file = tmp_path / "test.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    )
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert case.ringing <= set(names)


@needs_promtool
def test_every_alert_rings_in_some_case(tmp_path: Path) -> None:
    ringing = {name for case in CASES.values() for name in case.ringing}
    assert ringing == set(rules(tmp_path))
    assert promtool("check", "rules", str(tmp_path / "rules.yaml")).returncode == 0
