"""Why is an item in the list of a user?"""

from dataclasses import dataclass

from app.errors import NoReasons
from app.recommendations.generation import Generation
from app.recommendations.memory.near_cache import Entries, Remembered


@dataclass(frozen=True, slots=True)
class Why:
    """What made a score.

    because: the user's items and what each adds to it, the most first; covered: the share of the
    score that they make together: the rest comes of what was not stored, or was rounded.
    """

    item: int
    score: float
    because: Entries
    covered: float


def why(generation: Generation, found: Remembered | None, item: str) -> Why:
    """What speaks for an item by what is known of a user: history, and what they did lately.

    Raises UnknownItem, NoReasons where the generation has no factors, BrokenRecord.
    """
    if generation.model is None:
        raise NoReasons("the live generation has no factors: refresh with --live and --engine als")
    index = generation.index_of(item)
    found = found or Remembered(b"")
    score = generation.model.score(found.vector, found.wanted, index)
    because = generation.model.why(found.weights(), index)
    covered = sum(added for _, added in because) / score if score else 0.0
    return Why(index, score, because, covered)
