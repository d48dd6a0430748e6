"""What somebody did lately, as the server of the events tells it."""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from app.contracts.events import MAX_RECENT, Recent
from app.contracts.generations import BrokenRecord

Question = tuple[str | bytes, ...]


@dataclass(frozen=True, slots=True)
class Recents:
    """What somebody did lately, the latest first; version: changes when that does."""

    told: tuple[Recent, ...] = ()
    version: int = 0

    def items(self, types: Collection[str] | None = None) -> set[str]:
        """Those of events of these types, or of all."""
        return {each.item for each in self.told if types is None or each.type in types}

    def weights(self, of_types: Mapping[str, float], after_ms: int, most: int) -> dict[str, float]:
        """How much each item was wanted, of the latest ones since a time, the latest first.

        What is hidden was not wanted, whatever came before.
        """
        found: dict[str, float] = {}
        hidden = self.items(("hide",))
        for each in self.told:
            weight = of_types.get(each.type, 0.0)
            if weight > 0 and each.ms > after_ms and each.item not in hidden:
                if each.item in found or len(found) < most:
                    found[each.item] = found.get(each.item, 0.0) + weight
        return found


NOTHING = Recents()


def question(key: bytes) -> Question:
    """The command that asks for what is at the key, see ``decode``."""
    return ("ZREVRANGE", key, "0", str(MAX_RECENT - 1), "WITHSCORES")


def decode(answer: object) -> Recents:
    """Read the answer to ``question``. Raises BrokenRecord when it is none."""
    if not isinstance(answer, list) or len(answer) % 2:
        raise BrokenRecord(f"expected recent events, found {answer!r:.60}")
    if not answer:
        return NOTHING
    told = tuple(map(_decode, answer[::2], answer[1::2]))
    return Recents(told, zlib.crc32(b"\0".join(answer)))


def _decode(member: bytes, score: bytes) -> Recent:
    try:
        return Recent.decode(member, float(score))
    except ValueError as error:
        raise BrokenRecord(f"expected a time, found {score[:60]!r}") from error
