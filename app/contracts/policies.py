"""Which arguments of Vowpal Wabbit a policy may have: those that choose and learn.

An allow list, for its others read and write files, open ports, or change what is read.
"""

import re

from app.contracts.decisions import Policy

ORIGINAL = Policy(
    "original", "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
)
"""What the cloud service began with; it learns slowly (``--power_t 0 -l 0.001``)."""
DEFAULT = Policy("default", "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q ::")
"""What Larder begins with."""


class BadPolicy(ValueError):
    """A sentence that says why arguments cannot be taken."""


def with_exploration(arguments: str, exploration: float) -> str:
    """The same arguments with another epsilon, where they have one."""
    return re.sub(r"(--epsilon[ =])\S+", rf"\g<1>{exploration}", arguments)
