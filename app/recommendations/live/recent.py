"""What somebody did lately, as the server of the events tells it."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from app.contracts.events import HIDE, MAX_LASTING, MAX_RECENT, Actor, Recent, Streams
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
        hidden = self.items((HIDE,))
        for each in self.told:
            weight = of_types.get(each.type, 0.0)
            if weight > 0 and each.ms > after_ms and each.item not in hidden:
                if each.item in found or len(found) < most:
                    found[each.item] = found.get(each.item, 0.0) + weight
        return found


NOTHING = Recents()


def questions(streams: Streams, actor: Actor) -> list[Question]:
    """The commands that ask for what somebody did lately, see ``decode``."""
    most = (MAX_RECENT, MAX_LASTING)
    return [
        ("ZREVRANGE", key, "0", str(count - 1), "WITHSCORES")
        for key, count in zip(streams.keys_of(actor), most, strict=True)
    ]


def decode(answers: Sequence[object]) -> Recents:
    """Read the answers to ``questions``. Raises BrokenRecord when they are none."""
    words = list(chain.from_iterable(map(_words, answers)))
    if not words:
        return NOTHING
    found = [(float(score), member) for member, score in zip(words[::2], words[1::2], strict=True)]
    found.sort(key=lambda each: each[0], reverse=True)
    told = tuple(Recent.decode(member, score) for score, member in found)
    return Recents(told, zlib.crc32(b"\0".join(words)))


def _words(answer: object) -> list[bytes]:
    if not isinstance(answer, list):
        raise BrokenRecord(f"expected recent events, found {answer!r:.60}")
    return answer
