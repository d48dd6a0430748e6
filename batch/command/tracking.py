"""``--mlflow``: a refresh, or a tuning, is a run in MLflow, which is written when it has ended.

So MLflow cannot lose a refresh: where it is away, or refuses, a warning says so at the end.
"""

import importlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.contracts.recommendations import Manifest
from app.contracts.refreshes import MAX_REASON
from batch.command.endings import ending
from batch.command.output.page import Page
from batch.errors import BadSettings
from batch.recommendations.pipeline import Candidate, settings_of
from batch.recommendations.terms import Terms

log = logging.getLogger("larder.mlflow")

EXPERIMENT = "larder"
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its own seven take four minutes to find it away
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""What MLflow's own variables are here where nobody sets them."""


@dataclass(slots=True)
class Run:
    """What there is to tell: whoever does the work fills it; nothing secret goes in.

    figures: numbers, lists of a low and a high one, and objects of these; texts: artifacts by name.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def tried(self, candidate: Candidate, terms: Terms, page: Page) -> None:
        """Tell of a refresh, however it ended, that has read its input."""
        told = page.quality.tried if page.quality else []
        chosen = next((each for each in told if each.chosen), None)
        self.tags["engine"] = chosen.engine if chosen else candidate.model.name
        held_out = terms.holdout
        made = (
            {**chosen.settings, **held_out.settings} if chosen else settings_of(candidate, held_out)
        )
        self.settings = {**made, "k": terms.k}
        sizes = {"users": candidate.users, "items": len(candidate.items)}
        self.figures |= {**sizes, "interactions": candidate.interactions}
        if page.quality is not None:
            self.figures |= asdict(page.quality)
        self.files = [page.written] if page.written else []

    def published(self, manifest: Manifest, page: Page) -> None:
        """Tell of the generation that is live now."""
        self.settings = {**manifest.settings, "k": manifest.k}
        self.tags |= {
            "engine": manifest.engine,
            "generation": manifest.generation,
            "code_version": manifest.code_version,
            "forced": str(manifest.forced).lower(),
        }
        self.texts["manifest.json"] = manifest.to_json()
        self.files = [page.written] if page.written else []


def track(uri: str | None, tags: Mapping[str, str], work: Callable[[Run], None]) -> None:
    """Do the work, and write how it ended into the MLflow at that URI, if there is one.

    Raises BadSettings for a URI that is none, and ModuleNotFoundError without MLflow, before any
    work; then what the work raises.
    """
    run = Run(tags={**tags, "exit": "0"})
    if uri is None:
        return work(run)
    _check(uri)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    for each in ("mlflow", "sqlalchemy", "alembic"):
        importlib.import_module(each)
    began = time.time()
    try:
        work(run)
    except BaseException as error:
        reason, code = ending(error)
        run.tags |= {"exit": str(code), "reason": reason[:MAX_REASON]}
        _write(uri, run, "KILLED" if isinstance(error, SystemExit) else "FAILED", began)
        raise
    _write(uri, run, "FINISHED", began)


def _check(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme == "sqlite" and not parts.netloc and parts.path.strip("/"):
        return
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise BadSettings(
            "--mlflow must be http://host:port of a server, or sqlite:///runs.db; user and "
            "password belong into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )


def _write(uri: str, run: Run, status: str, began: float) -> None:
    """Write a run; whatever prevents that, the work is done and has ended as it has."""
    try:
        _send(uri, run, status, began)
    except Exception as error:  # MLflow's own, those of its database, of HTTP, of the disk
        told = str(error).partition("\n")[0][:MAX_REASON]
        log.warning("not all of this run is in MLflow: %s: %s", type(error).__name__, told)


def _send(uri: str, run: Run, status: str, began: float) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client, now = MlflowClient(tracking_uri=uri), int(time.time() * 1000)
    name = run.tags.get("generation", run.tags["kind"])
    made = client.create_run(_experiment(client, uri), int(began * 1000), run_name=name)
    figures = {**run.figures, "seconds": time.time() - began}
    client.log_batch(
        made.info.run_id,
        metrics=[Metric(key, value, now, 0) for key, value in _numbers(figures)],
        params=[Param(key, str(value)) for key, value in run.settings.items()],
        tags=[RunTag(f"larder.{key}", value) for key, value in run.tags.items()],
    )
    client.set_terminated(made.info.run_id, status)
    for file, text in run.texts.items():
        client.log_text(made.info.run_id, text, file)
    for path in run.files:
        client.log_artifact(made.info.run_id, str(path))


def _experiment(client: Any, uri: str) -> str:
    """The id of the experiment; that of a file keeps its artifacts in a folder beside the file."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    file = uri.removeprefix("sqlite:///")
    folder = None if file == uri else str(Path(file.partition("?")[0]).absolute().parent / "mlruns")
    return str(client.create_experiment(name, folder))


def _numbers(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Figures by names that MLflow takes, such as ``model.intervals.ndcg.low``."""
    for name, value in found.items():
        key = before + name.replace("+", "-")
        match value:
            case dict():
                yield from _numbers(value, f"{key}.")
            case [float(low), float(high)]:
                yield from ((f"{key}.low", low), (f"{key}.high", high))
            case int() | float():
                yield key, float(value)
