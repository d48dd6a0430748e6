"""Which arguments of Vowpal Wabbit a policy may have: those that choose and learn.

An allow list, for its others read and write files, open ports, or change what is read.
"""

from app.contracts.decisions import Policy

ORIGINAL = Policy(
    "original", "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
)
"""What the cloud service began with; it learns slowly (``--power_t 0 -l 0.001``)."""
DEFAULT = Policy("default", "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q ::")
"""What Larder begins with."""


class BadPolicy(ValueError):
    """A sentence that says why arguments cannot be taken."""


def is_for_slots(arguments: str) -> bool:
    """Whether a policy decides several slots at once."""
    return "--ccb_explore_adf" in arguments.split()


def weight(arguments: str) -> tuple[int, int]:
    """How many features a policy multiplies at most, and how many models it asks."""
    return 2, 1
