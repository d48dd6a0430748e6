"""``larder refresh --mlflow``, as MLflow's own client finds it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
import requests
from mlflow import MlflowClient

from tests.batch.command.test_cli import write
from tests.batch.pairs import checkerboard
from tests.servers import Server, environment, free_port, run_here, wait_until

pytestmark = [  # MLflow's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PASSWORD = "geheim-4711"


@pytest.fixture
def guarded() -> Iterator[Server]:
    """A cache whose URL holds a secret."""
    with Server() as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", PASSWORD)
        yield server


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of MLflow's own server, which keeps runs in a file and artifacts in a folder."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    store = ["--backend-store-uri", f"sqlite:///{folder}/runs.db"]
    artifacts = ["--artifacts-destination", str(folder / "artifacts")]
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log, subprocess.Popen(
        [*command, *store, *artifacts], env={**os.environ, **off}, stdout=log, stderr=log
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or _listens(f"http://127.0.0.1:{port}"))
            assert process.poll() is None, (folder / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=60).ok
    except requests.ConnectionError:
        return False


def refresh(
    server: Server, uri: str, folder: Path, *more: str
) -> "subprocess.CompletedProcess[str]":
    url = server.url.replace("//", f"//:{PASSWORD}@")
    given = (
        "--cache-url",
        url,
        "--namespace",
        "shop",
        "--engine",
        "als",
        "--factors",
        "8",
        "--mlflow",
        uri,
    )
    return run_here("refresh", str(write(folder / "pairs.csv", checkerboard())), *given, *more)


def only_run(uri: str, status: str) -> tuple[MlflowClient, Any]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("larder")
    found = client.search_runs([experiment.experiment_id], f"attributes.status = '{status}'")
    assert len(found) == 1
    return client, found[0]


@pytest.mark.parametrize("where", ["file", "server"])
def test_a_refresh_is_a_run(
    guarded: Server, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    uri = request.getfixturevalue("http") if where == "server" else f"sqlite:///{tmp_path}/runs.db"
    done = refresh(guarded, uri, tmp_path, "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0 and "not all of" not in done.stderr, done.stderr
    client, run = only_run(uri, "FINISHED")
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    client.download_artifacts(run.info.run_id, "", str(fetched))
    manifest = json.loads((fetched / "manifest.json").read_text())
    assert run.info.run_name == manifest["generation"] in done.stdout
    assert {name: run.data.tags[f"larder.{name}"] for name in ("namespace", "exit", "forced")} == {
        "namespace": "shop",
        "exit": "0",
        "forced": "false",
    }
    assert run.data.tags["larder.engine"] == manifest["engine"]
    assert run.data.params == {
        name: str(value) for name, value in {**manifest["settings"], "k": 10}.items()
    }
    assert run.data.metrics["model.ndcg"] == pytest.approx(manifest["metrics"]["model"]["ndcg"])
    low, high = manifest["metrics"]["popular"]["intervals"]["map"]
    assert run.data.metrics["popular.intervals.map.low"] == pytest.approx(low)
    assert run.data.metrics["popular.intervals.map.high"] == pytest.approx(high)
    assert (fetched / "report.html").read_bytes() == (tmp_path / "report.html").read_bytes()


def test_nothing_secret_is_written(guarded: Server, tmp_path: Path) -> None:
    report = str(tmp_path / "report.html")
    assert not refresh(
        guarded, f"sqlite:///{tmp_path}/runs.db", tmp_path, "--report", report
    ).returncode
    assert refresh(guarded, f"sqlite:///{tmp_path}/runs.db", tmp_path, "--min-ndcg", "1").returncode
    written = [tmp_path / "runs.db", *(tmp_path / "mlruns").rglob("*.*")]
    assert len(written) == 3
    for path in written:
        text = path.read_bytes()
        assert PASSWORD.encode() not in text and str(guarded.port).encode() not in text


def test_a_refused_refresh_is_a_failed_run(guarded: Server, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/runs.db"
    assert refresh(guarded, uri, tmp_path, "--min-ndcg", "1").returncode == 2
    _, run = only_run(uri, "FAILED")
    assert run.data.tags["larder.exit"] == "2"
    assert "is below --min-ndcg 1" in run.data.tags["larder.reason"]
    assert "larder.generation" not in run.data.tags
    assert run.data.params["factors"] == "8" and 0 < run.data.metrics["model.ndcg"] < 1


def test_a_tuning_is_a_run(tmp_path: Path) -> None:
    uri, pairs = f"sqlite:///{tmp_path}/runs.db", write(tmp_path / "pairs.csv", checkerboard())
    done = run_here("tune", str(pairs), "--trials", "3", "--holdout", ".3", "--mlflow", uri)
    assert done.returncode == 0, done.stderr
    client, run = only_run(uri, "FINISHED")
    told = json.loads(Path(client.download_artifacts(run.info.run_id, "tuning.json")).read_text())
    assert len(told["trials"]) == 3 == run.data.metrics["trials"]
    assert run.data.tags["larder.kind"] == "tuning"
    assert run.data.tags["larder.engine"] == told["engine"]
    assert {name: run.data.params[name] for name in told["options"]} == {
        name: str(value) for name, value in told["options"].items()
    }
    for name, judged in told["quality"].items():
        assert run.data.metrics[f"{name}.ndcg"] == pytest.approx(judged["ndcg"])
    assert str(pairs) not in json.dumps(told)


@pytest.mark.parametrize("trouble", ["away", "no MLflow", "garbage"])
def test_an_mlflow_that_is_in_trouble_loses_no_refresh(
    guarded: Server, tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "runs.db").write_text("garbage" * 100)
    uri = {
        "away": f"http://127.0.0.1:{free_port()}",
        "no MLflow": f"http://127.0.0.1:{guarded.port}",
        "garbage": f"sqlite:///{tmp_path}/runs.db",
    }[trouble]
    done = refresh(guarded, uri, tmp_path)
    assert done.returncode == 0 and "published generation" in done.stdout
    assert "not all of this run is in MLflow" in done.stderr


def test_nobody_else_is_told(tmp_path: Path) -> None:
    program = (
        "import sys; from batch.command.tracking import track; "
        "track(sys.argv[1], {'kind': 'refresh'}, lambda run: None); "
        "from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY as off; "
        "from mlflow.telemetry import get_telemetry_client as client; print(off.get(), client())"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/runs.db"]
    plain = environment()
    del plain["MLFLOW_DISABLE_TELEMETRY"]
    done = subprocess.run(command, env=plain, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "True None", done.stderr


@pytest.mark.parametrize("noise, status", [(0, "FINISHED"), (1, "FAILED")])
def test_a_training_of_a_click_model_is_a_run(
    server: Server, tmp_path: Path, noise: int, status: str
) -> None:
    """Names of columns, which may hold anything, are in the manifest alone."""
    chance = Random(1)
    labels = [chance.random() < 0.5 if noise else n % 7 < 3 or n % 5 == 0 for n in range(600)]
    rows = [f"{int(label)},{n % 7},<{n % 5}>" for n, label in enumerate(labels)]
    (tmp_path / "rows.csv").write_text("\n".join(["label,a/b,<c>", *rows]) + "\n")
    uri = f"sqlite:///{tmp_path}/runs.db"
    done = run_here(
        *("clicks", "train", str(tmp_path / "rows.csv"), "--trees", "5", "--max-off", "1"),
        *("--cache-url", server.url, "--namespace", f"clicks-{status.lower()}", "--mlflow", uri),
    )
    assert "not all of" not in done.stderr, done.stderr
    _, run = only_run(uri, status)
    assert 0.3 < run.data.metrics["model.auc"] <= 1
    assert run.data.params["leaves"].isdecimal()
    assert run.data.tags["larder.kind"] == "click model"
    assert ("larder.generation" in run.data.tags) == (status == "FINISHED")
