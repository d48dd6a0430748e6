"""What some work takes: seconds of the clock, or of the processor by all threads of a process."""

import time
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def processor_seconds(work: Callable[[], Made]) -> tuple[float, Made]:
    """Seconds of the processor, and what the work made."""
    started = time.process_time()
    made = work()
    return time.process_time() - started, made
