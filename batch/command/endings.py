"""How a run ends: what it says, its exit code, and what the cache keeps of that."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.contracts.generations import BrokenRecord
from app.contracts.refreshes import MAX_REASON, REFRESH, ROLLBACK, Refresh
from batch.command.options import CacheOptions
from batch.errors import (
    DISK_TROUBLE,
    INSTALL_LIBGOMP,
    CacheUnavailable,
    LarderError,
    Terminal,
    Transient,
)

log = logging.getLogger("larder.cache")


def ending(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit code of what ended a run."""
    match error:
        case LarderError():
            return str(error), error.exit_code
        case BrokenRecord():
            return f"the cache holds what this version did not write: {error}", 2
        case UnicodeEncodeError():
            return f"{error.object!r} cannot be written as {error.encoding}", 2
        case MemoryError():
            return f"not enough memory ({error}): give the job more, or take fewer --factors", 2
        case OSError() if "libgomp" in str(error):  # LightGBM does not load
            return f"{error}: {INSTALL_LIBGOMP}", Terminal.exit_code
        case OSError():
            code = Transient.exit_code if error.errno in DISK_TROUBLE else Terminal.exit_code
            return f"{error.filename or 'the system'}: {error.strerror or error}", code
        case SystemExit():
            return "stopped by a signal", error.code if isinstance(error.code, int) else 1
    return f"{type(error).__name__}: {error}", 1


def noted(cache: CacheOptions, refresh: Callable[[], str], kind: str = REFRESH) -> None:
    """Run what publishes, which returns the generation, and note down how it ended."""
    started, began = datetime.now(UTC), time.monotonic()

    def end(reason: str, code: int, generation: str) -> None:
        seconds = round(time.monotonic() - began, 1)
        _note(None, cache, _record(started, seconds, code, reason, generation, kind))

    try:
        generation = refresh()
    except CacheUnavailable:
        raise  # nobody could be told
    except BaseException as error:
        end(*ending(error), "")
        raise
    end("", 0, generation)


def note_rollback(client: Any, cache: CacheOptions, generation: str, kind: str = ROLLBACK) -> None:
    """Note down that somebody has rolled back by a command."""
    now = datetime.now(UTC)
    _note(client, cache, _record(now, 0.0, 0, "by larder rollback", generation, kind))


def _record(
    started: datetime, seconds: float, code: int, reason: str, generation: str, kind: str
) -> Refresh:
    at = started.isoformat(timespec="seconds")
    return Refresh(at, seconds, code, reason[:MAX_REASON], generation, kind)


def _note(client: Any, cache: CacheOptions, record: Refresh) -> None:
    """The run has ended as it has, whether or not the cache takes this."""
    from batch.generations.connect import connect  # here, for --help to be quick
    from batch.generations.history import note

    try:
        note(client or connect(cache.url), cache.namespace.name, record)
    except LarderError as error:
        log.warning("the cache keeps no record of this run: %s", error)
