"""Whether what a command is told to write can be written, asked before hours of work."""

import os
from pathlib import Path

from batch.errors import BadSettings


def expect_writable(path: Path | None) -> None:
    """Raise BadSettings where a report can surely not be written."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadSettings(f"--report {path}: expected a file in a folder that can be written")
