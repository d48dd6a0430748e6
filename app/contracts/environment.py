"""The environment variables of the house: every name that starts with ``LARDER_``.

Both wings read the same environment (one ``.env``, one ConfigMap), so each must know the other's
names to tell a setting of its neighbour from a misspelt one. ``variables`` holds them.
"""

import difflib
from collections.abc import Mapping

from app.contracts.variables import BATCH, SERVING

PREFIX = "LARDER_"

_WAY_OUT = "remove it, or see larder --help"


def unknown(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each ``LARDER_*`` variable that nothing in the house reads."""
    known = SERVING | BATCH
    names = sorted(name.removeprefix(PREFIX) for name in known)
    sentences = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1)
            hint = f"did you mean {PREFIX}{close[0]}?" if close else _WAY_OUT
            sentences.append(f"unknown setting {name}: {hint}")
    return sentences
