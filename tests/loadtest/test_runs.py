"""Real short runs: Locust against a server that answers as Larder does, or does not."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtest.__main__ import STOPS, main
from loadtest.api import Api, CannotRun
from loadtest.judge import graphs
from loadtest.judge.measured import Measured
from loadtest.judge.recording import Moment
from loadtest.judge.verdict import Verdict
from loadtest.slo import REFERENCE
from tests.loadtest.likeness import Likeness
from tests.servers import PATIENCE_SECONDS, free_port, wait_until

NOTHING = Measured(
    "slo", "", REFERENCE, Verdict(True, []), [], None, 0, errors={}, generations=[], series=[]
)


@pytest.fixture
def api() -> Iterator[Likeness]:
    """A server with Larder's shapes, right until a test says otherwise."""
    with Likeness() as started:
        yield started


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "loadtest", *map(str, arguments)]


def _run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in this process; Locust has one of its own."""
    words, said = [str(each) for each in arguments], (StringIO(), StringIO())
    handlers = {number: signal.getsignal(number) for number in STOPS}
    try:
        with redirect_stdout(said[0]), redirect_stderr(said[1]):
            code = main(words)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(words, code, *(each.getvalue() for each in said))


def _locust(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run plain Locust, which makes the figures and the verdict."""
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)


def _slo(api: Likeness, folder: Path, *more: object) -> "subprocess.CompletedProcess[str]":
    short = ("--users", 10, "--duration", 2, "--report", folder)
    return _run("slo", "--url", api.url, *short, *more)


PATIENT = """
from dataclasses import replace
from loadtest import slo

forgiving = {"median_ms": 1e6, "p95_ms": 1e6, "p99_ms": 1e6, "rate_slack": 0.999}
slo.REFERENCE = replace(slo.REFERENCE, **forgiving)
slo.CLICKS = replace(slo.CLICKS, **forgiving)
"""


IMPATIENT = """
from loadtest import runs

runs.PATIENCE_SECONDS = 4
"""


@pytest.fixture
def patient(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A promise that a busy machine keeps too: what is not about time decides the verdict."""
    _begin_with(PATIENT, tmp_path_factory.mktemp("patient"), monkeypatch)


@pytest.fixture
def impatient(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that gives up sooner, so that the test ends sooner."""
    _begin_with(IMPATIENT, tmp_path_factory.mktemp("impatient"), monkeypatch)


def _begin_with(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every Python that is started run this first."""
    (folder / "sitecustomize.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def _until_asked(api: Likeness, times: int) -> None:
    wait_until(lambda: len(api.seen) > times)


def _figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return found


@pytest.mark.usefixtures("patient")
def test_an_api_that_keeps_the_promise_is_green_and_leaves_a_report(
    api: Likeness, tmp_path: Path
) -> None:
    short = ("--users", 10, "--duration", 2, "--report", tmp_path / "report")
    command = _command("slo", "--url", api.url, *short)
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "verdict: GREEN" in ended.stdout
    assert "constant_throughput(0.9)" in ended.stdout
    left = {path.name for path in (tmp_path / "report").iterdir()}
    assert left == {"figures.json", "locust.html", "locust.log", "over-time.png"}
    found = _figures(tmp_path / "report")
    assert 0 < found["steps"][0]["requests"] <= 22, "paced users are never faster"
    assert found["errors"] == {}


def test_all_kinds_of_requests_are_sent_and_a_ladder_of_users_is_climbed(
    api: Likeness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with the key that was given, which no report holds."""
    monkeypatch.setenv("LOADTEST_KEY", "larder_a_key\n")
    api.sleep_seconds = 0.004
    ended = _run(
        *("capacity", "--url", api.url, "--users", 2, "--step-seconds", 1),
        *("--report", tmp_path / "capacity"),
    )
    assert "knee" in ended.stdout, ended.stdout + ended.stderr
    found = _figures(tmp_path / "capacity")
    assert [step["users"] for step in found["steps"]] == [1, 2]
    assert found["errors"] == {}
    assert api.keys == {"Bearer larder_a_key"}
    left = [path.read_bytes() for path in (tmp_path / "capacity").iterdir()]
    assert not [each for each in (ended.stdout.encode(), *left) if b"larder_a_key" in each]
    for kind in ("/recommendations/user%20", "/recommendations/stranger-", "/items/item%20"):
        assert any(path.startswith(kind) for path in api.seen), kind
    assert "/recommendations" in api.seen and "304" in api.seen
    assert (tmp_path / "capacity" / "over-load.png").exists()


@pytest.mark.usefixtures("patient")
def test_several_processes_see_a_new_generation_go_live_and_stay_green(
    api: Likeness, tmp_path: Path
) -> None:
    def publish() -> None:
        _until_asked(api, 10)
        api.generation = "20260101T000000Z-0002"

    publishing = threading.Thread(target=publish)
    publishing.start()
    ended = _slo(api, tmp_path, "--processes", 2, "--users", 20)
    publishing.join()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = _figures(tmp_path)
    assert 0 < found["steps"][0]["requests"] <= 42
    assert found["generations"] == ["20260101T000000Z-0001", "20260101T000000Z-0002"]


def _live(api: Likeness, folder: Path, *more: object) -> "subprocess.CompletedProcess[str]":
    short = ("--users", 40, "--duration", 2, "--report", folder)
    return _run("live", "--url", api.url, *short, *more)


@pytest.mark.usefixtures("patient")
def test_lists_that_follow_what_was_done_are_green(api: Likeness, tmp_path: Path) -> None:
    ended = _live(api, tmp_path, "--processes", 2)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = _figures(tmp_path)
    assert found["counts"]["personal+recent lists"] > 0
    assert found["counts"]["events"] > 0 and api.done  # one may be on its way at the end
    assert found["counts"]["short lists"] == 0
    assert "events were taken; nothing came back in the" in ended.stdout


def test_what_comes_back_is_red(api: Likeness, tmp_path: Path) -> None:
    api.fault = "comes back"
    ended = _live(api, tmp_path)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    errors = _figures(tmp_path)["errors"]
    named = {f"an item came back after its {type}" for type in ("click", "purchase")}
    assert errors and set(errors) <= named


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Rows that candidates are made of."""
    path = tmp_path / "examples.csv"
    rows = [f"0,{number}.5,shelf {number}" for number in range(40)]
    path.write_text("\n".join(["label,hour,shelf", *rows]))
    return path


def _clicks(api: Likeness, examples: Path, *more: object) -> "subprocess.CompletedProcess[str]":
    short = ("--users", 10, "--duration", 2, "--report", examples.with_name("report"))
    return _run("clicks", "--url", api.url, "--population", examples, *short, *more)


@pytest.mark.usefixtures("patient")
def test_candidates_are_ranked_by_one_model_at_a_time(api: Likeness, examples: Path) -> None:
    def swap() -> None:
        _until_asked(api, 30)
        api.generation = "20260101T000000Z-0002"

    swapping = threading.Thread(target=swap)
    swapping.start()
    ended = _clicks(api, examples)
    swapping.join()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = _figures(examples.with_name("report"))
    assert found["generations"] == ["20260101T000000Z-0001", "20260101T000000Z-0002"]
    assert found["steps"][0]["requests"] <= 112, "paced users are never faster"
    assert {path for path in api.seen if path != "/version"} == {"/rank/click"}


def test_without_a_click_model_there_is_no_verdict(api: Likeness, examples: Path) -> None:
    api.fault = "empty"
    ended = _clicks(api, examples)
    assert ended.returncode == 2
    assert "has no click model (GET /version answers 503): '{" in ended.stderr


def test_without_examples_nothing_can_be_asked(api: Likeness) -> None:
    ended = _run("clicks", "--url", api.url)
    assert ended.returncode == 2
    assert "name a CSV file such as it was trained on with --population FILE" in ended.stderr


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("no events", r"takes no events \(POST /events answers 404\): set LARDER_EVENTS=true"),
        ("full", "/events answers 503: '{.*as the test asks"),
    ],
)
def test_an_api_that_takes_no_events_is_told_before_the_load(
    api: Likeness, fault: str, sentence: str
) -> None:
    Api(api.url).check_events()
    api.fault = fault
    with pytest.raises(CannotRun, match=sentence):
        Api(api.url).check_events()


def test_a_slow_api_turns_the_verdict_red_with_the_right_sentence(
    api: Likeness, tmp_path: Path
) -> None:
    api.sleep_seconds = 0.08
    ended = _slo(api, tmp_path, "--duration", 1)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "verdict: RED" in ended.stdout
    sentences = _figures(tmp_path)["verdict"]["sentences"]
    (median,) = [each for each in sentences if each.startswith("median was")]
    assert median.endswith(" ms, promised was at most 60 ms")


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("editions", "two editions in one answer"),
        ("moved", "status 302 in place of 200"),
    ],
)
def test_wrong_answers_turn_the_verdict_red_whatever_was_asked(
    api: Likeness, tmp_path: Path, fault: str, name: str
) -> None:
    api.fault = fault
    figures = ("--duration", 1, "--figures", tmp_path / "figures.json")
    ended = _locust("--host", api.url, "-u", 10, *figures)
    assert ended.returncode == 1, ended.stderr
    found = _figures(tmp_path)
    assert list(found["errors"]) == [name]
    assert found["steps"][0]["error_share"] == 1
    assert "/elsewhere" not in api.seen


def test_a_population_that_nobody_knows_is_red(api: Likeness, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("wrong 1\nwrong 2\n")
    nobody = ("--duration", 1, "--population", tmp_path / "users.txt")
    ended = _slo(api, tmp_path / "report", *nobody)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "not one answer was personal: the API knows nobody of the population" in ended.stdout
    assert _figures(tmp_path / "report")["errors"] == {}


def test_an_open_loop_ends_when_the_promise_breaks(api: Likeness, tmp_path: Path) -> None:
    api.sleep_seconds = 0.1
    ended = _run("ramp", "--url", api.url, "--step-seconds", 1, "--report", tmp_path)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "at 50 arrivals/s it broke: " in ended.stdout and "median was" in ended.stdout
    assert len(_figures(tmp_path)["steps"]) < 4


@pytest.mark.usefixtures("impatient")
def test_an_api_that_dies_half_way_is_told_with_what_was_seen(
    api: Likeness, tmp_path: Path
) -> None:
    def die() -> None:
        _until_asked(api, 30)
        api.die()

    dying = threading.Thread(target=die)
    dying.start()
    ended = _slo(api, tmp_path, "--duration", 60)
    dying.join()
    assert ended.returncode == 1
    assert "the API stopped answering well" in ended.stdout
    assert "did not come back within 4 seconds" in ended.stdout
    assert "no answer" in ended.stdout
    assert _figures(tmp_path)["steps"][0]["requests"] > 0
    assert (tmp_path / "over-time.png").exists()


@pytest.mark.parametrize(("signal_number", "processes"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_an_interrupted_run_leaves_nothing_running(
    api: Likeness, tmp_path: Path, signal_number: int, processes: int
) -> None:
    arguments = ("slo", "--url", api.url, "--users", 5, "--processes", processes)
    running = subprocess.Popen(
        _command(*arguments, "--report", tmp_path), stderr=subprocess.PIPE, text=True
    )
    _until_asked(api, 8)
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) >= processes
    os.kill(running.pid, signal_number)
    said = running.communicate()[1]
    assert running.returncode == 130
    assert "stopped; nothing is left running" in said
    assert psutil.wait_procs(children, PATIENCE_SECONDS)[1] == []


def test_nothing_listening_is_one_sentence(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = _run("slo", "--url", url, "--report", tmp_path / "report")
    assert ended.returncode == 2
    assert ended.stderr == f"error: nothing answers at {url}: [Errno 111] Connection refused\n"
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("127.0.0.1:8000", "the URL must look like http://host:8000, not '127.0.0.1:8000'"),
        ("ftp://host", "the URL must look like http://host:8000"),
        ("http://host:eight", "is not one"),
        ("http://host/?q=1", "must end before any"),
        ("http://user:secret@host", "must hold no user and password"),
        ("http://no.such.host.invalid", "nothing answers at"),
    ],
)
def test_a_wrong_url_is_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(CannotRun, match=sentence) as raised:
        Api(url).k()
    assert "secret" not in str(raised.value)


def test_what_has_nothing_published_says_so(api: Likeness) -> None:
    api.fault = "empty"
    with pytest.raises(CannotRun, match="answers 503; Wrong: as the test asks"):
        Api(api.url).k()


def test_a_wrong_path_and_whatever_is_not_larder_are_refused(api: Likeness) -> None:
    ended = _run("slo", "--url", f"{api.url}/wrong")
    assert ended.returncode == 2
    assert "/wrong/generation answers 404" in ended.stderr


def test_an_api_without_a_sample_takes_a_file(api: Likeness, tmp_path: Path) -> None:
    api.gives_sample = False
    refused = _slo(api, tmp_path / "report")
    assert refused.returncode == 2
    assert "pass a file of user ids, one a line, with --population FILE" in refused.stderr


def test_an_empty_population_is_refused(api: Likeness, tmp_path: Path) -> None:
    (tmp_path / "users.txt").touch()
    ended = _slo(api, tmp_path / "report", "--population", tmp_path / "users.txt")
    assert ended.returncode == 2
    assert "is empty" in ended.stderr


def test_a_report_that_cannot_be_written_is_told_before_the_load(
    api: Likeness, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ended = _slo(api, tmp_path / "file" / "report")
    assert ended.returncode == 2
    assert "the report cannot be written to" in ended.stderr
    assert not any(path.startswith("/recommendations") for path in api.seen)


def test_reports_are_laid_over_each_other(tmp_path: Path) -> None:
    moments = [Moment(at, 100.0, 0.0, 1.0, 2.0, 3.0) for at in (7, 8)]
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        replace(NOTHING, series=moments).write(tmp_path / name / "figures.json")
    out = tmp_path / "both.png"
    ended = _run("compare", tmp_path / "before", tmp_path / "after", "--out", out)
    assert ended.returncode == 0, ended.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "after" / "figures.json").write_text('{"series": []}')
    for wrong in ("nothing", "after"):
        refused = _run("compare", tmp_path / wrong, "--out", out)
        assert refused.returncode == 2
        assert "not a report" in refused.stderr


@pytest.mark.parametrize("name", ["capacity", "slo"])
def test_a_report_of_nothing_cannot_be_compared(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="the report before holds nothing that was measured"):
        graphs.compare({"before": replace(NOTHING, scenario=name)}, tmp_path / "out.png")


def test_figures_that_cannot_be_written_are_no_verdict(api: Likeness, tmp_path: Path) -> None:
    figures = ("--figures", tmp_path / "nothing" / "figures.json")
    ended = _locust("--host", api.url, "-u", 10, "--duration", 1, *figures)
    assert ended.returncode == 2, ended.stderr
    assert "FileNotFoundError" in ended.stderr


def test_plain_locust_takes_a_file_of_users_and_gives_the_same_verdict(
    api: Likeness, tmp_path: Path
) -> None:
    api.gives_sample = False
    api.sleep_seconds = 0.08
    (tmp_path / "users.txt").write_text("user 3\nuser 4\n")
    options = ("--host", api.url, "--scenario", "slo", "-u", 5, "--duration", 1)
    ended = _locust(*options, "--population", tmp_path / "users.txt")
    assert ended.returncode == 1, ended.stderr
    known = {path.split("?")[0] for path in api.seen if path.startswith("/recommendations/user")}
    assert known and known <= {"/recommendations/user%203", "/recommendations/user%204"}


def test_plain_locust_says_in_a_sentence_why_it_cannot_run(api: Likeness) -> None:
    api.gives_sample = False
    ended = _locust("--host", api.url)
    assert ended.returncode == 2, ended.stderr
    assert "pass a file of user ids" in ended.stderr
    assert "Traceback" not in ended.stderr
