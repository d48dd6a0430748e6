"""How runs that publish ended, and who rolled back: a list that is no part of publishing.

    larder:1:{shop}:refreshes    list    a record (JSON) each, the newest first, KEPT of them

Whoever writes it does so at the end and as well as can be: nothing depends on it.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from app.contracts.generations import SCHEMA, BrokenRecord

KEPT = 100
MAX_REASON = 500

REFRESH, ROLLBACK = "refresh", "rollback"
TRAINING, MODEL_ROLLBACK = "click model", "rollback of the click model"
DECISIONS_ROLLBACK = "rollback of decisions"


@dataclass(frozen=True, slots=True)
class Refresh:
    """One record. exit: the exit code; reason: why it is not 0, or who did it; at most MAX_REASON.

    started_at: ISO 8601 in UTC; generation: what is live since, empty where nothing changed;
    kind: REFRESH or ROLLBACK, of lists; TRAINING or MODEL_ROLLBACK, of click models.
    """

    started_at: str
    seconds: float
    exit: int
    reason: str
    generation: str
    kind: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Raises BrokenRecord."""
        try:
            told = json.loads(text)
            found = cls(**{name: told[name] for name in cls.__slots__})
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BrokenRecord(f"a record of the refreshes cannot be read: {error}") from error
        texts = (found.started_at, found.reason, found.generation, found.kind)
        numbers = type(found.seconds) in (int, float) and type(found.exit) is int
        if not numbers or not all(isinstance(each, str) for each in texts):
            raise BrokenRecord(f"a record of the refreshes holds what none has: {text[:80]!r}")
        return found


def refreshes_key(namespace: str) -> str:
    """The key of the list, in the slot of the pointer."""
    return f"larder:{SCHEMA}:{{{namespace}}}:refreshes"
