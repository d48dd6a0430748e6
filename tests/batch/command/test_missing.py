"""What the command says where something that it needs is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Server, environment

HOUSE = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("package", "source", "said"),
    [
        (
            "implicit",
            "raise ModuleNotFoundError('', name='implicit')",
            "pip install '.[batch]' in Larder's folder",
        ),
        ("implicit", "raise ImportError('libgomp.so.1: cannot open')", "apt-get install libgomp1"),
        ("implicit", "raise OSError('libgomp.so.1: cannot open')", "apt-get install libgomp1"),
        (
            "implicit",
            "raise ModuleNotFoundError('', name='lightgbm')",
            "pip install '.[clicks]' in Larder's folder",
        ),
        (
            "mlflow",
            "raise ModuleNotFoundError('', name='mlflow')",
            "pip install '.[mlflow]' in Larder's folder",
        ),
    ],
)
def test_one_sentence_says_what_to_install(
    tmp_path: Path, package: str, source: str, said: str
) -> None:
    (tmp_path / f"{package}.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "batch", "refresh", "films.csv", "--mlflow", "sqlite:///runs.db"],
        env=environment({"PYTHONPATH": str(tmp_path)}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert len(done.stderr.splitlines()) == 1


HEAVY = ("duckdb", "gunicorn", "implicit", "mlflow", "numpy", "pyspark", "redis", "scipy", "tqdm")


def test_help_loads_nothing_heavy() -> None:
    """So that it is there at once; benchmarks time it."""
    program = (
        "import sys; from batch.command.cli import cli; "
        "cli.main(['refresh', '--help'], standalone_mode=False); "
        f"print(sorted(set(sys.modules) & set({HEAVY})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("command", ["rollback", "generations", "prune"])
def test_an_emergency_needs_no_model_library(tmp_path: Path, server: Server, command: str) -> None:
    for name in ("implicit", "numpy", "duckdb", "scipy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the model library was imported')")
    given = {"PYTHONPATH": f"{tmp_path}:{HOUSE}", "LARDER_CACHE_URL": server.url}
    done = subprocess.run(
        [sys.executable, "-m", "batch", command, "--namespace", "emergency"],
        env=environment(given),
        capture_output=True,
        text=True,
    )
    assert done.returncode == (2 if command == "rollback" else 0), done.stderr
    assert "imported" not in done.stderr


def test_decisions_need_no_more_than_their_extra() -> None:
    """The image larder-decisions has nothing else."""
    others = ("implicit", "lightgbm", "matplotlib", "pyarrow", "scipy", "sparse_dot_topn")
    rooms = ("evaluate", "logs", "models", "train", "up")
    program = f"import sys; sys.modules.update(dict.fromkeys({others})); "
    program += "; ".join(f"import batch.command.decisions.{room}" for room in rooms)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
