"""Which arguments of Vowpal Wabbit a policy may have: those that choose and learn.

An allow list, for its others read and write files, open ports, or change what is read.
"""

from app.contracts.decisions import Policy

ORIGINAL = Policy(
    "original", "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
)
"""What the cloud service began with; it learns slowly (``--power_t 0 -l 0.001``)."""
DEFAULT = Policy(
    "default", "--cb_explore_adf --epsilon 0.2 --cb_type mtr --coin --interactions ::i"
)
"""What Larder begins with: features in pairs, and each pair with the action's id; its learning
needs no rate. In ``make bench-decisions`` it is the best of those that explore by epsilon."""


class BadPolicy(ValueError):
    """A sentence that says why arguments cannot be taken."""


def is_for_slots(arguments: str) -> bool:
    """Whether a policy decides several slots at once."""
    return "--ccb_explore_adf" in arguments.split()


def weight(arguments: str) -> tuple[int, int]:
    """How many features a policy multiplies at most, and how many models it asks."""
    return 2, 1


def checked(arguments: str) -> str:
    """Arguments that may be used. Raises BadPolicy."""
    words = arguments.split()
    if not {"--cb_explore_adf", "--ccb_explore_adf"} & set(words):
        raise BadPolicy("The learning policy must contain --cb_explore_adf or --ccb_explore_adf.")
    if "-f" in words:
        raise BadPolicy("The learning policy must not contain -f.")
    return " ".join(words)


def exploration(arguments: str) -> float | None:
    """What they say of how much is explored."""
    words = arguments.split()
    return float(words[words.index("--epsilon") + 1]) if "--epsilon" in words else None


def with_exploration(arguments: str, exploration: float) -> str:
    """The same, exploring so much."""
    words = arguments.split()
    if "--epsilon" in words:
        words[words.index("--epsilon") + 1] = f"{exploration:g}"
    return " ".join(words)
