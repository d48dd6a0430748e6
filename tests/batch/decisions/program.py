"""Vowpal Wabbit's own program, as its package has it."""

import subprocess
import sys
from pathlib import Path

import vowpalwabbit


def readable(folder: Path) -> str:
    """The model of a folder as text, but for how often its file was read through."""
    files = f"-i {folder / 'learned.vw'} --readable_model {folder / 'readable.txt'}"
    vowpalwabbit.Workspace(f"{files} -t --dsjson --quiet").finish()
    lines = (folder / "readable.txt").read_text().splitlines()
    return "\n".join(each for each in lines if not each.startswith("current_pass"))


def program(arguments: str, folder: Path) -> None:
    command = [sys.executable, "-m", "vowpalwabbit", *arguments.split(), "--dsjson", "--quiet"]
    subprocess.run(command, cwd=folder, check=True)
