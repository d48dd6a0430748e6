"""What every answer is held against, and what did not hold."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

README = Path(__file__).parents[2] / "app" / "README.md"
_SHOWN = 300
BARE = {"gunicorn": set[int](), "granian": {400, 414, 431}}
"""What a server refuses by itself, without a body: app/README.md says so of granian."""


@cache
def documented_statuses() -> set[int]:
    """The statuses that the API's README has a row for."""
    return {int(status) for status in re.findall(r"^\| `(\d{3})` \|", README.read_text(), re.M)}


@dataclass
class Findings:
    """Of one attack: how much was tried, what came back, and what must not have."""

    attack: str
    server: str = "gunicorn"
    tries: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, what: str, how: object) -> None:
        """Note what must not be, how often it was, and what brought it about first."""
        times, first = self.found.get(what, (0, repr(how)[:_SHOWN]))
        self.found[what] = times + 1, first

    def answer(self, status: int, headers: dict[str, str], body: bytes, how: object) -> None:
        """Count an answer and hold it against the documentation."""
        self.answers[str(status)] += 1
        if status not in documented_statuses():
            self.add(f"status {status} is not documented", how)
        kind = headers.get("content-type", "")
        is_bare = not kind and not body and status in BARE[self.server]
        if status >= 400 and kind != "application/problem+json" and not is_bare:
            self.add(f"status {status} as {kind or 'nothing'}", how)
        if body and "json" in kind:
            self._is_json(status, body, how)

    def _is_json(self, status: int, body: bytes, how: object) -> None:
        try:
            told = json.loads(body, parse_constant=_no_number)
        except ValueError as error:
            self.add(f"an answer {status} that is no JSON ({error}): {body[:80]!r}", how)
            return
        if status >= 400 and (set(told) < {"type", "title", "status", "detail"}):
            self.add(f"a problem without its members: {body[:80]!r}", how)
        elif status >= 400 and told["status"] != status:
            self.add(f"a problem that says another status than {status}", how)

    def log(self, text: str, how: object) -> None:
        """Hold what a process has logged against what may be there."""
        if "Traceback" in text:
            start = text.index("Traceback")
            last = [line for line in text[start:].splitlines() if line and line[0] not in " ["]
            self.add(f"a traceback: {' / '.join(last[:2])}", how)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
