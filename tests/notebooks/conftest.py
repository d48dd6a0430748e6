"""Notebooks, executed as a user would: from the top to the bottom, beside a cache."""

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import nbformat
import papermill
import pytest

import app
import batch
import loadtest
from batch.command.stack.workbench import NOTEBOOKS
from batch.errors import BadSettings
from batch.spark.java import require
from tests.servers import Server

Figures = dict[str, Any]


class Execute(Protocol):
    """Executes the notebook whose name begins so; what its last cell shows, by name."""

    def __call__(self, begins: str, **parameters: object) -> Figures: ...


@pytest.fixture
def execute(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """With a cache of its own, an empty folder to work in, and Larder in one with a space."""
    larder = tmp_path / "a folder"
    larder.mkdir()
    for package in (app, batch, loadtest):
        (larder / package.__name__).symlink_to(Path(package.__path__[0]))
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", programs)
    monkeypatch.setenv("LARDER_CACHE_URL", server.url)
    monkeypatch.setenv("PYTHONPATH", str(larder))

    def run(begins: str, **parameters: object) -> Figures:
        (path,) = NOTEBOOKS.glob(f"{begins}-*.ipynb")
        executed = tmp_path / path.name
        papermill.execute_notebook(
            path, executed, parameters, cwd=tmp_path, progress_bar=False, kernel_name="python3"
        )
        return shown(executed)

    yield run


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip, and say why, where Spark cannot start; its pages stay on loopback."""
    try:
        require()
    except BadSettings as error:
        pytest.skip(str(error))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


def shown(executed: Path) -> Figures:
    """What the last cell of a notebook that was executed shows: a dictionary of figures."""
    last = nbformat.read(executed, as_version=4).cells[-1]
    (output,) = last.outputs
    found: Figures = ast.literal_eval(output.data["text/plain"])
    return found
