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
