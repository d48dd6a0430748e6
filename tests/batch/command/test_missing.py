"""What the command says where something that it needs is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import environment


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ModuleNotFoundError('', name='implicit')", "install 'larder[batch]'"),
        ("raise ImportError('libgomp.so.1: cannot open')", "apt-get install libgomp1"),
    ],
)
def test_one_sentence_says_what_to_install(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "implicit.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "batch", "generations"],
        env=environment({"PYTHONPATH": str(tmp_path)}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert len(done.stderr.splitlines()) == 1
