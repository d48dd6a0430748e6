"""Whose a folder of logs is, and how far it is committed, as the folder itself says.

A cache may lose what it knew. What stands in the folder is then still nobody else's, and not of a
run that died.
"""

import json
from pathlib import Path

from app.contracts.events import order
from batch.errors import BadSettings
from batch.events.folder import replace, write_text, writing

MARK = "_larder_decisions.json"


def position_of(folder: Path, namespace: str) -> str:
    """The last entry that is committed, "" for none. Raises BadSettings for another's folder."""
    try:
        said = json.loads((folder / MARK).read_bytes())
        theirs, position = str(said["namespace"]), str(said["position"])
        order(position)
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError, NotADirectoryError) as error:
        raise BadSettings(f"{folder} is no folder of logs: its {MARK} cannot be read") from error
    if theirs != namespace:
        raise BadSettings(
            f"{folder} holds the decisions of namespace {theirs!r}, not of {namespace!r}: "
            "name another folder"
        )
    return position


def note(folder: Path, namespace: str, position: str) -> None:
    """Say so in the folder, durably. Raises DiskUnavailable or Terminal."""
    told = json.dumps({"namespace": namespace, "position": position})
    with writing(folder):
        replace(folder / MARK, lambda beside: write_text(beside, told + "\n"))
