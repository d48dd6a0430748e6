"""Lists as the API answers them: waited for until they change, and laid beside each other."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from batch.command.stack.up import get
from batch.command.stack.waiting import soon

Answer = Mapping[str, Any]
"""What ``GET /recommendations/<user>`` has, as JSON."""

FELT_SECONDS = 10.0
"""All workers know of an event, a rule or a generation within half a second."""

_COLUMN = 46


@dataclass(frozen=True, slots=True)
class Felt:
    """An answer that is another one now; seconds: for how long it was asked for."""

    answer: dict[str, Any]
    seconds: float


def wait_for_another(url: str, before: object, seconds: float = FELT_SECONDS) -> Felt:
    """Ask until the answer is another one than before. Raises Transient when none comes."""
    began = time.monotonic()

    def another() -> Felt | None:
        answer = get(url)
        return None if answer == before else Felt(answer, time.monotonic() - began)

    return soon(another, seconds, f"{url} answered the same for {seconds:g} seconds")


def titles(answer: Answer) -> dict[str, str]:
    """The titles of a list by their items; an item without one has its id."""
    listed = answer["recommendations"]
    return {each["item"]: str(each.get("title") or each["item"]) for each in listed}


def side_by_side(before: Answer, after: Answer) -> str:
    """Two columns; a minus marks what left, a plus what came."""
    old, new = titles(before), titles(after)
    rows = [(f"  before: {before['source']}", f"  after: {after['source']}")]
    rows += zip_longest(
        [f"{' ' if item in new else '-'} {title}" for item, title in old.items()],
        [f"{' ' if item in old else '+'} {title}" for item, title in new.items()],
        fillvalue="",
    )
    return "\n".join(f"{_cut(was):{_COLUMN}}  {_cut(now)}".rstrip() for was, now in rows)


def _cut(line: str) -> str:
    return line if len(line) <= _COLUMN else f"{line[: _COLUMN - 1]}…"


def changes(before: Answer, after: Answer, clicked: str) -> str:
    """What left, what came, and why, after a click on an item."""
    old, new = titles(before), titles(after)
    left = [title for item, title in old.items() if item not in new and item != clicked]
    came = [title for item, title in new.items() if item not in old]
    was_left = clicked in old and clicked not in new
    lines = [
        *([f"  left, for it was clicked: {old[clicked]}"] if was_left else []),
        *([f"  left, for others fit better now: {'; '.join(left)}"] if left else []),
        *([f"  came, for it fits the click: {'; '.join(came)}"] if came else []),
        f"  source: {before['source']} until now, {after['source']} from now on",
    ]
    return "\n".join(lines)
