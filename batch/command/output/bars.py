"""How far a run is: bars on a terminal, plain log lines where there is none."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from batch.progress import Progress

log = logging.getLogger("larder")

EVERY_SECONDS = 60.0


class Bars:
    """A bar for each step."""

    @contextmanager
    def step(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        with tqdm(desc=f"{name:22}", total=total, unit=f" {unit}", dynamic_ncols=True) as bar:

            def advance(done: int) -> None:
                bar.update(done)

            yield advance


class Lines:
    """A line when a step ends, and of a long one every minute."""

    @contextmanager
    def step(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        started = told = time.monotonic()
        reached = 0

        def advance(done: int) -> None:
            nonlocal reached, told
            reached += done
            if reached < total and time.monotonic() >= told + EVERY_SECONDS:
                told = time.monotonic()
                log.info("%s: %s of %s %s", name, f"{reached:,}", f"{total:,}", unit)

        yield advance
        log.info("%s: %s %s in %.1f s", name, f"{total:,}", unit, time.monotonic() - started)


def for_this_terminal() -> Progress:
    """Bars when somebody is watching, lines when not, or when there is no room for a bar."""
    watched = sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns
    return Bars() if watched else Lines()
