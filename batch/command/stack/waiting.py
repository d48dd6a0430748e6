"""Wait for what other processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

from batch.errors import Transient

_LOOK_SECONDS = 0.02

T = TypeVar("T")


def soon(found: Callable[[], T | None], seconds: float, otherwise: str) -> T:
    """Call until it returns something true, and return that.

    found: may raise what makes further waiting useless. Raises Transient with the sentence
    ``otherwise`` when there is nothing after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not (it := found()):
        if time.monotonic() > deadline:
            raise Transient(otherwise)
        time.sleep(_LOOK_SECONDS)
    return it
