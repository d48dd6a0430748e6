"""What other trackers send, as events of our own.

Each module is a table of names and a pure function: from one of the tracker's objects to objects
of ``native``, which checks them; none, where the object tells of no item. Members that Larder has
no use for are left out.
"""

import re
from collections.abc import Mapping
from typing import Any

Told = Mapping[str, Any]
"""An object as a client sent it."""

Native = dict[str, Any]
"""An event as ``native`` reads it; members that are None are missing."""


class NoEvent(ValueError):
    """A sentence that says why a tracker's object is no event of its own specification."""


def identifier(value: object) -> object:
    """An id as text: other trackers also take whole numbers for one."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:d}" if is_number else value


def member(told: Told, name: str) -> Told:
    """An object within an object; an empty one where there is none."""
    found = told.get(name)
    return found if isinstance(found, dict) else {}


def kind(name: object, table: Mapping[str, str]) -> object:
    """The type that a tracker's name stands for: as the table says, or the name in our letters."""
    if not isinstance(name, str):
        return name
    words = re.sub(r"[^a-z0-9_.-]+", "_", name.strip().lower())
    return table.get(words, words)
