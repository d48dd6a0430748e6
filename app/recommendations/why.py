"""Why is an item in the list of a user?"""

from dataclasses import dataclass

from app.contracts.recommendations import decode_history
from app.errors import NoReasons, UnknownItem
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
    index = generation.find(item)
    if index is None:
        raise UnknownItem(f"the live generation does not hold item {item!r}")
    vector, wanted = (found.vector, found.wanted) if found else (b"", {})
    weights = dict(decode_history(found.history)) if found else {}
    for each, weight in wanted.items():
        weights[each] = weights.get(each, 0) + weight
    liked = {each: weight for each, weight in weights.items() if weight}
    score = generation.model.score(vector, wanted, index)
    because = generation.model.why(liked, index)
    covered = sum(added for _, added in because) / score if score else 0.0
    return Why(index, score, because, covered)
