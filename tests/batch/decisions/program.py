"""Vowpal Wabbit's own program, as its package has it."""

import subprocess
import sys
from pathlib import Path


def readable(folder: Path) -> str:
    """A model as text, but for how often its file was read through."""
    (folder / "none").touch()
    program("-i learned.vw -d none -t --readable_model readable.txt", folder)
    lines = (folder / "readable.txt").read_text().splitlines()
    return "\n".join(each for each in lines if not each.startswith("current_pass"))


def program(arguments: str, folder: Path) -> None:
    command = [sys.executable, "-m", "vowpalwabbit", *arguments.split(), "--dsjson", "--quiet"]
    subprocess.run(command, cwd=folder, check=True)
