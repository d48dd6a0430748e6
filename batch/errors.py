"""What can go wrong in a run, and whether a scheduler should try again::

LarderError
|-- Terminal (exit 2)            the same run would fail again: do not retry
|   |-- BadInteractions          the input, or too much of it, is wrong
|   |-- BadSettings              an option or variable is wrong
|   |-- NotGoodEnough            the gate stopped the model
|   `-- UnknownGeneration        there is no such generation to point at
`-- Transient (exit 75)          the cache cannot take it now: retry
    |-- CacheUnavailable         away, refused, timed out, or out of memory
    |-- Locked                   another run is refreshing
    `-- LostLock                 another run took over while this one wrote
"""


class LarderError(Exception):
    """An error with a sentence for its user: what was expected, what was found, what to do."""

    exit_code = 1


class Terminal(LarderError):
    """The same run would fail again; a scheduler must not retry."""

    exit_code = 2


class BadInteractions(Terminal):
    """The input is missing, unreadable, or has more wrong rows than allowed."""


class BadSettings(Terminal):
    """An option or an environment variable is wrong."""


class NotGoodEnough(Terminal):
    """The gate stopped the model; nothing was published."""


class UnknownGeneration(Terminal):
    """There is no such generation to point at."""


class Transient(LarderError):
    """The cache cannot take it now; a scheduler should retry (exit code 75: EX_TEMPFAIL)."""

    exit_code = 75


class CacheUnavailable(Transient):
    """The cache is away, refuses, times out, or has no memory left."""


class Locked(Transient):
    """Another run is refreshing the same namespace."""


class LostLock(Transient):
    """Another run took over while this one wrote; nothing was published."""
